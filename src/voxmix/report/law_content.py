"""The report of laws alone, such as those fitted to a table: their content, without a study."""

from pathlib import Path

import numpy as np

from voxmix._io import as_argument
from voxmix.allocation import allocate
from voxmix.law import FittedLaw
from voxmix.measurement import MeasurementTable
from voxmix.mixture import Mixture
from voxmix.report.content import ReportContent
from voxmix.report.encoder_content import EncoderReportContent
from voxmix.scaling import ScoreLaws

_LEAST = 0.05


def law_content(law: FittedLaw, *, file: str, made: str = "", budget: float | None = None) -> ReportContent:
    """Return what a report shows of a law alone.

    The mixture is that of the largest fitted budget, unless another is given, with at least 5% of every domain, or half of
    an equal share where there are many.

    Args:
        law: a fitted law.
        file: name of the law's file, for the commands that the report names.
        made: when, as text.
        budget: to allocate.

    Raises:
        InputError: a budget that is no number above 0.
    """
    wanted = law.budget_range[1] if budget is None else float(budget)
    least = min(_LEAST, round(0.5 / len(law.domains), 4))
    found = allocate(law, budget=wanted, min_weight=least)
    notes = [f"This report is of the law in {file} alone; no study is known."]
    if law.response.rises:
        notes.append(f"It is a law of {law.response.label}: every loss here is {law.response.as_loss}.")
    return ReportContent(
        study=file,
        made=made,
        law_file=as_argument(Path(file)),
        budget=max(1, round(wanted)),
        min_weight=least,
        measurements=_cells(law),
        laws={law.law: law},
        strategies={law.form.strategy: found, "uniform": Mixture.uniform(law.domains)},
        notes=tuple(notes),
    )


def score_law_content(laws: ScoreLaws, *, file: str, made: str = "") -> EncoderReportContent:
    """Return what a report shows of laws of scores alone.

    Args:
        file: name of the laws' file, for the commands that the report names.
        made: when, as text.
    """
    return EncoderReportContent(
        study=file,
        made=made,
        laws=laws,
        laws_file=as_argument(Path(file)),
        notes=(f"This report is of the laws of scores in {file} alone; no study is known.",),
    )


def _cells(law: FittedLaw) -> MeasurementTable | None:
    """Return the mean losses that the law was fitted to, a run for each mixture and budget; None where it knows none."""
    quality = law.quality
    cell, target = np.nonzero(~np.isnan(quality.observed))
    if not len(cell):
        return None
    return MeasurementTable(
        domains=law.domains,
        run=tuple(f"cell-{k}" for k in cell.tolist()),
        target=tuple(law.targets[j] for j in target.tolist()),
        weights=quality.weights[cell],
        budget=quality.budget[cell],
        seed=np.zeros(len(cell), dtype=np.int64),
        loss=quality.observed[cell, target],
        loss_se=np.full(len(cell), np.nan),
        volumes=np.tile([law.volumes.get(name, np.nan) for name in law.domains], (len(cell), 1)),
        response=law.response,
    )
