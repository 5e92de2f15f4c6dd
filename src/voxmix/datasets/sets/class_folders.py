"""Folders of classes, for tasks: the class of an image is the name of its folder."""

from dataclasses import replace
from pathlib import Path

from voxmix.datasets.dataset import DataSet, LabeledManifest
from voxmix.datasets.sets.folder import read_folder
from voxmix.datasets.task import Task
from voxmix.volumes.manifest import Manifest


def read_class_folders(root: Path, *, domain: str) -> Manifest:
    """Return volumes of one domain in a folder per class: ``<class>/<subject>.nii.gz`` or ``<class>/<subject>/*``.

    A subject of one name in two classes counts as one person, so that no split can part it.
    """
    found = read_folder(root)
    return replace(
        found,
        records=tuple(replace(r, domain=domain, category=r.domain) for r in found.records),
        set_aside=tuple(replace(s, domain=domain) for s in found.set_aside),
    )


def _labeled(task: Task, data: Path) -> LabeledManifest:
    return LabeledManifest(manifest=read_class_folders(data, domain=task.source or task.domain))


DATA_SET = DataSet(name="class-folders", title="a folder per class", labeled=_labeled)
