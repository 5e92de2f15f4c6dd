"""What is learned: each objective is a part of the one training loop in :mod:`voxmix.training`."""
