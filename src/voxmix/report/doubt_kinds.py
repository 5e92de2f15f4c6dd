"""What a doubt is made of: five kinds, findings, and the evidence that they look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from voxmix.allocation import Allocation
from voxmix.law import FittedLaw
from voxmix.report.content import ReportContent
from voxmix.report.figures import AnswerData
from voxmix.scores.forecast import Forecast

Level = Literal["remark", "some", "open", "strong"]
"""How much a finding counts: a remark is no doubt, an open one was never tested."""

_VERDICTS: dict[Level, str] = {
    "remark": "no reason found",
    "some": "some reason",
    "open": "not known",
    "strong": "strong reason",
}
LEVELS: tuple[Level, ...] = ("remark", "some", "open", "strong")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the rows look at: the content, its answer and what every law had predicted of the measured strategies."""

    content: ReportContent
    answer: AnswerData | None
    forecasts: tuple[Forecast, ...] = ()

    @property
    def law(self) -> FittedLaw | None:
        """The law behind the answer."""
        name = self.content.answer_law
        return None if name is None else self.content.laws[name]

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks that the answer's allocation and its law carry, each once."""
        item = None if self.answer is None else self.content.strategies[self.answer.strategy]
        own = item.notes if isinstance(item, Allocation) else ()
        return tuple(dict.fromkeys((*own, *(() if self.law is None else self.law.notes))))


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of doubt: the question it asks, and what no study of this sort can show of it."""

    name: str
    title: str
    asks: str
    never: str


KINDS = (
    Kind(
        name="data",
        title="Data",
        asks="Are volumes and losses what they should be?",
        never="Draws are not volumes: a domain with few volumes is repeated, and repeats are worth less. A mixture inherits the "
        "biases of its sources.",
    ),
    Kind(
        name="noise",
        title="Noise of training",
        asks="Do differences exceed what chance makes?",
        never="Intervals cover the noise between runs. They do not cover the choice of patients, scanners and hospitals.",
    ),
    Kind(
        name="fit",
        title="Fit of the law",
        asks="Does the law describe the runs?",
        never="The law assumes that transfer adds up (or, in the diversity law, that variety counts the same way "
        "everywhere), that one transfer value holds for all budgets, and that a target has the same irreducible loss "
        "whatever the source. In small studies these hold only roughly: losses fall in steps, and a source's loss on a far "
        "target levels off above the target's own.",
    ),
    Kind(
        name="extrapolation",
        title="Extrapolation",
        asks="Is the answer near what was run?",
        never="Beyond the largest budget that was run, a law of any form is a guess that only a run can check.",
    ),
    Kind(
        name="proxy",
        title="From proxy to target",
        asks="Does a lower loss make a better encoder?",
        never="The measured loss is masked reconstruction on held-out volumes, a proxy. Whether a lower loss makes a better "
        "encoder for a clinical task must be measured on that task.",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that may be wrong: its kind, how much it counts, how it is seen.

    ``look`` gives sentences, none where all is well; ``phrases`` are parts of the remarks that are its own.
    """

    name: str
    kind: str
    level: Level = "some"
    look: Callable[[Evidence], Sequence[str]] = lambda _: ()
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubt:
    """What was found of one kind: its level, and the findings with their sentences, what counts most first."""

    kind: Kind
    found: tuple[tuple[Finding, tuple[str, ...]], ...]

    @property
    def level(self) -> Level:
        """That of the worst finding."""
        return max((finding.level for finding, _ in self.found), key=LEVELS.index, default="remark")

    @property
    def line(self) -> str:
        """The verdict, and what it rests on, in one line."""
        names = [finding.name for finding, _ in self.found if finding.level != "remark"]
        return f"{_VERDICTS[self.level]}{': ' if names else ''}{'; '.join(names)}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every finding's sentences, then what no study of this sort can show."""
        return (*(text for _, texts in self.found for text in texts), self.kind.never)
