"""The steps of a mixture study, in order: what each needs, what it is made from, what it does, and how far it is.

``voxmix status``, ``voxmix study run``, :func:`voxmix.run_study`, the messages that name the next command and the tables of
steps in README.md and docs derive from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from voxmix._io import digest
from voxmix.design import KINDS
from voxmix.run_settings import identity
from voxmix.runs.files import RESULT_FILE
from voxmix.study.step import Progress, Step, Steps, counted, not_done, prepared_from, written

if TYPE_CHECKING:
    from voxmix.study.view import StudyView


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
    return counted(len(view.study.pending(unique)), len(unique), what)


def _proxies(view: StudyView) -> Progress:
    """Return how many proxy runs are done, and of which kinds the others are."""
    left = {kind: len(view.study.pending(specs)) for kind, specs in view.proxies_by_kind.items()}
    found = _runs(view, view.proxies, "proxy runs")
    if found.done:
        return found
    words = ", ".join(f"{count} {kind}" for kind, count in left.items() if count)
    return replace(found, detail=f"{found.detail}; left: {words}")


def _mixtures(view: StudyView) -> Progress:
    """Return how many mixture runs are done, and which strategies wait for their mixture."""
    found = _runs(view, view.checks, "mixture runs")
    waiting = "".join(f"; {view.pending_words(name)}" for name in view.strategies_pending)
    return replace(found, detail=found.detail + waiting)


def _runs_missing(view: StudyView) -> str:
    why = f" ({'; '.join(view.run_remarks)})" if view.run_remarks else ""
    return not_done(len(view.study.pending(view.proxies)), len(view.proxies), "proxy runs") + why


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
    return written(study.report_path, shown)


_OWN = (
    Step(
        name="prepare",
        verb="prepare",
        sentence="turns files into arrays: RAS axes, cubic voxels, intensities in [0, 1]; sets aside and counts what it "
        "cannot read",
        work="voxmix.study.preparing:prepare_volumes",
        units="voxmix.study.preparing:preparation_units",
        inputs=prepared_from,
        progress=_prepared,
        missing="the study's volumes are not prepared with its present settings",
    ),
    Step(
        name="run",
        verb="run",
        needs=("prepare",),
        sentence=f"trains proxies at every budget of the design: {', '.join(kind.words for kind in KINDS)}; measures each "
        "on every domain",
        work="voxmix.study.training:train_proxies",
        runs="voxmix.study.training:proxy_runs",
        progress=_proxies,
        missing=_runs_missing,
    ),
    Step(
        name="fit",
        verb="fit",
        needs=("run",),
        sentence="fits the laws: how each domain scales, which domain helps which",
        work="voxmix.study.laws:fit_laws",
        inputs=_fit_inputs,
        progress=_made("fit", "to be fitted"),
        todo="to be fitted",
        missing="no law is fitted with the study's present settings",
    ),
    Step(
        name="allocate",
        verb="allocate",
        needs=("fit",),
        sentence="finds the best mixture for the budget under each law, with its certificate",
        work="voxmix.study.mixtures:allocate_strategies",
        inputs=_allocation_inputs,
        progress=_made("allocate", "to be found"),
        todo="to be found",
        missing="no mixture is allocated with the study's present settings",
    ),
    Step(
        name="refine",
        verb="refine",
        needs=("run",),
        sentence="trains the law's choice and its neighbours at a proxy budget and fits again, until prediction and "
        "measurement agree",
        work="voxmix.study.refining:refine_study",
        progress=_refined,
        missing="no round of refine is finished",
        on_request=True,
    ),
    Step(
        name="pretrain",
        verb="pretrain",
        needs=("allocate",),
        sentence="trains the strategies' mixtures at that budget and compares measured with predicted losses",
        work="voxmix.study.training:train_mixtures",
        runs="voxmix.study.training:mixture_runs",
        progress=_mixtures,
        todo="after allocate",
        missing="the mixture runs are not done",
    ),
    Step(
        name="finetune",
        verb="finetune",
        needs=("prepare",),
        sentence="finetunes the encoders of the mixtures, and a network from scratch, on a clinical task under one "
        "protocol",
        work="voxmix.study.clinical_tasks:finetune_task",
        runs="voxmix.study.finetuning:asked_runs",
        progress=_finetuned,
        missing="no finetuning run is finished",
        on_request=True,
        options="--task TASK --init INIT",
    ),
    Step(
        name="report",
        verb="report",
        sentence="writes one self-contained `report.html`",
        work="voxmix.study.report_contents:make_report",
        progress=_reported,
        todo="to be written",
        missing="no report is written",
    ),
)

STEPS = Steps("steps", {row.name: row for row in _OWN})
"""Packages add rows by entry points of the group ``voxmix.steps``."""
