"""The laws of scores of a study: how errors fall with samples, on each task and for each objective."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from voxmix._io import digest, naming_full_disk, write_text
from voxmix.encoder_study.probing import score_table
from voxmix.encoder_study.scores_of import COLUMNS, score_rows, scored_of
from voxmix.encoder_study.view import EncoderView
from voxmix.study.listener import QUIET, Listener

if TYPE_CHECKING:
    from voxmix.scaling import ScoreLaws

LEVEL = 0.9
"""Of the intervals."""
_VERSION = 4
"""Raised whenever the same scores lead to other laws than before."""


def fit_study_laws(
    view: EncoderView, hear: Listener = QUIET, *, level: float | None = None
) -> ScoreLaws | None:
    """Fit the laws of scores to every probe that is done, and write ``scores.csv`` and ``scores.json``; None without tasks.

    Laws that are there for these scores are read.

    Raises:
        StepPendingError: no probe is done.
        InputError: a level that cannot be used.
    """
    from voxmix.scaling import ScoreLaws, fit_score_laws

    study = view.study
    if not view.config.tasks:
        return None
    if level in (None, LEVEL) and view.is_made("scale") and study.scores_path.exists():
        return ScoreLaws.load(study.scores_path)
    table = score_table(view)
    with hear.waiting("fitting laws of scores"):
        laws = fit_score_laws(scored_of(table.results), level=LEVEL if level is None else level)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(score_rows(table.results))
    with naming_full_disk(view.root):
        write_text(study.scores_table_path, text.getvalue())
        laws.save(study.scores_path)
    if level in (None, LEVEL):
        view.mark_made("scale")
    if table.unfinished:
        hear.tell(f"{len(table.unfinished)} probes are not done and in no law, e.g. {table.unfinished[0]}")
    for line in laws.notes:
        hear.tell(line)
    return laws


def laws_inputs(view: EncoderView) -> str:
    """Return the digest of what the laws are fitted to: every probe that is done, and what it was made from."""
    from voxmix.probes.done import made_from

    rows = [
        [probe.folder.name, made_from(probe.data, probe.candidate.judged, view.study.probe_settings)]
        for probe in view.probes
        if probe.done
    ]
    return digest([_VERSION, LEVEL, sorted(rows, key=str)])
