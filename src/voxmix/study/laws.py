"""The laws of a study: fitted to its proxy runs, kept, and chosen by name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from voxmix._io import naming_full_disk
from voxmix.errors import InputError, VoxmixWarning
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.law import FittedLaw
    from voxmix.measurement import MeasurementTable
    from voxmix.scores import Forecast


def fit_laws(study: Study | StudyView, hear: Listener = QUIET) -> dict[str, FittedLaw]:
    """Fit every law of the study to its proxy runs and keep them; skip fits that are up to date.

    Two stages read pure runs alone; joint fits read all, and are made of every law where there are no pure runs.
    Where the laws disagree tenfold on a transfer, the notes of those with transfer say so.

    Raises:
        StepPendingError: proxy runs are pending; says how many, and the command.

    Warns:
        VoxmixWarning: some losses are explained by no noise; they are named.
    """
    from voxmix.law.doubt import disagreement_sentence

    view = StudyView.of(study)
    _ = view.table  # whose runs must be done
    kept = view.kept("fit", lambda: view.laws, again="they are fitted again now")
    if kept is not None:
        return kept
    laws = fitted(view, view.laws_wanted, hear)
    differing = disagreement_sentence(laws)
    for name, law in laws.items():
        told = replace(law, notes=(*law.notes, differing)) if differing and law.form.transfers else law
        with naming_full_disk(view.study.law_path(name)):
            told.save(view.study.law_path(name))
        laws[name] = told
    view.mark_made("fit")
    return laws


def fitted(view: StudyView, names: Sequence[str], hear: Listener = QUIET) -> dict[str, FittedLaw]:
    """Fit the named laws to the proxy runs of a study; nothing is kept."""
    from voxmix.law import fit, law_form

    table, settings = view.table, view.config.fit
    alone = view.config.design.trains_alone(view.config.allocation.min_weight)
    trained, only = _of_sources(table)
    laws: dict[str, FittedLaw] = {}
    with hear.bar("fitting", unit="laws") as progress:
        for done, name in enumerate(names):
            progress(done, len(names))
            with warnings.catch_warnings():
                if laws:  # the first law has named the outliers of the table
                    warnings.simplefilter("ignore", VoxmixWarning)
                form = law_form(name)
                together = form.needs_mixtures or not form.in_two_stages or not alone
                law = fit(
                    table if together and form.transfers else trained,
                    law=name,
                    method=settings.diversity_method if together else "two-stage",
                    loss=settings.diversity_loss if together else "mse",
                    repetition=settings.repetition,
                    max_exponent=settings.max_exponent,
                    max_transfer=settings.max_transfer,
                    bootstrap=settings.bootstrap,
                    keep_outliers=settings.keep_outliers,
                    rho=settings.rho,
                    foreign_weight=settings.foreign_weight,
                )
            if only and not (together and form.transfers):
                law = replace(law, notes=(*law.notes, only))
            laws[name] = law
        progress(len(names), len(names))
    return laws


def _of_sources(table: MeasurementTable) -> tuple[MeasurementTable, str]:
    """Return the losses on targets that are sources, and what laws that need these alone say of the others."""
    only = [name for name in table.targets if name not in table.domains]
    if not only:
        return table, ""
    known = table.select(np.array([name in table.domains for name in table.target], dtype=bool))
    return known, (
        f"this law says nothing of {' and '.join(only)}, which no run is trained on: only joint fits of laws with transfer "
        "do"
    )


def law_of(study: Study | StudyView, name: str | None = None) -> tuple[str, FittedLaw]:
    """Return the law of a study called ``name``, else the law of its report, after its name.

    Raises:
        InputError: the study has no law of that name.
        StepPendingError: the study has no law yet; names the command.
    """
    from voxmix.study.report_contents import answer_content

    view = StudyView.of(study)
    laws = view.laws
    chosen = name or answer_content(view).answer_law or next(reversed(laws))
    if chosen not in laws:
        raise InputError(f"{view.root} has no law {chosen!r}; its laws are {', '.join(laws)}")
    return chosen, laws[chosen]


def judge_laws(study: Study | StudyView) -> tuple[Forecast, ...]:
    """Return how well each law foretold the strategies measured at the allocated budget, and the guess to beat, last.

    Raises:
        StepPendingError: no strategy is trained yet; names the command.
    """
    from voxmix.report.forecast_tables import judged_laws
    from voxmix.study.report_contents import answer_content

    view = StudyView.of(study)
    content = answer_content(view)
    if not content.checks or content.budget is None:
        raise view.steps["pretrain"].pending(view, f"no strategy of {view.root} is trained and measured yet")
    return judged_laws(content, budget=content.budget)
