"""One prepared volume, as the index of a cache names it."""

from dataclasses import dataclass
from typing import Any

from voxmix.volumes.auditing.fill import Fill
from voxmix.volumes.grids.geometry import Box, Shape
from voxmix.volumes.manifest import Split


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedVolume:
    """One prepared volume: ``shape`` in voxels, ``subject`` a salted digest, files relative to the cache.

    ``category`` is the subject's class for classification, "" where none is known; ``fill`` what its voxels consist
    of, None in caches of an earlier voxmix until they are prepared again; ``box`` (first voxel, size) what of
    the array comes from the file, the rest being padding: None where nothing is padded; ``bytes`` what its files and
    those of its label map took when they were made, None where that was not written down.
    """

    key: str
    domain: str
    subject: str
    split: Split
    shape: Shape
    spacing_mm: float
    file: str
    label: str | None = None
    category: str = ""
    fill: Fill | None = None
    box: Box | None = None
    bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the volume as JSON-like data; :meth:`from_dict` is its inverse."""
        fill = None if self.fill is None else self.fill.as_dict()
        box = None if self.box is None else [list(part) for part in self.box]
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "shape": list(self.shape),
            "fill": fill,
            "box": box,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "PreparedVolume":
        """Return the volume written by :meth:`as_dict`."""
        texts = ("key", "domain", "subject", "split", "file", "category")
        if not all(isinstance(value.get(name, ""), str) for name in texts):
            raise TypeError(f"a volume whose {', '.join(texts)} are not all texts")
        box = value.get("box")
        x, y, z = (int(edge) for edge in value["shape"])
        plain = {
            "shape": (x, y, z),
            "fill": Fill.from_dict(value.get("fill")),
            "box": None if box is None else (tuple(box[0]), tuple(box[1])),
        }
        return cls(**{**value, **plain})
