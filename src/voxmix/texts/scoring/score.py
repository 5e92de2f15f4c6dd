"""score_texts(): generated reports against known ones, by every score that is asked for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxmix.errors import InputError
from voxmix.texts.scoring.table import TEXT_SCORES


@dataclass(frozen=True, kw_only=True, slots=True)
class TextScores:
    """What generated reports scored.

    Attributes:
        values: score to one value per report; None where it gave none.
        figures: numbers of all reports together, such as macro F1 over labels.
    """

    values: Mapping[str, tuple[float | None, ...]]
    figures: Mapping[str, float]

    def case(self, place: int) -> dict[str, float | None]:
        """Return the scores of one report."""
        return {name: values[place] for name, values in self.values.items()}

    def mean(self, name: str) -> float:
        """Return the mean of a score over the reports that have one; NaN where none has."""
        known = [value for value in self.values[name] if value is not None]
        return math.fsum(known) / len(known) if known else math.nan


def chosen_scores(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which scores are made, and sentences on those left out.

    Those that are named; where none is, all that need no weights and whose library is installed.

    Raises:
        InputError: a name that is not in :data:`TEXT_SCORES`.
    """
    if names:
        for name in names:
            _ = TEXT_SCORES[name]
        return tuple(names), ()
    free = [name for name, row in TEXT_SCORES.rows().items() if not row.weights]
    chosen = tuple(name for name in free if TEXT_SCORES[name].is_at_hand)
    left = tuple(
        f"{name} is left out: it needs the library {TEXT_SCORES[name].library!r}, which is not installed"
        for name in free
        if name not in chosen
    )
    return chosen, left


def score_texts(
    generated: Sequence[str],
    references: Sequence[str],
    *,
    names: Sequence[str] = (),
    weights: Mapping[str, Path] | None = None,
) -> TextScores:
    """Score generated reports, each against the one that a person wrote.

    Args:
        generated: Texts; an empty one scores 0, and 1 in labels where the known report has none.
        references: Known reports, in the same order; none is empty.
        names: Rows of :data:`TEXT_SCORES`; none: see :func:`chosen_scores`.
        weights: Score to the local folder of its weights.

    Raises:
        InputError: other numbers of texts, a score that is not known, weights that are not there.
        MissingDependencyError: a score's library is not installed.
    """
    if len(generated) != len(references) or not references:
        raise InputError(
            f"{len(generated)} generated reports cannot be scored against {len(references)}; give one for each"
        )
    values: dict[str, tuple[float | None, ...]] = {}
    figures: dict[str, float] = {}
    for name in chosen_scores(names)[0]:
        row = TEXT_SCORES[name]
        values[name] = tuple(row.make((weights or {}).get(name))(generated, references))
        if row.figures is not None:
            figures |= row.figures(generated, references)
    return TextScores(values=values, figures=figures)
