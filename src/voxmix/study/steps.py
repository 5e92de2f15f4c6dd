"""The steps of a study, in order: what each needs, what it is made from, what it does, and how far it is.

A step is one row of ``STEPS``. ``voxmix status``, ``voxmix study run``, :func:`voxmix.run_study`, the messages that name
the next command and the tables of steps in README.md and docs derive from the rows. A row of elsewhere comes right after
the last step that it needs; of none, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxmix._io import as_argument, digest
from voxmix._table import Table
from voxmix.design import KINDS
from voxmix.errors import StepPendingError
from voxmix.run_settings import identity
from voxmix.runs.files import RESULT_FILE

if TYPE_CHECKING:
    from voxmix.study.listener import Listener
    from voxmix.study.view import StudyView


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Whether a step is done from its inputs as they are now, and how far it is, in words."""

    done: bool
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a study.

    Attributes:
        name: what it is called: its verb, and its call in :mod:`voxmix.study`.
        sentence: what it does, for people.
        work: the function that does what is not done yet, given a view of the study, a listener and the step's own
            options, and returns what came of it; or ``module:function`` in :mod:`voxmix.study`, loaded when it is run.
        progress: how far it is, asked where the steps that it needs are done.
        missing: what is said where another step needs this one.
        needs: names of the steps without which it cannot begin.
        inputs: digest of what its files are made from; None where it keeps none, or the files say it themselves.
        todo: how far it is while earlier steps are not done, in words.
        on_request: whether it is done only when asked for, and not by ``voxmix study run``.
        options: what its command needs beside the study.
    """

    name: str
    sentence: str
    work: str | Callable[..., Any]
    progress: Callable[[StudyView], Progress]
    missing: str | Callable[[StudyView], str]
    needs: tuple[str, ...] = ()
    inputs: Callable[[StudyView], str] | None = None
    todo: str = "not begun"
    on_request: bool = False
    options: str = ""

    def call(self, study: Path | str) -> str:
        """Return the command line that does the step: its verb, or for a row of elsewhere ``voxmix study run``."""
        verb = self.name if self in _OWN else "study run"
        place = as_argument(study) if isinstance(study, Path) else study
        return " ".join(filter(None, (f"voxmix {verb}", place, self.options)))

    def run(self, view: StudyView, hear: Listener, **options: Any) -> Any:
        """Do what is not done of the step and return what came of it.

        Raises:
            StepPendingError: a step that it needs is not done; names the command.
        """
        for name in self.needs:
            needed = step(name)
            if not needed.progress(view).done:
                raise needed.pending(view)
        work = self.work
        if isinstance(work, str):
            module, _, function = work.partition(":")
            work = getattr(import_module(f"voxmix.study.{module}"), function)
        return work(view, hear, **options)

    def pending(self, view: StudyView, why: str = "") -> StepPendingError:
        """Return the error that says what is not done (``why``, or as the step says), and the command that does it."""
        missing = self.missing if isinstance(self.missing, str) else self.missing(view)
        return StepPendingError(f"{why or missing}; first: {self.call(view.root)}")


def step(name: str) -> Step:
    """Return a step by name.

    Raises:
        InputError: no step of that name; names the nearest one.
    """
    return STEPS[name]


def steps_in_order() -> tuple[Step, ...]:
    """Return every step, in the order in which they are done."""
    rows = STEPS.rows()
    ordered = [rows.pop(row.name) for row in _OWN]
    for row in rows.values():
        places = [place for place, before in enumerate(ordered, 1) if before.name in row.needs]
        ordered.insert(max(places) if places else len(ordered), row)
    return tuple(ordered)


def steps_of_a_run() -> tuple[Step, ...]:
    """Return the steps that ``voxmix study run`` does, in order."""
    return tuple(row for row in steps_in_order() if not row.on_request)


def steps_table(steps: Sequence[Step], *, study: str = "mystudy") -> list[str]:
    """Return a Markdown table of steps: the command and what it does."""
    return [
        "| step | what it does |",
        "|---|---|",
        *(f"| `{row.call(study)}` | {row.sentence} |" for row in steps),
    ]


def _preparation_inputs(view: StudyView) -> str:
    return view.study.preparation_inputs


def _fit_inputs(view: StudyView) -> str:
    from voxmix.law import law_form

    runs = [view.study.run_dir(spec).name for spec in view.proxies]
    inputs: dict[str, Any] = {"runs": runs, "fit": identity(view.config.fit)}
    if more := [name for name in view.laws_wanted if not law_form(name).in_every_study]:
        inputs["laws"] = more
    odd = view.outliers
    return digest(inputs | {"outliers": odd} if odd else inputs)


def _allocation_inputs(view: StudyView) -> str:
    return digest({"fit": view.inputs("fit"), "allocation": identity(view.config.allocation)})


def _prepared(view: StudyView) -> Progress:
    if not view.is_made("prepare"):
        return Progress(done=False, detail="not begun")
    count = sum(view.cache.counts().values())
    return Progress(done=True, detail=f"{count} volumes, {len(view.cache.set_aside)} set aside")


def _made(name: str, todo: str) -> Callable[[StudyView], Progress]:
    """Return the progress of a step whose files are up to date or are not."""

    def progress(view: StudyView) -> Progress:
        done = view.is_made(name)
        return Progress(done=done, detail="up to date" if done else todo)

    return progress


def _runs(view: StudyView, specs: Sequence[Any], what: str) -> Progress:
    unique = tuple({spec.run_id: spec for spec in specs}.values())
    left = len(view.study.pending(unique))
    return Progress(done=not left, detail=f"{len(unique) - left} of {len(unique)} {what}")


def _proxies(view: StudyView) -> Progress:
    """Return how many proxy runs are done, and of which kinds the others are."""
    left = {kind: len(view.study.pending(specs)) for kind, specs in view.proxies_by_kind.items()}
    found = _runs(view, view.proxies, "proxy runs")
    if found.done:
        return found
    words = ", ".join(f"{count} {kind}" for kind, count in left.items() if count)
    return Progress(done=False, detail=f"{found.detail}; left: {words}")


def _mixtures(view: StudyView) -> Progress:
    """Return how many mixture runs are done, and which strategies wait for their mixture."""
    found = _runs(view, view.checks, "mixture runs")
    waiting = "".join(f"; {view.pending_words(name)}" for name in view.strategies_pending)
    return Progress(done=found.done, detail=found.detail + waiting)


def _runs_missing(view: StudyView) -> str:
    why = f" ({'; '.join(view.run_remarks)})" if view.run_remarks else ""
    return f"{len(view.study.pending(view.proxies))} of {len(view.proxies)} proxy runs are not done{why}"


def _refined(view: StudyView) -> Progress:
    found = view.refinement
    if found is None or not found.rounds:
        return Progress(done=False, detail="no round is finished")
    return Progress(done=bool(found.stopped), detail=found.sentence)


def _finetuned(view: StudyView) -> Progress:
    finished, unfinished = view.finetuning_counts
    return Progress(
        done=finished > 0 and not unfinished, detail=f"{finished} runs finished, {unfinished} not"
    )


def _reported(view: StudyView) -> Progress:
    study = view.study
    shown = (
        *study.runs_dir.glob(f"*/{RESULT_FILE}"),
        *study.downstream_dir.glob(f"*/*/*/{RESULT_FILE}"),
        *study.allocations_dir.glob("*.json"),
    )
    done = study.report_path.exists() and all(
        path.stat().st_mtime <= study.report_path.stat().st_mtime for path in shown
    )
    return Progress(done=done, detail=study.report_path.name if done else "to be written")


_OWN = (
    Step(
        name="prepare",
        sentence="turns files into arrays: RAS axes, cubic voxels, intensities in [0, 1]; sets aside and counts what it "
        "cannot read",
        work="preparing:prepare_volumes",
        inputs=_preparation_inputs,
        progress=_prepared,
        missing="the study's volumes are not prepared with its present settings",
    ),
    Step(
        name="run",
        needs=("prepare",),
        sentence=f"trains proxies at every budget of the design: {', '.join(kind.words for kind in KINDS)}; measures each "
        "on every domain",
        work="training:train_proxies",
        progress=_proxies,
        missing=_runs_missing,
    ),
    Step(
        name="fit",
        needs=("run",),
        sentence="fits the laws: how each domain scales, which domain helps which",
        work="laws:fit_laws",
        inputs=_fit_inputs,
        progress=_made("fit", "to be fitted"),
        todo="to be fitted",
        missing="no law is fitted with the study's present settings",
    ),
    Step(
        name="allocate",
        needs=("fit",),
        sentence="finds the best mixture for the budget under each law, with its certificate",
        work="mixtures:allocate_strategies",
        inputs=_allocation_inputs,
        progress=_made("allocate", "to be found"),
        todo="to be found",
        missing="no mixture is allocated with the study's present settings",
    ),
    Step(
        name="refine",
        needs=("run",),
        sentence="trains the law's choice and its neighbours at a proxy budget and fits again, until prediction and "
        "measurement agree",
        work="refining:refine_study",
        progress=_refined,
        missing="no round of refine is finished",
        on_request=True,
    ),
    Step(
        name="pretrain",
        needs=("allocate",),
        sentence="trains the strategies' mixtures at that budget and compares measured with predicted losses",
        work="training:train_mixtures",
        progress=_mixtures,
        todo="after allocate",
        missing="the mixture runs are not done",
    ),
    Step(
        name="finetune",
        needs=("prepare",),
        sentence="finetunes the encoders of the mixtures, and a network from scratch, on a clinical task under one "
        "protocol",
        work="clinical_tasks:finetune_task",
        progress=_finetuned,
        missing="no finetuning run is finished",
        on_request=True,
        options="--task TASK --init INIT",
    ),
    Step(
        name="report",
        sentence="writes one self-contained `report.html`",
        work="report_contents:make_report",
        progress=_reported,
        todo="to be written",
        missing="no report is written",
    ),
)

STEPS: Table[Step] = Table("steps", {row.name: row for row in _OWN})
