"""Phantoms: procedural volumes of the paper's six domains."""

from voxmix.phantoms.domains import write_phantoms

__all__ = ["write_phantoms"]
