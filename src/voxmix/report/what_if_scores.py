"""What the panel of laws of scores is given: the lines that the laws keep, and the question that it begins with.

The page's script (``what_if_scores.js``) reads them as :mod:`voxmix.scaling.ask` does; a test compares the two in a browser.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from voxmix.report.encoder_tables import crossing_text
from voxmix.report.palette import domain_marks, glyph
from voxmix.scaling import Crossing, ScoreLaws
from voxmix.scaling.ask import OUTSIDE
from voxmix.scaling.parts import own_reference, plain, series_name
from voxmix.scaling.words import THEN_WORSE, reference_words

_BEYOND = 10.0
"""Times the largest size up to which the slider goes; the laws keep their lines as far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreWhatIf:
    """The panel: ``data`` for its script, and the names of what can be chosen."""

    kind: ClassVar[str] = "scores"
    data: Mapping[str, Any]
    tasks: tuple[str, ...]
    objectives: tuple[str, ...]
    references: tuple[str, ...]
    series: tuple[str, ...]
    low: float
    high: float
    unit: str = "images"
    where: str = ""
    remarks: tuple[str, ...] = ()


def score_what_if(laws: ScoreLaws, *, file: str = "") -> ScoreWhatIf | str:
    """Return the panel of laws of scores, or why there is none.

    Args:
        file: of the laws, as an argument of commands; "" for a study, whose commands are given in its folder.
    """
    if not laws.series:
        return (
            "No objective was judged at three sizes or more, so there is no law to ask; see the notes above."
        )
    if all(one.line is None for one in laws.series):
        why = next((one.elasticity for one in laws.series if one.elasticity.status), None)
        told = "" if why is None else f" ({why.status}; {why.remedy})"
        return f"No line can be told with an interval{told}, so there is nothing to ask."
    names = tuple(dict.fromkeys(one.name for one in laws.series))
    marks = domain_marks(names)
    sizes = sorted({n for one in laws.series for n in one.samples})
    ends = np.log10(sizes[0] / _BEYOND), np.log10(sizes[-1] * _BEYOND)
    data = {
        "level": laws.level,
        "unit": "images",
        "whole": True,
        "outside": OUTSIDE,
        "tasks": {one.task: {"metric": one.metric, "outside": one.outside} for one in laws.series},
        "series": [
            {
                "task": one.task,
                "objective": one.objective,
                "name": one.name,
                "sizes": [one.samples[0], one.samples[-1]],
                "line": _short(plain(one.line)),
                "worse": THEN_WORSE if one.inverse else "",
                "why": one.elasticity.status if one.line is None else "",
                "color": marks[one.name].color,
                "glyph": glyph(marks[one.name].marker),
            }
            for one in laws.series
        ],
        "crossings": [
            {
                "task": one.task,
                "name": series_name(one.objective, one.start),
                "reference": one.reference,
                "called": reference_words(one.reference),
                "own": one.reference == own_reference(one.start, _references(laws, one)),
                "words": crossing_text(one, rises=laws.rises(one)),
                **{name: plain(getattr(one.samples, name)) for name in ("value", "low", "high")},
                "line": _short(plain(one.line)),
            }
            for one in laws.crossings
        ],
        "pairs": [
            {
                "task": one.task,
                "first": one.first,
                "second": one.second,
                "between": _short(plain(one.between)),
            }
            for one in laws.pairs
        ],
        "asked": {
            "n": sizes[-1],
            "task": "",
            "ref": "",
            "goal": _goal(laws),
            "by": "error",
            "like": names[0],
            "off": [],
        },
        "predict": " ".join(filter(None, ["voxmix predict", file])),
        "plan": " ".join(filter(None, ["voxmix plan", file])),
    }
    return ScoreWhatIf(
        data=data,
        tasks=tuple(dict.fromkeys(one.task for one in laws.series)),
        objectives=tuple(dict.fromkeys(one.objective for one in laws.series)),
        references=tuple(dict.fromkeys(one.reference for one in laws.crossings)),
        series=names if laws.pairs else (),
        low=round(float(ends[0]), 2),
        high=round(float(ends[1]), 2),
        where="" if file else ", in the study's folder",
    )


def _short(value: Any) -> Any:
    """Return JSON-like data with ten digits of each number, which halves a page of many tasks."""
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value


def _references(laws: ScoreLaws, crossing: Crossing) -> list[str]:
    """Return the references that a crossing's series is set against."""
    own = (crossing.task, crossing.objective, crossing.start)
    return [one.reference for one in laws.crossings if (one.task, one.objective, one.start) == own]


def _goal(laws: ScoreLaws) -> float:
    """Return an error to begin with: the middle one of those at the largest sizes, in two digits."""
    middle = float(np.median([one.errors[-1] for one in laws.series]))
    return float(f"{min(max(middle, 0.01), 0.99):.2g}")
