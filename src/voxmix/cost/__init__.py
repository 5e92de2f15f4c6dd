"""What the runs of a study will cost: draws, operations, memory, disk, time."""
