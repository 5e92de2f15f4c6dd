"""What the rest of a study will cost: its unfinished runs, measured by a few steps on this machine or by a given rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxmix._optional import require
from voxmix.errors import InputError
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.making import threads_of_each
from voxmix.study.training import runs_at_once
from voxmix.study.upcoming import runs_left, study_targets
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.cost.estimate import CostEstimate
    from voxmix.cost.probe import Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyCost:
    """The estimate for the unfinished runs of a study, and the probe behind it; None where a rate was given."""

    found: CostEstimate
    measured: Probe | None


def estimate_cost(
    study: Study | StudyView, hear: Listener = QUIET, *, seconds: float = 5.0, tflops: float | None = None
) -> StudyCost | None:
    """Return what the unfinished runs of a study will cost; None where every run is finished.

    A few steps of the real loop are made on this machine for about ``seconds``; with ``tflops``, the rate that another
    device sustains, none.

    Raises:
        InputError: a rate that is not above 0.
    """
    require("torch", extra="train")
    from voxmix.cost.estimate import estimate
    from voxmix.cost.probe import probe

    view = StudyView.of(study)
    if tflops is not None and not tflops > 0:
        raise InputError(f"--tflops must be above 0, got {tflops}; e.g. --tflops 40")
    kinds = runs_left(view)
    specs = [spec for some in kinds.values() for spec in some]
    if not specs:
        return None
    compute = view.config.compute
    at_once = runs_at_once(view.study, specs) if tflops is None else 1  # runs share the device not here
    measured = None
    if tflops is None:
        threads = threads_of_each(compute, together=at_once)
        with hear.waiting("making a few steps"):
            measured = probe(specs[0], compute=compute, threads=threads, seconds=seconds)
    found = estimate(
        kinds,
        targets=len(study_targets(view)),
        compute=compute,
        at_once=at_once,
        measured=measured,
        rate=None if tflops is None else tflops * 1e12,
    )
    return StudyCost(found=found, measured=measured)
