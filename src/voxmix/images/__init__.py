"""Films with reports: reading, the table that names them, preparing, auditing. Above volumes, whose helpers it uses."""
