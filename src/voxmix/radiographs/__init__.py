"""Radiographs: procedural chest films of two centers, with reports, labels and maps of pixels."""

from voxmix.radiographs.drawing_lines import draw_lines
from voxmix.radiographs.writing import make_radiographs

__all__ = ["draw_lines", "make_radiographs"]
