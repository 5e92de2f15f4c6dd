"""The path of refining: what a law predicted for its own choice, what was measured, and what it ended in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxmix.mixture import Mixture

AGREES = (
    "A round agrees where the measured mean loss of its choice lies in the 90% interval that the law gave before it was "
    "trained, and within 5% of the prediction."
)
"""The rule of agreement, in one sentence: an interval that is wide because the law knows little agrees with anything."""
_OFF = 0.05
_MOVED = 0.05

Told = tuple[float, float, float]
"""A loss that was predicted, and the low and high end that its measurement is expected in."""


def as_told(value: Sequence[float]) -> Told:
    """Return a loss and its interval from three numbers."""
    loss, low, high = value
    return float(loss), float(low), float(high)


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
        """Whether the measured mean loss lies in the interval that was predicted, and near the prediction."""
        return self.mean[1] <= self.measured_mean <= self.mean[2] and abs(self.gap) <= _OFF

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
            mean=as_told(value["mean"]),
            predicted={str(name): as_told(item) for name, item in value["predicted"].items()},
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
        told: volume draws of the study, and the mean loss that the last law predicts for the choice there.
        later: what the last law would choose at that budget.
        draws: volume draws of all rounds.
        stopped: why it ended: "agreed", "settled" (nothing is left to train), "rounds" or "draws"; "" where it goes on.
    """

    rounds: tuple[RoundResult, ...]
    choice: Mixture
    told: tuple[int, Told]
    later: Mixture
    draws: int
    stopped: str

    @property
    def budget_words(self) -> str:
        """That the best mixture moves with the budget, where by the last law it does; "" elsewhere."""
        moved = self.later.weights - self.choice.weights
        place = int(np.abs(moved).argmax())
        if not self.rounds or abs(moved[place]) <= _MOVED:
            return ""
        return (
            f"The best mixture moves with the budget: at {self.told[0]:,} draws the same law would give "
            f"{self.choice.domains[place]} {self.later.weights[place]:.0%} instead of {self.choice.weights[place]:.0%}, and "
            f"the rounds were judged at {self.rounds[-1].budget:,}. With fit: refine_runs: true the laws' own strategies are "
            "fitted to the rounds too and chosen for the study's budget."
        )

    @property
    def sentence(self) -> str:
        """How it ended, and what to do."""
        count = f"{len(self.rounds)} round{'' if len(self.rounds) == 1 else 's'}"
        repeat = "set fit: repetition: fitted where few volumes of a domain exist"
        if self.stopped == "agreed":
            return (
                f"Agreed after {count}: what the law predicted for the choice was measured within noise, and no mixture beside "
                "it was measured better."
            )
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
            "told": {"budget": self.told[0], "mean": list(self.told[1])},
            "later": self.later.as_dict(),
            "draws": self.draws,
            "stopped": self.stopped,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Refinement":
        """Return the path that :meth:`to_dict` wrote."""
        return cls(
            rounds=tuple(RoundResult.from_dict(item) for item in value["rounds"]),
            choice=Mixture.from_dict(value["choice"]),
            told=(int(value["told"]["budget"]), as_told(value["told"]["mean"])),
            later=Mixture.from_dict(value["later"]),
            draws=int(value["draws"]),
            stopped=str(value["stopped"]),
        )
