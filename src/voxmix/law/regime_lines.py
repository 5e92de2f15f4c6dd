"""What is told of each target's regime: its verdict and numbers, and sentences and a table in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

import numpy as np

from voxmix.law.numbers import plain
from voxmix.law.regime_noise import VOLUMES

LAW_ERROR = 0.03
"""Relative error per mixture and target that the best laws have on unseen mixtures (docs/concepts/law.md)."""
APART = 2.0  # standard errors of a difference by which two runs are told apart

Verdict = Literal["moves", "levels off", "barely moves", "does not move", "rises", "not known"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetRegime:
    """How one target's loss moves with the budget and with the mixture.

    Attributes:
        target: its name.
        verdict: moves, levels off, barely moves, does not move, rises; not known without two budgets or any noise.
        curve: the runs that it is judged by, in words.
        budgets: draws of these runs, rising.
        losses: their mean losses, in the order of ``budgets``; of the seeds that both ends have.
        fall: share of the loss that is gone from the first budget to the last; negative where it rises.
        per_doubling: the same share for each doubling of the draws, in the mean.
        late: the same over the upper end: from the largest budget that is half of the last or less.
        noise: standard deviation of one run, as a share of the loss; its ``basis`` and degrees of ``freedom``.
        seeds: runs of a mixture at either end of the curve.
        mixtures: mixtures of several sources at the budget where most of them were run.
        spread: loss of the worst of these over that of the best, less 1; None below three mixtures.
        mixtures_differ: whether they differ by more than chance; None where that cannot be judged.
    """

    target: str
    verdict: Verdict
    curve: str
    budgets: tuple[float, ...]
    losses: tuple[float, ...]
    fall: float | None
    per_doubling: float | None
    late: float | None
    noise: float | None
    basis: str
    freedom: float
    seeds: int
    mixtures: int
    spread: float | None
    mixtures_differ: bool | None

    @property
    def decides(self) -> bool:
        """Whether these runs can tell what helps the target."""
        return self.verdict in ("moves", "levels off")

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        if self.fall is None or self.per_doubling is None:
            return f"{self.target}: {self.curve}"
        went = f"fell by {_share(self.fall)}" if self.fall >= 0 else f"rose by {_share(-self.fall)}"
        at_most = "at most " if self.basis == VOLUMES else ""
        noise = "noise not known" if self.noise is None else f"noise {at_most}{_share(self.noise)}"
        span = f"from {self.budgets[0]:,.0f} to {self.budgets[-1]:,.0f} draws"
        told = (
            f"{self.target} {went} {span} in {self.curve} ({_share(self.per_doubling)} per doubling, {noise})"
        )
        return f"{told}{_MEANING[self.verdict]}"

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-like data."""
        return asdict(self) | {
            "budgets": list(self.budgets),
            "losses": list(self.losses),
            "freedom": plain(self.freedom),
            "sentence": self.sentence,
        }


