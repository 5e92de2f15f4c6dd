"""The volumes of a cache as columns: 100,000 of them are opened, counted and chosen from without one object each."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from jaxtyping import Bool, Int

from voxmix._io import digest
from voxmix.volumes.auditing.fill_columns import FillColumns
from voxmix.volumes.grids.geometry import Box
from voxmix.volumes.manifest import SPLITS, Split
from voxmix.volumes.preparing.prepared_volume import PreparedVolume

_SIDES: tuple[Split, ...] = ("", *SPLITS)
_TEXTS = ("key", "subject", "file", "label")
_NAMED = ("domain", "category")
_NO_BOX = -1
_MEMBER = "volume-"
"""What names of columns begin with in a file: one of them is ``file``, which is NumPy's."""


class VolumeColumns(Sequence[PreparedVolume]):
    """A sequence of prepared volumes that makes them when they are asked for; equal to any sequence of equal volumes.

    Its columns are arrays of one row a volume: texts as UTF-8 bytes, names (of domains, categories) as places in a
    list of them, what is not known as NaN or -1.
    """

    def __init__(self, volumes: Sequence[PreparedVolume]) -> None:
        """Hold volumes; columns are made of them when first needed."""
        self._volumes: tuple[PreparedVolume, ...] | None = tuple(volumes)
        self._length = len(self._volumes)

    @classmethod
    def from_columns(
        cls, columns: Callable[[], Mapping[str, np.ndarray]], *, length: int, head: Mapping[str, Any]
    ) -> "VolumeColumns":
        """Return the volumes of columns that are read when first needed.

        Args:
            columns: reads them.
            length: how many volumes there are.
            head: what is known without them: ``domains`` and ``categories`` (lists of names), ``digest``, and ``counts``
                (domain to volumes per side).
        """
        found = cls(())
        found._volumes, found._length = None, length
        found._read = columns  # type: ignore[method-assign]
        vars(found).update(
            names={"domain": tuple(head["domains"]), "category": tuple(head["categories"])},
            digest=head["digest"],
            sides={name: dict(zip(_SIDES, count, strict=True)) for name, count in head["counts"].items()},
        )
        return found

    def head(self) -> dict[str, Any]:
        """Return what :meth:`from_columns` wants to know without the columns, as JSON-like data."""
        return {
            "domains": list(self.names["domain"]),
            "categories": list(self.names["category"]),
            "digest": self.digest,
            "counts": {name: [found[side] for side in _SIDES] for name, found in self.sides.items()},
        }

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> PreparedVolume: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[PreparedVolume, ...]: ...
    def __getitem__(self, place: int | slice) -> PreparedVolume | tuple[PreparedVolume, ...]:
        if self._volumes is not None:
            return self._volumes[place]
        if isinstance(place, slice):
            return self.take(np.arange(self._length)[place])
        return self.take(np.array([range(self._length)[place]]))[0]

    def __iter__(self) -> Iterator[PreparedVolume]:
        if self._volumes is None:
            self._volumes = self.take(np.arange(self._length))
        return iter(self._volumes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return VolumeColumns, (tuple(self),)  # what reads the columns stays in its process

    def __repr__(self) -> str:
        return f"VolumeColumns({len(self)} volumes)"

    def take(self, rows: Int[np.ndarray, " row"]) -> tuple[PreparedVolume, ...]:
        """Return the volumes of some rows."""
        if self._volumes is not None:
            return tuple(self._volumes[row] for row in rows.tolist())
        some = {name: values[rows] for name, values in self.columns.items()}
        texts = {name: [text.decode() for text in some[name].tolist()] for name in _TEXTS}
        named = {name: [self.names[name][code] for code in some[name].tolist()] for name in _NAMED}
        plain = {name: some[name].tolist() for name in ("split", "shape", "spacing_mm", "box", "bytes")}
        fills = FillColumns.from_arrays(some).fills()
        return tuple(
            PreparedVolume(
                key=texts["key"][k],
                domain=named["domain"][k],
                subject=texts["subject"][k],
                split=_SIDES[plain["split"][k]],
                shape=tuple(plain["shape"][k]),
                spacing_mm=plain["spacing_mm"][k],
                file=texts["file"][k],
                label=texts["label"][k] or None,
                category=named["category"][k],
                fill=fills[k],
                box=_box(plain["box"][k]),
                bytes=plain["bytes"][k] if plain["bytes"][k] >= 0 else None,
            )
            for k in range(len(rows))
        )

    @cached_property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Name to array, one row a volume."""
        return self._read()

    def _read(self) -> Mapping[str, np.ndarray]:
        assert self._volumes is not None
        found = self._volumes
        place = {name: {known: k for k, known in enumerate(self.names[name])} for name in _NAMED}
        numbers: dict[str, np.ndarray] = {
            "split": np.array([_SIDES.index(v.split) for v in found], dtype=np.int8),
            "shape": np.array([v.shape for v in found], dtype=np.int32).reshape(-1, 3),
            "spacing_mm": np.array([v.spacing_mm for v in found], dtype=np.float64),
            "box": np.array(
                [[_NO_BOX] * 6 if v.box is None else [*v.box[0], *v.box[1]] for v in found], dtype=np.int32
            ).reshape(-1, 6),
            "bytes": np.array([-1 if v.bytes is None else v.bytes for v in found], dtype=np.int64),
        }
        texts = {
            name: np.array([(getattr(v, name) or "").encode() for v in found], dtype=np.bytes_)
            for name in _TEXTS
        }
        named = {
            name: np.array([place[name][getattr(v, name)] for v in found], dtype=np.int32) for name in _NAMED
        }
        return {**texts, **named, **numbers, **FillColumns.of([v.fill for v in found]).as_arrays()}

    @cached_property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """The names that stand for places in a column: of domains and of categories, sorted."""
        assert self._volumes is not None
        return {name: tuple(sorted({getattr(v, name) for v in self._volumes})) for name in _NAMED}

    @cached_property
    def sides(self) -> Mapping[str, Mapping[str, int]]:
        """Domain to side of the split to number of volumes."""
        codes, sides = self.columns["domain"], self.columns["split"]
        table = np.zeros((len(self.names["domain"]), len(_SIDES)), dtype=np.int64)
        np.add.at(table, (codes, sides), 1)
        return {
            name: dict(zip(_SIDES, row, strict=True))
            for name, row in zip(self.names["domain"], table.tolist(), strict=True)
        }

    @cached_property
    def digest(self) -> str:
        """Digest of domain, content, side and padding of every volume, in whatever order they stand."""
        if self._volumes is not None:
            rows: Iterable[list[Any]] = (
                [v.domain, v.key, v.split, *([v.box] if v.box else [])] for v in self._volumes
            )
            return digest(sorted(rows))
        domains, keys = self.names["domain"], self.columns["key"].tolist()
        boxes = (_box(row) for row in self.columns["box"].tolist())
        codes, sides = self.columns["domain"].tolist(), self.columns["split"].tolist()
        return digest(
            sorted(
                [domains[code], key.decode(), _SIDES[side], *([box] if box else [])]
                for code, key, side, box in zip(codes, keys, sides, boxes, strict=True)
            )
        )

    def rows(self, domain: str, split: Split | None = None) -> Int[np.ndarray, " row"]:
        """Return the rows of a domain, of one side or (None) of both, in their order."""
        mine: Bool[np.ndarray, " row"] = self.columns["domain"] == self.names["domain"].index(domain)
        if split is not None:
            mine &= self.columns["split"] == _SIDES.index(split)
        return np.flatnonzero(mine)

    def smaller(self, edge: int) -> dict[str, tuple[int, int]]:
        """Return domain to (number, least edge in voxels) of its volumes that have an edge below ``edge``."""
        least = self.columns["shape"].min(axis=1, initial=2**31 - 1)
        found = {name: least[rows] for name in self.sides for rows in (self.rows(name),)}
        return {
            name: (int((mine < edge).sum()), int(mine.min()))
            for name, mine in found.items()
            if (mine < edge).any()
        }

    def labels(self) -> Counter[str]:
        """Return domain to number of volumes with a label map."""
        labeled = np.flatnonzero(self.columns["label"] != b"")
        return Counter(self.names["domain"][code] for code in self.columns["domain"][labeled].tolist())

    def texts(self, name: str) -> list[str]:
        """Return a column of texts."""
        return [text.decode() for text in self.columns[name].tolist()]

    def fills(self) -> dict[str, FillColumns]:
        """Return domain to what its volumes consist of."""
        every = FillColumns.from_arrays(self.columns)
        return {name: every.take(self.rows(name)) for name in self.sides}


def to_bytes(columns: Mapping[str, np.ndarray]) -> bytes:
    """Return columns as the bytes of an npz file; :func:`from_bytes` is the inverse."""
    stream = io.BytesIO()
    np.savez(stream, **{_MEMBER + name: values for name, values in columns.items()})  # type: ignore[arg-type]
    return stream.getvalue()


def from_bytes(data: bytes, *, length: int, path: Path) -> Mapping[str, np.ndarray]:
    """Return the columns of an npz file.

    Raises:
        ValueError: a column is missing, or has another number of rows.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        columns = {name.removeprefix(_MEMBER): found[name] for name in found.files}
    wanted = {
        *_TEXTS,
        *_NAMED,
        "split",
        "shape",
        "spacing_mm",
        "box",
        "bytes",
        *FillColumns.of(()).as_arrays(),
    }
    wrong = sorted(name for name in wanted if name not in columns or len(columns[name]) != length)
    if wrong:
        raise ValueError(f"no {length} rows of {', '.join(wrong)} in {path.name}")
    return columns


def _box(row: Sequence[int]) -> Box | None:
    if row[0] == _NO_BOX:
        return None
    a, b, c, x, y, z = row
    return (a, b, c), (x, y, z)
