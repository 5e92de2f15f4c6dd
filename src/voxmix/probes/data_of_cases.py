"""Clinical tasks of volumes as tasks of probes: the cases that finetuning is scored on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16

from voxmix.datasets.task import IGNORED
from voxmix.domain import check_domain_name
from voxmix.downstream.cases import Case, CaseSet
from voxmix.errors import InputError
from voxmix.probe_tasks import ProbeTask
from voxmix.probes.data import ProbeCase, ProbeData, check_parts
from voxmix.volumes.recipe import Recipe

_KINDS = {"classes": "classification", "masks": "segmentation"}


@dataclass(frozen=True, slots=True)
class CaseImages:
    """Images and masks of a set of cases."""

    cases: CaseSet

    @property
    def axes(self) -> int:
        """Three."""
        return 3

    @property
    def digest(self) -> str:
        """Digest of images, labels, parts and preparation."""
        return self.cases.digest

    @property
    def recipe(self) -> Recipe:
        """How the volumes were prepared."""
        return self.cases.cache.recipe

    def array(self, item: Case) -> Float16[np.ndarray, "x y z"]:
        """Return the voxels in [0, 1]."""
        return self.cases.image(item)

    def masks(self, item: Case) -> Mapping[str, Bool[np.ndarray, "x y z"]]:
        """Return class to where it is, without the background."""
        labels, task = np.asarray(self.cases.labels(item)), self.cases.task
        if not task.regions:
            return {name: labels == number for number, name in enumerate(self.cases.classes) if number}
        return {
            name: np.isin(labels, [task.codes[int(value)] for value in values]) & (labels != IGNORED)
            for name, values in task.classes.items()
        }


def probe_data_of_cases(task: ProbeTask, cases: CaseSet) -> ProbeData:
    """Return a clinical task as a task of probes: training and validation persons train the probe, test persons judge it.

    Raises:
        InputError: another kind of task than the cases are of; a class or mask that they do not have; two parts that cannot be
            used.
    """
    name = cases.task.name
    check_domain_name(name)
    if _KINDS.get(task.kind) != cases.task.kind:
        raise InputError(
            f"task {name} is a {cases.task.kind} of volumes, which a probe of kind {task.kind} cannot use; take "
            f"{next(kind for kind, theirs in _KINDS.items() if theirs == cases.task.kind)}"
        )
    names, notes = tuple(cases.classes), list(cases.notes)
    if task.kind == "masks":
        known = names if cases.task.regions else names[1:]
        unknown = [one for one in task.masks if one not in known]
        if unknown:
            raise InputError(
                f"task {name}: no volume has the mask {unknown[0]!r}; there are: {', '.join(known)}"
            )
        names = task.masks or known
        if cases.task.ignore:
            notes.append(f"{name}: voxels that nobody knows count as background")
    found = ProbeData(
        task=task,
        name=name,
        cases=tuple(_case(case) for case in cases.cases),
        names=names,
        axes=3,
        notes=tuple(notes),
        own=False,
        source=CaseImages(cases),
    )
    check_parts(found)
    if task.kind == "classes":
        _check_classes(found)
    return found


def _case(case: Case) -> ProbeCase:
    return ProbeCase(
        case=case.name,
        subject=case.volume.subject,
        domain=case.volume.domain,
        part="test" if case.part == "test" else "train",
        target=case.target,
        item=case,
    )


def _check_classes(data: ProbeData) -> None:
    for part, who in (("train", "training"), ("test", "test")):
        there: set[Any] = {case.target for case in data.part(part)}  # type: ignore[arg-type]
        if len(there) < 2:
            raise InputError(
                f"task {data.name} has one class among its {who} persons; give more volumes, or leave the task out"
            )
