"""ScoreLaws: all that the scores of a study or of a table say, kept as JSON; and Scored, one judged encoder on one task."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxmix._io import read_versioned, write_json
from voxmix.errors import InputError
from voxmix.probe_tasks import JudgedEncoder
from voxmix.scaling.parts import (
    Crossing,
    Limit,
    Pair,
    Reference,
    Series,
    plain,
    read_crossing,
    read_limit,
    read_pair,
    read_reference,
    read_series,
)
from voxmix.scaling.sentences import score_law_sentences
from voxmix.scores.metric import Weighted

KIND, FORMAT = "score laws", 2
_FORMER = (1,)
"""Without lines over references and between series; all else is there."""
_READERS: dict[str, Callable[[Any], Any]] = {
    "series": read_series,
    "references": read_reference,
    "crossings": read_crossing,
    "pairs": read_pair,
    "limits": read_limit,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Score of one encoder on one task.

    Attributes:
        cases, subjects: test cases and whose they are, in one order; empty where only the score is known.
        weighted: from weights over ``cases`` to the score, so that cases can be resampled; None where only the score is known.
        score: 1 is best; the error is 1 - score.
        standard_error: over test cases, where it was given; of scores without cases alone.
    """

    task: str
    metric: str
    outside: bool
    judged: JudgedEncoder
    cases: tuple[str, ...]
    subjects: tuple[str, ...]
    weighted: Weighted | None
    score: float
    standard_error: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreLaws:
    """What scores say of objectives and samples.

    Attributes:
        notes: what was left out or doubted, in plain sentences.
        level: of every interval.
    """

    series: tuple[Series, ...]
    references: tuple[Reference, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    pairs: tuple[Pair, ...] = ()
    limits: tuple[Limit, ...] = ()
    notes: tuple[str, ...] = ()
    level: float = 0.9

    def rises(self, crossing: Crossing) -> bool:
        """Return whether the error of a crossing's series surely rises with samples: few may beat a reference that many do not."""
        named = crossing.task, crossing.objective, crossing.start
        return any(one.inverse for one in self.series if (one.task, one.objective, one.start) == named)

    def sentences(self) -> tuple[str, ...]:
        """Return the answer in plain sentences; the first is the headline."""
        return score_law_sentences(
            self.series,
            crossings=self.crossings,
            pairs=self.pairs,
            limits=self.limits,
            level=self.level,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-like data: NaN is null, infinity the text "inf"."""
        return {
            "kind": KIND,
            "format": FORMAT,
            **{name: plain(getattr(self, name)) for name in _READERS},
            "notes": list(self.notes),
            "level": self.level,
            "sentences": list(self.sentences()),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "ScoreLaws":
        """Return what :meth:`as_dict` wrote."""
        parts = {name: tuple(read(item) for item in value[name]) for name, read in _READERS.items()}
        return cls(**parts, notes=tuple(value["notes"]), level=float(value["level"]))

    def save(self, path: Path) -> None:
        """Write it to a JSON file."""
        write_json(path, self.as_dict())

    @classmethod
    def load(cls, path: Path) -> "ScoreLaws":
        """Return the laws of a file that :meth:`save` wrote.

        Raises:
            InputError: another kind of file, another format, or a damaged one.
        """
        value = read_versioned(path, kind=KIND, version=FORMAT, former=_FORMER)
        try:
            return cls.from_dict(value)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} is damaged ({error!r}); make it again with voxmix scale TABLE -o {path.name}"
            ) from None
