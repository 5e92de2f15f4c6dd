"""Data sets: what a user names as volumes, a table, a folder or a public data set, to one manifest."""
