"""What a study's finetuning runs say: scores compared, and whether the proxy losses foretold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from voxmix.study.folder import Study
from voxmix.study.steps import step
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.runs import RunResult
    from voxmix.scores import Comparison, ProxyAgreement, ScoreTable

_MEASURES = {"mean over targets": False, "on the task's own domain": True}


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
        raise step("finetune").pending(view, f"no finetuning run is finished in {view.root}{waiting}{broken}")
    comparison = compare(table, level=level)
    agreements = (
        proxy_agreement(comparison, proxy_losses(view, table, own_domain=own), measure=measure)
        for measure, own in _MEASURES.items()
    )
    return comparison, tuple(item for item in agreements if item is not None)


def proxy_losses(
    study: Study | StudyView, table: ScoreTable, *, own_domain: bool = False
) -> dict[tuple[str, str], list[float]]:
    """Return, by (task, initialization), the loss of every pretraining run of the study whose encoder was taken.

    The loss is the mean over all targets, or that on the task's own domain, in the order of the runs' seeds. Encoders
    from elsewhere, and runs that miss a loss, are left out.
    """
    view = StudyView.of(study)
    found: dict[tuple[str, str], list[float]] = {}
    for task in table.tasks:
        results = [run for run in table.select(task) if run.control is None]
        domains = {case.domain for run in results for case in run.cases}
        for init in dict.fromkeys(run.init for run in results):
            names = dict.fromkeys(r.checkpoint for r in results if r.init == init and r.checkpoint)
            losses: dict[int, float] = {}
            for name in names:
                run = view.result(view.study.runs_dir / name)
                loss = None if run is None else _loss(run, domains if own_domain else None)
                losses |= {} if run is None or loss is None else {run.spec.seed: loss}
            if losses:
                found[task, init] = [losses[seed] for seed in sorted(losses)]
    return found


def _loss(run: RunResult, domains: set[str] | None) -> float | None:
    wanted = set(run.losses) if domains is None else domains
    values = [run.losses.get(name, {}).get("loss") for name in sorted(wanted)]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