_MEANING: dict[Verdict, str] = {
    "moves": "",
    "levels off": ", and hardly any more at the largest budgets",
    "barely moves": ": these proxies can hardly tell what helps it",
    "does not move": ": these proxies cannot tell what helps it",
    "rises": ": it gets worse with every draw",
    "not known": ": whether that is more than chance is not known, a second seed would tell",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """The regime of every target of a table."""

    targets: tuple[TargetRegime, ...]

    def __getitem__(self, target: str) -> TargetRegime:
        return next(item for item in self.targets if item.target == target)

    @property
    def is_judged(self) -> bool:
        """Whether there is any target with a fall; there is none where every run has the same budget."""
        return any(item.fall is not None for item in self.targets)

    @property
    def undecided(self) -> tuple[TargetRegime, ...]:
        """The targets of which these runs cannot tell what helps them."""
        return tuple(item for item in self.targets if not item.decides)

    @property
    def summary(self) -> str:
        """How many targets move, in one sentence."""
        known = [item for item in self.targets if item.fall is not None]
        if not known:
            return f"whether data matter is not known: {self.targets[0].curve}" if self.targets else ""
        moving = sum(item.decides for item in known)
        if moving == len(self.targets):
            return f"data matter: the loss of every target ({moving}) falls with the budget by far more than noise"
        return f"the losses of {moving} of {len(self.targets)} targets fall enough with the budget to tell what helps them"

    @property
    def doubt(self) -> str:
        """Which targets these runs say hardly anything of, in one sentence; empty where there are none."""
        still = [item.target for item in self.undecided if item.fall is not None]
        if not still:
            return ""
        return (
            f"{len(still)} of {len(self.targets)} targets hardly move with the budget ({', '.join(still)}): these runs "
            "cannot tell what helps them"
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """The summary; a sentence for each target that does not move; where mixtures do not differ; what would help."""
        known = [item for item in self.targets if item.fall is not None]
        if not known:
            return (self.summary,) if self.summary else ()
        return (self.summary, *(item.sentence for item in self.undecided), *_alike(known), *_help(known))

    def to_dict(self) -> dict[str, Any]:
        """Return all figures and sentences as JSON-like data."""
        return {
            "summary": self.summary,
            "sentences": list(self.sentences),
            "targets": [item.to_dict() for item in self.targets],
        }

    def table(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Return headers and rows in words, one row per target."""
        return HEADERS, tuple(_row(item) for item in self.targets)

    def _repr_html_(self) -> str:
        headers, rows = self.table()
        head = "".join(f"<th>{escape(name)}</th>" for name in headers)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        said = "".join(f"<li>{escape(line)}</li>" for line in self.sentences)
        return f"<table><tr>{head}</tr>{body}</table><ul>{said}</ul>"


HEADERS = ("target", "verdict", "curve", "draws", "fall", "per doubling", "noise", "mixtures differ by")


def _row(item: TargetRegime) -> tuple[str, ...]:
    if item.fall is None:
        return (item.target, item.verdict, item.curve, *("-" for _ in HEADERS[3:]))
    return (
        item.target,
        item.verdict,
        item.curve,
        f"{item.budgets[0]:,.0f} to {item.budgets[-1]:,.0f}",
        _share(item.fall),
        _share(item.per_doubling),
        _share(item.noise),
        "-" if item.spread is None else f"{_share(item.spread)} ({item.mixtures} mixtures)",
    )


def _share(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0%}" if abs(value) >= 0.0995 else f"{value:.1%}"


def _alike(known: Sequence[TargetRegime]) -> list[str]:
    names = [item.target for item in known if item.mixtures_differ is False]
    if not names:
        return []
    most = max(item.mixtures for item in known)
    return [f"no mixture of {most} changes the loss of {', '.join(names)} by more than chance"]


def _help(known: Sequence[TargetRegime]) -> list[str]:
    """What would make the targets move that do not: more seeds where noise alone hides them, else another task."""
    found = []
    noisy = [
        item for item in known if item.verdict == "barely moves" and (item.per_doubling or 0) >= LAW_ERROR
    ]
    if noisy:
        needed = max(_seeds_needed(item) for item in noisy)
        found.append(f"{_names(noisy)}: noise hides the fall; {needed} seeds of every run would show it")
    still = [
        item for item in known if item.verdict in ("barely moves", "does not move") and item not in noisy
    ]
    if still:
        found.append(
            f"{_names(still)}: what may help is larger budgets, smaller patches, a finer or coarser spacing, weaker or "
            "stronger augmentation"
        )
    rising = [item for item in known if item.verdict == "rises"]
    if rising:
        found.append(
            f"{_names(rising)}: check learning rate and augmentation, and whether training and held-out volumes are of one "
            "kind; if more is better in this column, it is no loss: fit it with --direction max"
        )
    return found


def _names(items: Sequence[TargetRegime]) -> str:
    return ", ".join(item.target for item in items)


def _seeds_needed(item: TargetRegime) -> int:
    assert item.noise is not None
    assert item.per_doubling is not None
    return int(np.ceil((APART * np.sqrt(2) * item.noise / -np.log1p(-item.per_doubling)) ** 2))
