"""Radiographs: procedural chest films of two centers, with reports, labels and maps of pixels."""

from voxmix.radiographs.writing import make_radiographs

__all__ = ["make_radiographs"]
