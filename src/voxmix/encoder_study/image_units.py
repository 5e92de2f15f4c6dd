"""The images of a study, and those that its tasks have of their own, in pieces that any number of workers prepare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from voxmix._optional import require
from voxmix.encoder_study.preparing import PreparedStudy, image_plans, prepare_study
from voxmix.encoder_study.view import EncoderView
from voxmix.images.units import ImagePlan, ImageUnit
from voxmix.study.listener import QUIET, Listener


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyUnit:
    """A piece of one of the study's tables of images."""

    plan: ImagePlan
    unit: ImageUnit

    @property
    def name(self) -> str:
        """The same in every process."""
        return self.unit.name


class ImagePass:
    """The images of a study as units of work: any process that sees its folder may make one; one joins what they made."""

    def __init__(self, view: EncoderView) -> None:
        """Look at what there is; no image is read.

        Raises:
            InputError: no images where the study says.
        """
        if view.config.keeps_texts:
            require("tokenizers", extra="text")
        self._study = view.study
        self.units = tuple(
            StudyUnit(plan=plan, unit=unit) for plan in image_plans(view.study) for unit in plan.units()
        )

    def is_done(self, unit: StudyUnit) -> bool:
        """Return whether some process has prepared a unit, or all is joined."""
        return unit.plan.is_done(unit.unit) or EncoderView(self._study).is_made("prepare")

    def make(self, unit: StudyUnit, *, careful: bool = False, stop: Callable[[], bool] | None = None) -> bool:
        """Prepare a unit in this process, see :meth:`voxmix.images.units.ImagePlan.make`."""
        return unit.plan.make(unit.unit, careful=careful, stop=stop)

    def failed(self) -> Mapping[str, str]:
        """Return nothing: an image that cannot be prepared is set aside, and says why."""
        return {}

    def join(self, hear: Listener = QUIET) -> PreparedStudy:
        """Put together what all processes have made: by the one that holds the study. What is missing is made here."""
        return prepare_study(EncoderView(self._study), hear, joining=True)


def image_units(view: EncoderView, hear: Listener = QUIET, *, together: int = 1) -> ImagePass | None:
    """Return the images of a study as units of work; None of made radiographs, which one process draws and prepares."""
    return None if view.config.data.radiographs is not None else ImagePass(view)
