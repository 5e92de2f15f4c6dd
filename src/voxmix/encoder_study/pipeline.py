"""An encoder study as a sequence of steps: all of them, or one call for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxmix.encoder_study.folder import EncoderStudy
from voxmix.encoder_study.view import EncoderView
from voxmix.study.listener import QUIET, Listener, StepProgress, Tell
from voxmix.study.pipeline import run_steps

if TYPE_CHECKING:
    from voxmix.encoder_study.training import TrainedRun


def open_encoder_study(study: EncoderStudy | EncoderView | Path | str) -> EncoderView:
    """Return a view of an encoder study, or of that in a folder or of a study.yaml.

    Raises:
        InputError: it is none, or its study file cannot be used or cannot work.
    """
    if isinstance(study, EncoderView):
        return study
    view = EncoderView(study if isinstance(study, EncoderStudy) else EncoderStudy.open(Path(study)))
    view.check()
    return view


def run_step(
    name: str, study: EncoderStudy | EncoderView | Path | str, hear: Listener = QUIET, **options: Any
) -> Any:
    """Do what is not done of one step of an encoder study, under its lock, and return what came of it."""
    return open_encoder_study(study).do(name, hear, **options)


def run_encoder_study(
    study: EncoderStudy | Path | str, *, progress: StepProgress | None = None, tell: Tell | None = None
) -> tuple[TrainedRun, ...]:
    """Run every step of an encoder study that is not done, in order, as ``voxmix study run`` does.

    Stop it at any moment: the same call goes on from there. ``progress`` is called with (what is going on, done, total),
    ``tell`` hears notes, in sentences.

    Returns:
        every run of the design with what it measured; ``runs.csv`` in the study's folder is the same as a table.

    Raises:
        InputError: no study there, or one whose settings cannot work.
        StudyBusyError: another process is working on it.
        VoxmixError: a run failed; the others are kept.

    Example:
        >>> from voxmix.encoder_study import run_encoder_study
        >>> runs = run_encoder_study("cxr")  # doctest: +SKIP
    """
    view = open_encoder_study(study)
    with view.lock():
        outcomes = dict(run_steps(view, Listener.calling(progress, tell)))
    found: tuple[TrainedRun, ...] = outcomes["run"]
    return found
