"""Finished runs: read from their folders without torch."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from voxmix._io import naming_damage, read_versioned
from voxmix.design import RunSpec
from voxmix.errors import InputError
from voxmix.measurement import MeasurementTable
from voxmix.runs.files import PRETRAINING_FORMAT, PRETRAINING_KIND, RESULT_FILE


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What one finished run measured.

    Attributes:
        spec: what was asked for.
        losses: target to loss, loss_se, adapter and further figures of its evaluation; None where unknown.
        draws: source to volume draws made; they sum to the budget.
        unique_volumes: source to distinct volumes drawn; ``draws`` beyond them are repeats.
        volumes: domain to volumes that exist for training.
        seconds: wall-clock time of training and evaluation.
    """

    spec: RunSpec
    losses: dict[str, dict[str, Any]]
    draws: dict[str, int]
    unique_volumes: dict[str, int]
    volumes: dict[str, int]
    seconds: float
    details: dict[str, Any]

    @property
    def run_id(self) -> str:
        """The id that the run was made under: the digest of the spec, or its former one."""
        made_under = self.details.get("run_id")
        return self.spec.former_id if made_under == self.spec.former_id else self.spec.run_id

    @property
    def budget(self) -> int:
        """Volume draws made, whatever the unit of the spec's budget."""
        return sum(self.draws.values())


def is_finished(folder: Path) -> bool:
    """Return whether a run's folder holds a finished run: the result is written last."""
    return os.path.isfile(
        os.path.join(folder, RESULT_FILE)
    )  # asked 10,000 times: a Path takes three times as long


def read_run(folder: Path) -> RunResult:
    """Return one finished run.

    Raises:
        InputError: the result is missing, damaged, of another format, or of another run than the
            folder's name says.
    """
    path = folder / RESULT_FILE
    value = read_versioned(path, kind=PRETRAINING_KIND, version=PRETRAINING_FORMAT)
    with naming_damage(path, remedy="delete its folder, the run will be made again"):
        result = RunResult(
            spec=RunSpec.from_dict(value["spec"]),
            losses={str(target): _figures(item) for target, item in value["losses"].items()},
            draws={name: _count(item) for name, item in value["draws"].items()},
            unique_volumes={name: _count(item) for name, item in value["unique_volumes"].items()},
            volumes={name: _count(item) for name, item in value["volumes"].items()},
            seconds=float(value["seconds"]),
            details={key: value[key] for key in value.keys() - {"spec", "losses", "draws", "unique_volumes"}},
        )
    if folder.name not in (result.spec.run_id, result.spec.former_id):
        raise InputError(
            f"{path} is of run {result.spec.run_id}, not {folder.name}; delete the folder, it was edited"
        )
    return result


_NUMBER = (float, int, NoneType)  # a bool is none


def _figures(item: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one target; loss and loss_se are numbers or None."""
    if not isinstance(item, dict):
        raise TypeError(f"the figures of a target are {item!r}")
    for name in ("loss", "loss_se"):
        if type(item[name]) not in _NUMBER:
            raise TypeError(f"{name} is {item[name]!r}")
    return item


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} is no count")
    return value


def measurements(
    results: Iterable[RunResult], domains: tuple[str, ...], targets: tuple[str, ...] | None = None
) -> MeasurementTable:
    """Return one row per run and target, in the order of ``results`` and ``targets`` (the domains if left out)."""
    found = list(results)
    measured = [
        (place, target, figures)
        for place, result in enumerate(found)
        for target in (domains if targets is None else targets)
        if (figures := result.losses.get(target, {})).get("loss") is not None
    ]
    run = np.array([place for place, _, _ in measured], dtype=np.int64)
    mixtures = [result.spec.mixture.as_dict() for result in found]

    def of_runs(values: Sequence[Mapping[str, float]], missing: float) -> np.ndarray:
        """Return (row, source) of what each run says of each domain."""
        table = np.array(
            [[value.get(name, missing) for name in domains] for value in values], dtype=np.float64
        )
        rows = table.reshape(len(found), len(domains))[run]
        rows.setflags(write=False)  # so the table keeps them without a copy
        return rows

    ids = [result.run_id for result in found]
    return MeasurementTable(
        domains=domains,
        run=tuple(ids[place] for place, _, _ in measured),
        target=tuple(target for _, target, _ in measured),
        weights=of_runs(mixtures, 0.0),
        budget=np.array([result.budget for result in found], dtype=np.float64)[run],
        seed=np.array([result.spec.seed for result in found], dtype=np.int64)[run],
        loss=np.array([figures["loss"] for _, _, figures in measured], dtype=np.float64),
        loss_se=np.array([_number(figures["loss_se"]) for _, _, figures in measured], dtype=np.float64),
        volumes=of_runs([result.volumes for result in found], np.nan),
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
