"""The rounds of ``voxmix refine``: what was proposed and predicted before training, what was measured, and how it ended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxmix._io import digest, naming_damage, read_versioned, write_json
from voxmix.allocation.refinement import Refinement, Told, as_told
from voxmix.design import RunSpec
from voxmix.mixture import Mixture
from voxmix.run_settings import identity
from voxmix.study.config import StudyConfig

KIND, FORMAT = "refine", 1
REFINE_RUNS = "refine runs"
_MADE_FROM = {
    "runs": "the prepared volumes, model, training or evaluation",
    "design": "design",
    "fit": "fit",
    "limits": "allocation (what is asked of a mixture)",
}
"""Each part of what a round is made from, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One round, written before it is trained.

    Attributes:
        basis: digests of what it is made from, by part: where ``runs`` differs its runs are not the study's, where
            another differs they are, and its choice and predictions are of another law.
        mixtures: the law's choice, then its neighbours.
        draws: volume draws of each run, one number per mixture.
        seeds: seeds 0 and on of each mixture.
        law: name of the law that chose.
        mean: mean loss of the choice as predicted, with its 90% interval.
        predicted: target to loss of the choice as predicted, with its interval: 90% that all hold their targets.
    """

    basis: Mapping[str, str]
    mixtures: tuple[Mixture, ...]
    draws: tuple[int, ...]
    seeds: int
    law: str
    mean: Told
    predicted: dict[str, Told]

    def specs(self, config: StudyConfig, cache: str) -> tuple[RunSpec, ...]:
        """Return the runs of the round: every mixture with every seed."""
        return tuple(
            RunSpec(
                mixture=mixture,
                budget=draws,
                seed=seed,
                model=config.model,
                training=config.training,
                evaluation=config.evaluation,
                cache=cache,
            )
            for mixture, draws in zip(self.mixtures, self.draws, strict=True)
            for seed in range(self.seeds)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the round as JSON-like data."""
        return {
            "basis": dict(self.basis),
            "mixtures": [mixture.as_dict() for mixture in self.mixtures],
            "draws": list(self.draws),
            "seeds": self.seeds,
            "law": self.law,
            "mean": list(self.mean),
            "predicted": {name: list(values) for name, values in self.predicted.items()},
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Round":
        """Return the round that :meth:`to_dict` wrote."""
        basis = value["basis"] if "basis" in value else {"runs": value["trained_as"]}
        predicted = {str(name): as_told(item) for name, item in value["predicted"].items()}
        return cls(
            basis={str(part): str(made) for part, made in basis.items()},
            mixtures=tuple(Mixture.from_dict(mixture) for mixture in value["mixtures"]),
            draws=tuple(int(draws) for draws in value["draws"]),
            seeds=int(value["seeds"]),
            law=str(value["law"]),
            mean=as_told(value.get("mean", np.mean(list(predicted.values()), axis=0).tolist())),
            predicted=predicted,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What the file of a study's rounds holds: every round, and the path as it was last judged, with its basis."""

    rounds: tuple[Round, ...] = ()
    path: Refinement | None = None
    basis: Mapping[str, str] | None = None


def basis_of(config: StudyConfig, cache: str, proxies: Iterable[RunSpec]) -> dict[str, str]:
    """Return the digests of what a round would be made from now; ``proxies`` are the runs of the design."""
    runs = (config.model.effective, config.training, config.evaluation)
    fit, asked = identity(config.fit), identity(config.allocation)
    fit.pop("refine_runs", None)  # refine always fits its own runs
    budget = asked["budget"] if asked.get("max_epochs") else None
    for name in ("budget", "strategies", "seeds", "level", "tolerance"):
        asked.pop(name, None)
    return {
        "runs": digest([cache, *(identity(part) for part in runs)]),
        "design": digest(sorted(spec.run_id for spec in proxies)),
        "fit": digest(fit),
        "limits": digest(asked | {"budget": budget}),
    }


def changed_words(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return in words which parts of a basis differ."""
    changed = [words for part, words in _MADE_FROM.items() if then.get(part) != now[part]]
    return " and ".join(changed)


def read_record(path: Path) -> Record:
    """Return what the file of a study's rounds holds; an empty record where there is none.

    Raises:
        InputError: the file is damaged, or of another version.
    """
    if not path.exists():
        return Record()
    value = read_versioned(path, kind=KIND, version=FORMAT)
    with naming_damage(path, remedy="delete it: finished runs stay, and the rounds begin again"):
        kept, basis = value.get("path"), value.get("basis")
        return Record(
            rounds=tuple(Round.from_dict(item) for item in value["rounds"]),
            path=None if kept is None else Refinement.from_dict(kept),
            basis=None if basis is None else {str(part): str(made) for part, made in basis.items()},
        )


def write_record(path: Path, record: Record) -> None:
    """Write the rounds and their path, atomically."""
    value = {
        "kind": KIND,
        "format": FORMAT,
        "rounds": [item.to_dict() for item in record.rounds],
        "path": None if record.path is None else record.path.to_dict(),
        "basis": None if record.basis is None else dict(record.basis),
    }
    write_json(path, value)
