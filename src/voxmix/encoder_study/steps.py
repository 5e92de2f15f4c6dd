"""The steps of an encoder study, in order: what each needs, what it does, and how far it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from voxmix.study.step import Progress, Step, Steps, counted, loaded, not_done, prepared_from, written

if TYPE_CHECKING:
    from voxmix.encoder_study.view import EncoderView


def _prepared(view: EncoderView) -> Progress:
    if not view.is_made("prepare"):
        return Progress(done=False, detail="not begun")
    items = view.source.items
    what = "volumes" if view.config.backbone.axes == 3 else "images"
    detail = f"{len(items):,} {what}"
    if view.config.keeps_texts:
        texts, labels = sum(item.has_text for item in items), sum(bool(item.labels) for item in items)
        detail += f", {texts:,} with a report, {labels:,} with labels"
    return Progress(done=True, detail=detail)


def _trained(view: EncoderView) -> Progress:
    return counted(len(view.pending), len(view.planned), "runs")


def _runs_missing(view: EncoderView) -> str:
    return not_done(len(view.pending), len(view.planned), "runs")


def _probed(view: EncoderView) -> Progress:
    if not view.config.tasks:
        return Progress(done=True, detail="no tasks")
    aside, probes = view.tasks.set_aside, view.probes
    if len(aside) == len(view.config.tasks):
        return Progress(done=False, detail=f"no task can be judged: {aside[0][1]}")
    found = counted(_probes_left(view), len(probes), "probes")
    if not found.done and (failed := loaded("voxmix.encoder_study.probing:failed_count")(view)):
        found = replace(found, detail=f"{found.detail}, {failed} failed (voxmix probe tries them again)")
    if not aside:
        return found
    return replace(
        found, detail=f"{found.detail}, {len(aside)} of {len(view.config.tasks)} tasks cannot be judged"
    )


def _probes_left(view: EncoderView) -> int:
    return sum(not probe.done for probe in view.probes)


def _probes_missing(view: EncoderView) -> str:
    return not_done(_probes_left(view), len(view.probes), "probes")


def _laws_inputs(view: EncoderView) -> str:
    if not view.config.tasks:
        return "no tasks"
    digest: str = loaded("voxmix.encoder_study.laws:laws_inputs")(view)
    return digest


def _scaled(view: EncoderView) -> Progress:
    if not view.config.tasks:
        return Progress(done=True, detail="no tasks")
    done = view.is_made("scale") and view.study.scores_path.exists()
    return Progress(done=done, detail="fitted" if done else "not begun, or scores came since")


def _reported(view: EncoderView) -> Progress:
    if not view.config.tasks:
        return Progress(done=True, detail="no tasks")
    return written(view.study.report_path, (view.study.scores_path, view.study.table_path))


_OWN = (
    Step(
        name="prepare",
        verb="prepare",
        sentence="turns images into arrays and reports into tokens, without what names a person; sets aside and counts what it "
        "cannot read",
        work="voxmix.encoder_study.preparing:prepare_study",
        units="voxmix.encoder_study.image_units:image_units",
        inputs=prepared_from,
        progress=_prepared,
        missing="the study's images are not prepared with its present settings and table",
    ),
    Step(
        name="run",
        verb="run",
        needs=("prepare",),
        sentence="trains every objective from every start on every nested subset, at equal compute",
        work="voxmix.encoder_study.training:train_encoders",
        runs="voxmix.encoder_study.training:encoder_runs",
        progress=_trained,
        missing=_runs_missing,
    ),
    Step(
        name="probe",
        verb="probe",
        needs=("prepare",),
        sentence="judges every encoder, frozen, and what it began from, on every task, with scores case by case",
        work="voxmix.encoder_study.probing:probe_encoders",
        units="voxmix.encoder_study.probe_units:probe_units",
        progress=_probed,
        missing=_probes_missing,
    ),
    Step(
        name="scale",
        verb="scale",
        needs=("prepare",),
        sentence="fits how errors fall with samples: slopes, data equivalents and crossings, with intervals",
        work="voxmix.encoder_study.laws:fit_study_laws",
        inputs=_laws_inputs,
        progress=_scaled,
        missing="the laws of scores are not fitted to the study's present scores",
    ),
    Step(
        name="report",
        verb="report",
        needs=("prepare",),
        sentence="writes one page: the answer, curves of error against samples, and a table behind each",
        work="voxmix.encoder_study.report_contents:make_encoder_report",
        progress=_reported,
        missing="the report is not written",
    ),
)

STEPS = Steps("encoder_steps", {row.name: row for row in _OWN})
"""Packages add rows by entry points of the group ``voxmix.encoder_steps``."""
