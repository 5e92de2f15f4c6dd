"""What of an encoder study is done, its subsets, and what comes next."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from voxmix.encoder_study.view import EncoderView
from voxmix.errors import InputError, StepPendingError
from voxmix.runs.files import SPEC_FILE
from voxmix.runs.unfinished import begun_specs
from voxmix.study.status import StepState, study_status

if TYPE_CHECKING:
    from voxmix.subsets import Subset


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetState:
    """A nested subset: what was asked for, what it holds, and how often its images are drawn."""

    asked: int | str
    images: int
    persons: int
    epochs: float | None
    repeats: int | None
    domains: dict[str, int]

    def row(self) -> list[str]:
        """Return it as cells of a table."""
        return [
            str(self.asked) if isinstance(self.asked, str) else f"{self.asked:,}",
            f"{self.images:,}",
            f"{self.persons:,}",
            "-" if self.epochs is None else f"{self.epochs:.3g}",
            "-" if self.repeats is None else f"{self.repeats:,}",
            ", ".join(f"{name} {count:,}" for name, count in self.domains.items()),
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCounts:
    """Runs of one objective from one start: planned, finished, begun and not finished, finished with an alarm."""

    objective: str
    start: str
    planned: int
    finished: int
    begun: int
    alarms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyState:
    """An encoder study as it is now. ``problems`` are sentences on what cannot work, ``notes`` on what is good to know."""

    steps: tuple[StepState, ...]
    subsets: tuple[SubsetState, ...] = ()
    runs: tuple[RunCounts, ...] = ()
    left_behind: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def run_rows(self) -> list[list[str]]:
        """Return the counts of runs as cells of a table."""
        return [
            [one.objective, one.start, f"{one.finished} of {one.planned}", str(one.begun), str(one.alarms)]
            for one in self.runs
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the state as JSON-like data."""
        return {
            "steps": [{"step": s.name, "done": s.done, "detail": s.detail} for s in self.steps],
            "subsets": [asdict(one) for one in self.subsets],
            "runs": [asdict(one) for one in self.runs],
            "left_behind": self.left_behind,
            "problems": list(self.problems),
            "notes": list(self.notes),
        }


def study_state(view: EncoderView) -> StudyState:
    """Return how far a study is. What cannot work is a sentence in it, not an error."""
    from voxmix.encoder_study.training import subset_lines

    try:
        view.check()
        steps = study_status(view)
        subsets = tuple(_subset(view, one) for one in view.subsets)
        counts = _counts(view)
        left = _left_behind(view)
        notes = [*subset_lines(view)]
    except StepPendingError:
        return StudyState(steps=steps)
    except InputError as error:
        states = [
            StepState(name=row.name, done=False, detail="cannot be told", command=row.call(view.root))
            for row in view.steps.of_a_run()
        ]
        return StudyState(steps=tuple(states), problems=(str(error),))
    if left:
        notes.append(
            f"{left} run(s) of runs/ are not of the study's present settings; they are kept, and count nowhere"
        )
    return StudyState(steps=steps, subsets=subsets, runs=counts, left_behind=left, notes=tuple(notes))


def _subset(view: EncoderView, subset: Subset) -> SubsetState:
    design = view.config.design
    known = design.budget_unit == "draws"
    return SubsetState(
        asked=subset.asked,
        images=subset.images,
        persons=subset.persons,
        epochs=subset.epochs(design.budget) if known else None,
        repeats=subset.repeats(design.budget) if known else None,
        domains=subset.by_domain,
    )


def _counts(view: EncoderView) -> tuple[RunCounts, ...]:
    found, unfinished = [], dict(begun_specs(view.study.runs_dir))
    for objective in view.config.objectives:
        for start in view.config.starts:
            runs = [run for run in view.planned if (run.spec.objective, run.start) == (objective, start)]
            results = [view.result(run) for run in runs]
            finished = [result for result in results if result is not None]
            begun = sum(view.study.run_dir(run.spec) in unfinished for run in runs)
            found.append(
                RunCounts(
                    objective=objective,
                    start=start,
                    planned=len(runs),
                    finished=len(finished),
                    begun=begun,
                    alarms=sum(bool(result.alarms) for result in finished),
                )
            )
    return tuple(found)


def _left_behind(view: EncoderView) -> int:
    own = {run.spec.run_id for run in view.planned}
    runs = view.study.runs_dir
    known = {path.parent for path in runs.glob(f"*/{SPEC_FILE}")} | dict(begun_specs(runs)).keys()
    return sum(run.name not in own for run in known)
