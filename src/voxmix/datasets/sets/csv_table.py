"""A CSV of images, for tasks: the class of an image stands in a column."""

from pathlib import Path

from voxmix.datasets.dataset import DataSet, LabeledManifest
from voxmix.datasets.task import Task
from voxmix.errors import InputError
from voxmix.volumes.manifest_files import read_csv


def _labeled(task: Task, data: Path) -> LabeledManifest:
    if data.is_dir():
        raise InputError(f"task {task.name} has the layout csv and {data} is a folder; give the CSV in it")
    return LabeledManifest(manifest=read_csv(data))


DATA_SET = DataSet(name="csv", title="a CSV of images", labeled=_labeled, joins_sessions=False)
