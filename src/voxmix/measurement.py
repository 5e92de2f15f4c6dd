"""MeasurementTable: what runs measured, one row per run and target."""

import csv
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix import _frames, _html
from voxmix._io import atomic_path, digest
from voxmix.errors import InputError, VoxmixWarning
from voxmix.measurement_checks import check_runs, check_values
from voxmix.measurement_rows import cells, columns
from voxmix.mixture import check_domains
from voxmix.records import (
    REQUIRED,
    WEIGHT,
    columns_of,
    read_csv_records,
    read_parquet_records,
)
from voxmix.response import LOSS, Response
from voxmix.wide import WIDE_FORMATS, WideFormat, WideRecords, read_wide_records

_SHOWN = 20  # rows in a notebook


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeasurementTable:
    """Losses of runs on targets; arrays are read-only and share their first axis.

    Attributes:
        domains: names of the source axis.
        run: run id per row.
        target: name of the target per row: a domain, or what is only evaluated (:attr:`targets`).
        weights: the run's mixture per row, (row, source).
        budget: volume draws of the run per row.
        seed: seed of the run per row.
        loss: masked reconstruction loss on the target's held-out volumes, per row.
        loss_se: standard error of ``loss`` over volumes; NaN where unknown.
        volumes: volumes that exist per source, (row, source); NaN where unknown.
        response: what was measured, for which ``loss`` stands.

    Raises:
        InputError: shapes that do not agree, a target that is spelled almost as a domain, a loss that is not
            finite or negative, a budget below 1, weights that do not sum to 1, or one (run, target) twice.
    """

    domains: tuple[str, ...]
    run: tuple[str, ...]
    target: tuple[str, ...]
    weights: Float[np.ndarray, "row source"]
    budget: Float[np.ndarray, " row"]
    seed: Int[np.ndarray, " row"]
    loss: Float[np.ndarray, " row"]
    loss_se: Float[np.ndarray, " row"]
    volumes: Float[np.ndarray, "row source"]
    response: Response = LOSS

    def __post_init__(self) -> None:
        domains = check_domains(self.domains)
        rows = len(self.run)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(
            ("target", "budget", "seed", "loss", "loss_se"), (rows,)
        )
        shapes |= dict.fromkeys(("weights", "volumes"), (rows, len(domains)))
        for name, expected in shapes.items():
            value = getattr(self, name)
            found = (len(value),) if name == "target" else np.shape(value)
            if found != expected:
                raise InputError(f"{name} has shape {found}, expected {expected}: one entry per row of `run`")
            if name != "target":
                object.__setattr__(self, name, _kept(value, np.int64 if name == "seed" else np.float64))
        object.__setattr__(self, "domains", domains)
        object.__setattr__(self, "run", tuple(self.run))
        object.__setattr__(self, "target", tuple(self.target))
        check_values(self)
        check_runs(self)

    def __len__(self) -> int:
        return len(self.run)

    def __repr__(self) -> str:
        return (
            f"MeasurementTable({len(self)} losses of {len(set(self.run))} runs; "
            f"domains {list(self.domains)}; budgets {[int(b) for b in np.unique(self.budget)]})"
        )

    def _repr_html_(self) -> str:
        shown = range(min(len(self), _SHOWN))
        names = [self.domains[i] if i >= 0 else "mixture" for i in self.source[: len(shown)]]
        values = self.response.from_loss(self.loss)
        rows = [
            (
                self.run[i][:8],
                names[i],
                f"{self.budget[i]:,.0f}",
                f"{self.seed[i]}",
                self.target[i],
                f"{values[i]:.5f}",
            )
            for i in shown
        ]
        head = ("run", "source", "budget", "seed", "target", self.response.name)
        left = len(self) - len(shown)
        more = (
            _html.paragraph(f"and {left} more rows: to_rows(), to_frame() or to_csv() give all")
            if left
            else ""
        )
        return _html.paragraph(repr(self)) + _html.table(head, rows) + more

    @property
    def source(self) -> Int[np.ndarray, " row"]:
        """Index of the only source of a pure run, per row; -1 for a run of several sources."""
        pure = (self.weights > 0).sum(axis=1) == 1
        return np.where(pure, self.weights.argmax(axis=1), -1)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the target axis: the domains that have losses, in their order, then the others as first met."""
        met = dict.fromkeys(self.target)
        own = [name for name in self.domains if name in met]
        return (*own, *(name for name in met if name not in self.domains))

    @property
    def target_index(self) -> Int[np.ndarray, " row"]:
        """Index of the target in ``targets``, per row."""
        place = {name: i for i, name in enumerate(self.targets)}
        return np.array([place[name] for name in self.target], dtype=np.int64)

    @property
    def digest(self) -> str:
        """Digest of the content, whatever the order of the rows."""
        rows = sorted(
            (run, target, float(budget), int(seed), float(loss), weights.tolist())
            for run, target, budget, seed, loss, weights in zip(
                self.run, self.target, self.budget, self.seed, self.loss, self.weights, strict=True
            )
        )
        told = [] if self.response == LOSS else [self.response.to_dict()]
        return digest([list(self.domains), [list(row) for row in rows], *told])

    def select(self, mask: Bool[np.ndarray, " row"]) -> "MeasurementTable":
        """Return the rows where ``mask`` is true, over the same domains."""
        rows = np.flatnonzero(np.asarray(mask, dtype=bool))
        return MeasurementTable(
            domains=self.domains,
            run=tuple(self.run[i] for i in rows),
            target=tuple(self.target[i] for i in rows),
            response=self.response,
            **{name: getattr(self, name)[rows] for name in _ARRAYS},
        )

    def reorder(self, domains: Sequence[str]) -> "MeasurementTable":
        """Return the same rows with the source axis in another order."""
        if sorted(domains) != sorted(self.domains):
            raise InputError(
                f"expected the domains {sorted(self.domains)} in some order, got {list(domains)}"
            )
        order = [self.domains.index(name) for name in domains]
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays["weights"] = self.weights[:, order]
        arrays["volumes"] = self.volumes[:, order]
        return replace(self, domains=tuple(domains), **arrays)

    def scored(self, direction: str, *, best: float = 1.0) -> "MeasurementTable":
        """Return the table with its values understood as a response of which less ("min") or more ("max") is better.

        A table that was read with that direction stays as it is.

        Raises:
            InputError: an unknown direction, another one than the table was read with, or values above ``best``.
        """
        name = self.response.name
        wanted = replace(self.response, direction=direction, best=best)
        if wanted == self.response:
            return self
        if self.response.rises:
            raise InputError(
                f"the table was read with direction max and best {self.response.best:g}; leave direction and best out, or "
                "read it again"
            )
        for row, value in enumerate(self.loss.tolist(), start=1):
            if what := wanted.wrong(value):
                raise InputError(f"row {row}, column {name}: {what}")
        return replace(self, loss=wanted.to_loss(self.loss), response=wanted)

    @classmethod
    def concatenate(cls, tables: Iterable["MeasurementTable"]) -> "MeasurementTable":
        """Return the rows of all tables, which must have the same domains in the same order."""
        parts = list(tables)
        if not parts:
            raise InputError("no tables to concatenate; give at least one")
        if len({part.domains for part in parts}) > 1:
            raise InputError(f"tables have different domains: {sorted({part.domains for part in parts})}")
        if len({part.response for part in parts}) > 1:
            raise InputError(f"tables have different responses: {[part.response.as_loss for part in parts]}")
        return cls(
            domains=parts[0].domains,
            run=tuple(name for part in parts for name in part.run),
            target=tuple(name for part in parts for name in part.target),
            response=parts[0].response,
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS},
        )

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Mapping[str, Any]],
        *,
        domains: Sequence[str] | None = None,
        response: str = "loss",
        direction: str = "min",
        best: float = 1.0,
    ) -> "MeasurementTable":
        """Return the table of records with the keys of the tidy format.

        ``run, seed, budget, target, loss`` and either ``source`` or one ``weight:<domain>`` per domain;
        optional ``loss_se`` and ``volumes:<domain>``. A row that occurs twice, with the same loss, counts
        once. Without ``domains`` they are those of the weight columns, then the sources, as first met. ``response``
        names another column than ``loss``; with ``direction="max"`` more of it is better and ``best`` is the most that is
        possible.

        Raises:
            InputError: names the row (1 is the first) and the column.
        """
        what = Response(name=response, direction=direction, best=best)
        return cls(**columns_of([row if isinstance(row, dict) else dict(row) for row in rows], domains, what))

    @classmethod
    def from_frame(cls, frame: Any, **options: Any) -> "MeasurementTable":
        """Return the table of a DataFrame of pandas, Polars or PyArrow, rows and options as in :meth:`from_rows`.

        None of these libraries is needed: the frame is read by what it can do (:func:`voxmix._frames.rows_of`).
        """
        return cls.from_rows(_frames.rows_of(frame), **options)

    def to_frame(self, *, library: str | None = None) -> Any:
        """Return the rows of :meth:`to_rows` as a DataFrame of ``library``: "pandas", "polars" or "pyarrow".

        Without one, of the first of these that is installed. :meth:`from_frame` reads it back.

        Raises:
            MissingDependencyError: none is installed; :meth:`to_rows` needs none.
        """
        return _frames.frame_of(self.to_rows(), library=library)

    @classmethod
    def read_csv(cls, path: str | Path, **options: Any) -> "MeasurementTable":
        """Return the table of a CSV file (comma, semicolon or tab; UTF-8), rows as in :meth:`from_rows`.

        With semicolons a decimal comma is understood. ``options`` are those of :meth:`from_rows`.
        """
        return cls.from_rows(read_csv_records(Path(path)), **options)

    @classmethod
    def read_parquet(cls, path: str | Path, **options: Any) -> "MeasurementTable":
        """Return the table of a Parquet file, rows and options as in :meth:`from_rows` (needs pyarrow)."""
        return cls.from_rows(read_parquet_records(Path(path)), **options)

    @classmethod
    def read(cls, path: str | Path, **options: Any) -> "MeasurementTable":
        """Return the table of a file: Parquet by its suffix, else CSV; options as in :meth:`from_rows`."""
        parquet = Path(path).suffix.lower() in {".parquet", ".pq"}
        return cls.read_parquet(path, **options) if parquet else cls.read_csv(path, **options)

    @classmethod
    def read_wide(
        cls,
        losses: str | Path,
        mixtures: str | Path | None = None,
        *,
        form: str | WideFormat = "wide",
        only: Mapping[str, str] | None = None,
        **response: Any,
    ) -> "MeasurementTable":
        """Return the table of files with one row for each run and a column for each weight and each loss.

        ``mixtures`` is the file of the weights where they are not beside the losses; the two are joined by the column
        that names the run. ``form`` is a name of :data:`voxmix.wide.WIDE_FORMATS` or a row of its own; ``only`` keeps the
        rows that have these values in these columns; ``response``, ``direction`` and ``best`` are those of :meth:`from_rows`.

        Raises:
            InputError: as :func:`voxmix.wide.read_wide_records`, and as :meth:`from_rows`.

        Warns:
            VoxmixWarning: for each thing that was assumed, set aside or not used.
        """
        row = WIDE_FORMATS[form] if isinstance(form, str) else form
        found = read_wide_records(Path(losses), None if mixtures is None else Path(mixtures), row, only=only)
        for sentence in found.notes:
            warnings.warn(sentence, VoxmixWarning, stacklevel=2)
        return cls.from_wide(found, **response)

    @classmethod
    def from_wide(cls, found: WideRecords, *, response: str = "loss", **options: Any) -> "MeasurementTable":
        """Return the table of the records of a wide table, whose values are those of ``response``."""
        rows = (
            {response if key == "loss" else key: value for key, value in row.items()} for row in found.records
        )
        try:
            return cls.from_rows(rows, response=response, **options)
        except InputError as error:
            place = re.match(r"row (\d+), ", str(error))
            if place is None:
                raise
            row = found.records[int(place[1]) - 1]
            raise InputError(f"run {row['run']!r} on {row['target']}: {str(error)[place.end() :]}") from None

    def to_rows(self) -> list[dict[str, Any]]:
        """Return records in the tidy format, with ``source`` for pure runs and weights for all.

        Where budgets count samples, columns ``samples:<domain>`` stand for weights and budget, as
        :func:`voxmix.mixture_scores.read_scores` reads them.
        """
        names = columns(self)
        return [dict(zip(names, row, strict=True)) for row in cells(self)]

    def to_csv(self, path: str | Path) -> None:
        """Write the tidy CSV (UTF-8, commas) that :meth:`read_csv` reads back to the same table, given its response."""
        required = [self.response.name if name == "loss" else name for name in REQUIRED]
        names = columns(self) if len(self) else [*required, *(f"{WEIGHT}{d}" for d in self.domains)]
        with (
            atomic_path(Path(path)) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(names)
            writer.writerows(cells(self))


_ARRAYS = ("weights", "budget", "seed", "loss", "loss_se", "volumes")


def _kept(value: Any, kind: type[np.generic]) -> np.ndarray:
    """Return a read-only array: the one that was given, if it is such and nobody else's, else a copy."""
    array: np.ndarray = np.asarray(value, dtype=kind)
    if array is not value or array.base is not None or array.flags.writeable:
        array = np.array(value, dtype=kind)
        array.setflags(write=False)
    return array
