"""Reports: their sections, what is taken out of them before anything is written, and their tokens."""
