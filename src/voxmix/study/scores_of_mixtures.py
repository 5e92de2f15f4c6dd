"""The scores of a study's finetuned encoders as a table over mixtures: what fit takes as a table of scores."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from voxmix.errors import InputError
from voxmix.study.folder import Study
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.measurement import MeasurementTable
    from voxmix.scores import DownstreamResult

_ONE_STANDARD_ERROR = math.erf(math.sqrt(0.5))
"""Level of an interval that reaches one standard error to either side: 68.3%."""


def scores_over_mixtures(study: Study | StudyView) -> tuple[MeasurementTable, tuple[str, ...]]:
    """Return a row for each finetuned task and each pretraining run of the study that it began from, and what was left out.

    A score is the task's main metric (Dice, AUC), the mean over finetuning seeds; its standard error is over test cases, those
    of a person together. The mixture, budget and seed are those of the pretraining run.

    Raises:
        StepPendingError: no finetuning run is finished; names the command.
        InputError: none of them began from a run of this study.
    """
    import numpy as np

    from voxmix.measurement import MeasurementTable
    from voxmix.scores import ScoreTable
    from voxmix.scores.estimate import estimate
    from voxmix.scores.metric import metrics_of

    view = StudyView.of(study)
    table = ScoreTable.read(view.study.downstream_dir)
    if not table.results:
        raise view.steps["finetune"].pending(view, f"no finetuning run is finished in {view.root}")
    groups: defaultdict[tuple[str, str], list[DownstreamResult]] = defaultdict(list)
    others: dict[str, int] = defaultdict(int)
    for run in table.results:
        if run.control is not None:
            others["are controls"] += 1
        elif run.checkpoint is None or view.result(view.study.runs_dir / run.checkpoint) is None:
            others["began from no run of this study (scratch, or weights from elsewhere)"] += 1
        else:
            groups[run.task, run.checkpoint].append(run)
    if not groups:
        raise InputError(
            f"no finetuning run of {view.root} began from one of its mixtures, so there is no score of a mixture; finetune from "
            "strategies: voxmix finetune STUDY --task NAME --init uniform"
        )
    records = []
    for (task, checkpoint), runs in groups.items():
        found = estimate(runs, metrics_of(runs)[0], level=_ONE_STANDARD_ERROR, resamples=1000, seed=0)
        if not math.isfinite(found.value):
            others["have no score"] += len(runs)
            continue
        trained = view.result(view.study.runs_dir / checkpoint)
        assert trained is not None
        shares = trained.spec.mixture.as_dict()
        error = (found.high - found.low) / 2
        records.append(
            {
                "run": checkpoint,
                "seed": trained.spec.seed,
                "budget": trained.spec.budget,
                "target": task,
                "score": found.value,
                "score_se": error if np.isfinite(error) else None,
                **{f"weight:{name}": shares.get(name, 0.0) for name in view.domains},
            }
        )
    if not records:
        raise InputError(f"no finetuning run of {view.root} has a score; finetune again")
    notes = [f"{count} finetuning runs {why}, and are left out" for why, count in others.items()]
    count = len({str(sorted((k, v) for k, v in row.items() if k.startswith("weight:"))) for row in records})
    if count < 2 * len(view.domains):
        notes.append(
            f"{count} mixtures were finetuned, of {len(view.domains)} domains: a law of scores needs about twice as many "
            "mixtures as domains, and two budgets; finetune proxy runs too"
        )
    return MeasurementTable.from_rows(records, response="score", direction="max"), tuple(notes)
