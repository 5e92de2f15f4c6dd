"""Labels that were found against labels that are known: precision, recall and F1 of each, and their mean."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voxmix.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelScore:
    """How well one label is found. ``support`` is in how many reports it is known to be there.

    Precision, recall and F1 are shares; NaN where nothing was found, and where nothing was there.
    """

    label: str
    support: int
    found: int
    right: int

    @property
    def precision(self) -> float:
        """Of the reports where it was found, those where it is there."""
        return self.right / self.found if self.found else math.nan

    @property
    def recall(self) -> float:
        """Of the reports where it is there, those where it was found."""
        return self.right / self.support if self.support else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of the two: 2 right / (support + found)."""
        return 2 * self.right / (self.support + self.found) if self.support else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCheck:
    """Scores of all labels, and the labels left out of ``macro_f1``: those known to be there in too few reports."""

    scores: tuple[LabelScore, ...]
    left_out: tuple[str, ...]
    reports: int

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the labels that are not left out; NaN without any."""
        kept = [score.f1 for score in self.scores if score.label not in self.left_out]
        return math.fsum(kept) / len(kept) if kept else math.nan

    @property
    def micro_f1(self) -> float:
        """F1 of all labels' reports together."""
        total = sum(score.support + score.found for score in self.scores)
        return 2 * sum(score.right for score in self.scores) / total if total else math.nan


def check_labels(
    found: Sequence[Mapping[str, int | None]],
    gold: Sequence[Mapping[str, int | None]],
    *,
    min_support: int = 1,
) -> LabelCheck:
    """Return how well labels were found that are known.

    A report counts for the labels that ``gold`` knows of it (1 or 0). A label that is found as not known, or not found,
    counts as not there.

    Args:
        found: Labels of each report, :attr:`Labels.values`.
        gold: Known labels of the same reports.
        min_support: A label that is there in fewer reports is left out of the mean.

    Raises:
        InputError: other numbers of reports, none, or no label in both.
    """
    if len(found) != len(gold) or not gold:
        raise InputError(
            f"labels of {len(found)} reports were found and of {len(gold)} are known; give both of the same reports"
        )
    known = {name for row in found for name in row}
    names = list(dict.fromkeys(name for row in gold for name in row if name in known))
    if not names:
        raise InputError(
            f"no known label is among those that were found ({', '.join(sorted(known))}); name them alike"
        )
    scores = []
    for name in names:
        pairs = [
            (row.get(name) == 1, truth[name] == 1)
            for row, truth in zip(found, gold, strict=True)
            if truth.get(name) is not None
        ]
        scores.append(
            LabelScore(
                label=name,
                support=sum(there for _, there in pairs),
                found=sum(said for said, _ in pairs),
                right=sum(said and there for said, there in pairs),
            )
        )  # fmt: skip
    few = tuple(score.label for score in scores if score.support < max(1, min_support))
    return LabelCheck(scores=tuple(scores), left_out=few, reports=len(gold))
