"""The rounds of ``voxmix refine``: what was proposed and predicted before training, what was measured, and how it ended."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxmix._io import digest, naming_damage, read_versioned, write_json
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

Told = tuple[float, float, float]
"""A loss that was predicted, and the low and high end that its measurement is expected in."""


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
        predicted = {str(name): _told(item) for name, item in value["predicted"].items()}
        return cls(
            basis={str(part): str(made) for part, made in basis.items()},
            mixtures=tuple(Mixture.from_dict(mixture) for mixture in value["mixtures"]),
            draws=tuple(int(draws) for draws in value["draws"]),
            seeds=int(value["seeds"]),
            law=str(value["law"]),
            mean=_told(value.get("mean", np.mean(list(predicted.values()), axis=0).tolist())),
            predicted=predicted,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundResult:
    """One round after it was trained. Its runs are those of its choice, the mean is that over seeds.

    Attributes:
        choice: the law's mixture.
        budget: volume draws of each run.
        mean: mean loss over targets as predicted before the round was trained, with its 90% interval.
        predicted: target to loss as predicted, with its interval: 90% that all hold their targets.
        measured_mean: mean loss over targets, by the study's target_weights; NaN where a loss is missing.
        measured: target to mean loss, the seeds' own effects taken out.
        move: largest change of a share from this choice to the next one.
    """

    choice: Mixture
    law: str
    budget: int
    mean: Told
    predicted: dict[str, Told]
    measured_mean: float
    measured: dict[str, float]
    move: float

    @property
    def gap(self) -> float:
        """Mean measured loss over the mean predicted one, less 1."""
        return self.measured_mean / self.mean[0] - 1

    @property
    def agrees(self) -> bool:
        """Whether the measured mean loss lies in the interval that was predicted."""
        return self.mean[1] <= self.measured_mean <= self.mean[2]

    @property
    def outside(self) -> tuple[str, ...]:
        """Targets whose own losses lie outside of their intervals."""
        told = self.predicted
        return tuple(n for n, loss in self.measured.items() if not told[n][1] <= loss <= told[n][2])

    def to_dict(self) -> dict[str, Any]:
        """Return the round as JSON-like data."""
        return {
            "choice": self.choice.as_dict(),
            "law": self.law,
            "budget": self.budget,
            "mean": list(self.mean),
            "measured_mean": self.measured_mean if np.isfinite(self.measured_mean) else None,
            "predicted": {name: list(values) for name, values in self.predicted.items()},
            "measured": self.measured,
            "gap": self.gap if np.isfinite(self.gap) else None,
            "move": self.move,
            "agrees": self.agrees,
            "outside": list(self.outside),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "RoundResult":
        """Return the round that :meth:`to_dict` wrote."""
        return cls(
            choice=Mixture.from_dict(value["choice"]),
            law=str(value["law"]),
            budget=int(value["budget"]),
            mean=_told(value["mean"]),
            predicted={str(name): _told(item) for name, item in value["predicted"].items()},
            measured_mean=float("nan" if value["measured_mean"] is None else value["measured_mean"]),
            measured={str(name): float(loss) for name, loss in value["measured"].items()},
            move=float(value["move"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Refinement:
    """The path of a study's rounds and what it ended in.

    Attributes:
        rounds: every round that was trained, with what it measured.
        choice: the mixture that it ended in.
        draws: volume draws of all rounds.
        stopped: why it ended: "agreed", "settled" (nothing is left to train), "rounds" or "draws"; "" where it goes on.
    """

    rounds: tuple[RoundResult, ...]
    choice: Mixture
    draws: int
    stopped: str

    @property
    def sentence(self) -> str:
        """How it ended, and what to do."""
        count = f"{len(self.rounds)} round{'' if len(self.rounds) == 1 else 's'}"
        repeat = "set fit: repetition where few volumes of a domain exist"
        if self.stopped == "agreed":
            return f"Agreed after {count}: what the law predicted for its choice was measured within noise."
        if self.stopped == "settled":
            return (
                f"Not agreed after {count}: every mixture near the choice is measured and the law still errs there. Compare "
                f"voxmix fit with other laws, or {repeat}."
            )
        if self.stopped:
            return f"Not agreed after {count}: the {self.stopped} allowed are spent. Give more --{self.stopped}, or {repeat}."
        return f"Not ended: {count} done, the next is proposed."

    def to_dict(self) -> dict[str, Any]:
        """Return the path as JSON-like data."""
        return {
            "rounds": [item.to_dict() for item in self.rounds],
            "choice": self.choice.as_dict(),
            "draws": self.draws,
            "stopped": self.stopped,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Refinement":
        """Return the path that :meth:`to_dict` wrote."""
        return cls(
            rounds=tuple(RoundResult.from_dict(item) for item in value["rounds"]),
            choice=Mixture.from_dict(value["choice"]),
            draws=int(value["draws"]),
            stopped=str(value["stopped"]),
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


def _told(value: Sequence[float]) -> Told:
    loss, low, high = value
    return float(loss), float(low), float(high)
