"""EncoderReportContent: everything that the report of an encoder study can show, all of it optional."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from voxmix.scaling import ScoreLaws
from voxmix.scaling.results import Scored
from voxmix.scores import Comparison


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetSummary:
    """One nested subset: its images and persons, and how often a run draws each image, in the mean."""

    images: int
    persons: int
    epochs: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """The runs of one objective from one start on one subset, which differ in their seed alone.

    Attributes:
        control: "" at equal compute, else which control it is: "compute", "epochs".
        done, planned: runs.
        draws, seconds: mean of a run; None where none is done.
        alarms: what runs were alarmed by, each sentence once.
    """

    objective: str
    start: str
    samples: int
    control: str = ""
    done: int = 0
    planned: int = 0
    draws: float | None = None
    seconds: float | None = None
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Example:
    """One held-out image, what is known of it, and what encoders made of it.

    Attributes:
        task: of which it is an example.
        image: in [0, 1], its first row at the top.
        case: digest of the image; names nobody.
        report: its own report, without names, dates and numbers; "" where it has none.
        generated: encoder to the report that was generated from its features; no such text was written by a person.
        neighbors: images that an encoder finds nearest, with what to call each.
        masks: name of a mask to its pixels, as known.
        predicted: encoder to the same, as a head on its features found them.
        encoder: of ``neighbors``.
        note: what is missing, in a sentence.
    """

    task: str
    image: Float[np.ndarray, "row column"]
    case: str
    report: str = ""
    generated: Mapping[str, str] = field(default_factory=dict)
    neighbors: tuple[tuple[str, Float[np.ndarray, "_ _"]], ...] = ()
    masks: Mapping[str, Bool[np.ndarray, "row column"]] = field(default_factory=dict)
    predicted: Mapping[str, Mapping[str, Bool[np.ndarray, "row column"]]] = field(default_factory=dict)
    encoder: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderReportContent:
    """What the report of an encoder study shows. Whatever is left out is named with the command that makes it.

    Attributes:
        study: name of the study, and the title of the report.
        made: when, as text; an argument so that the same content gives the same bytes.
        compute: what is equal among runs, in words, such as "8,192 draws".
        domains: where images that encoders learn from are of, with their number.
        laws: laws of scores; ``no_laws`` says why there are none, in one sentence.
        laws_file: of laws alone, the file that holds them, as an argument of commands; "" of a study.
        scored: every judged encoder on every task: the marks in figures.
        tasks: task to what it is, in a sentence.
        comparison: scores of all encoders with intervals, and tests between them.
        failed: probes that could not be made, each in a sentence.
        facts: heading to (name to value): versions, machine, digests, settings.
        warnings: reasons to doubt a result, in plain sentences.
    """

    study: str
    made: str = ""
    compute: str = ""
    domains: Mapping[str, int] = field(default_factory=dict)
    laws: ScoreLaws | None = None
    no_laws: str = ""
    laws_file: str = ""
    scored: tuple[Scored, ...] = ()
    tasks: Mapping[str, str] = field(default_factory=dict)
    comparison: Comparison | None = None
    subsets: tuple[SubsetSummary, ...] = ()
    runs: tuple[RunSummary, ...] = ()
    examples: tuple[Example, ...] = ()
    failed: tuple[str, ...] = ()
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
