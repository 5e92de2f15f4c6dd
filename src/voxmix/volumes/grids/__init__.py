"""Axes, voxels and label maps on the prepared grid."""
