"""What a study's finetuning runs say: scores compared, and whether the proxy losses foretold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from voxmix.errors import StepPendingError
from voxmix.study.folder import Study
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.runs import RunResult
    from voxmix.scores import Comparison, ProxyAgreement, ScoreTable

_UNIFORM = "uniform"
_OWN_DOMAIN = "on the task's own domain"


def compare_scores(
    study: Study | StudyView, *, tasks: Sequence[str] | None = None, level: float = 0.95
) -> tuple[Comparison, tuple[ProxyAgreement, ...]]:
    """Return the comparison of the study's finished finetuning runs, of ``tasks`` alone if given, and how well the
    proxy losses of their encoders order the scores.

    Raises:
        StepPendingError: no finetuning run is finished; names the command.
        InputError: an unknown task, or runs of one task under different protocols.
    """
    from voxmix.scores import ScoreTable, compare, proxy_agreement

    view = StudyView.of(study)
    table = ScoreTable.read(view.study.downstream_dir, tasks=tasks)
    if not table.results:
        waiting = f"; {len(table.unfinished)} are unfinished" if table.unfinished else ""
        broken = (
            f"; {len(table.set_aside)} cannot be read: {table.set_aside[0][1]}" if table.set_aside else ""
        )
        raise view.steps["finetune"].pending(
            view, f"no finetuning run is finished in {view.root}{waiting}{broken}"
        )
    comparison = compare(table, level=level)
    agreements = (
        proxy_agreement(comparison, proxy_losses(view, table, own_domain=own), measure=measure)
        for measure, own in ((_objective_words(view), False), (_OWN_DOMAIN, True))
    )
    return comparison, tuple(item for item in agreements if item is not None)


def finetuned_tasks(study: Study | StudyView) -> tuple[str, ...]:
    """Return the names of the tasks that a study has finished finetuning runs of."""
    from voxmix.scores import ScoreTable

    return ScoreTable.read(StudyView.of(study).study.downstream_dir).tasks


def proxy_losses(
    study: Study | StudyView, table: ScoreTable, *, own_domain: bool = False
) -> dict[tuple[str, str], list[float]]:
    """Return, by (task, initialization), the loss of every pretraining run of the study whose encoder was taken.

    The loss is the study's objective over all targets, or that on the task's own domain, in the order of the runs' seeds.
    Encoders from elsewhere, and runs that miss a loss, are left out.
    """
    view = StudyView.of(study)
    objective = _objective(view)
    found: dict[tuple[str, str], list[float]] = {}
    for task in table.tasks:
        results = [run for run in table.select(task) if run.control is None]
        domains = {case.domain for run in results for case in run.cases}
        for init in dict.fromkeys(run.init for run in results):
            names = dict.fromkeys(r.checkpoint for r in results if r.init == init and r.checkpoint)
            losses: dict[int, float] = {}
            for name in names:
                run = view.result(view.study.runs_dir / name)
                loss = None if run is None else _mean(run, domains) if own_domain else objective(run)
                losses |= {} if run is None or loss is None else {run.spec.seed: loss}
            if losses:
                found[task, init] = [losses[seed] for seed in sorted(losses)]
    return found


def _mean(run: RunResult, domains: Iterable[str]) -> float | None:
    losses = _losses(run, tuple(sorted(domains)))
    return None if losses is None or not losses else sum(losses) / len(losses)


def _losses(run: RunResult, domains: Sequence[str]) -> list[float] | None:
    """Return the losses of a run on these domains; None where one is missing."""
    values = [run.losses.get(name, {}).get("loss") for name in domains]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def _objective(view: StudyView) -> Callable[[RunResult], float | None]:
    """Return what gives the study's objective of a run; relative losses are over the measured ones of uniform, or of all
    strategies where it is none of them.
    """
    import numpy as np

    from voxmix.allocation.objective import importance_of, loss_weights, objective_value

    asked = view.config.allocation
    reference = {} if asked.objective == "mean" else _reference(view)

    def of(run: RunResult) -> float | None:
        named = {name: worth for name, worth in asked.target_weights.items() if name in run.losses}
        heard = [name for name in sorted(run.losses) if named.get(name, 1.0) > 0]
        losses = _losses(run, heard)
        if not losses or (asked.objective != "mean" and any(name not in reference for name in heard)):
            return None
        over = np.array([reference.get(name, 1.0) for name in heard])
        importance = importance_of(heard, {name: worth for name, worth in named.items() if name in heard})
        weights = loss_weights(asked.objective, importance, over)
        return float(objective_value(asked.objective, weights, np.array(losses)))

    return of


def _reference(view: StudyView) -> dict[str, float]:
    """Return the mean loss per target that relative losses are over; {} where no strategy is measured yet."""
    try:
        checks = view.checks_by_strategy
    except StepPendingError:
        return {}
    runs = view.results(checks.get(_UNIFORM, ())) or view.results(view.checks)
    known: dict[str, list[float]] = {}
    for run in runs:
        for name, item in run.losses.items():
            if item["loss"] is not None:
                known.setdefault(name, []).append(item["loss"])
    return {name: sum(losses) / len(losses) for name, losses in known.items()}


def _objective_words(view: StudyView) -> str:
    from voxmix.allocation.objective import OBJECTIVE_WORDS

    asked = view.config.allocation
    weighted = "weighted " if asked.target_weights and asked.objective != "minimax" else ""
    return (
        f"{weighted}mean over targets"
        if asked.objective == "mean"
        else f"{weighted}{OBJECTIVE_WORDS[asked.objective]}"
    )
