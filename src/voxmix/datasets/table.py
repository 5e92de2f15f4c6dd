"""The table of data sets: the rows of :mod:`voxmix.datasets.sets`, and those that other packages add."""

from functools import cache
from importlib import import_module

from voxmix._table import Table
from voxmix.datasets import LAYOUTS
from voxmix.datasets.dataset import DataSet
from voxmix.datasets.task import Task
from voxmix.errors import InputError

_FOR_TASKS = ("class_folders", "csv_table")


@cache
def _table() -> Table[DataSet]:
    modules = (import_module(f"voxmix.datasets.sets.{name}") for name in (*LAYOUTS, *_FOR_TASKS))
    return Table("data_sets", {module.DATA_SET.name: module.DATA_SET for module in modules})


def data_sets() -> dict[str, DataSet]:
    """Return every data set by name: voxmix's own, those of installed packages, then those that were registered.

    Packages add data sets by entry points of the group ``voxmix.data_sets``.
    """
    return _table().rows()


def register_data_set(row: DataSet) -> None:
    """Add a data set to the table: its layout is then detected, read and named as voxmix's own, and so are its tasks.

    Raises:
        InputError: there is one of this name, or a task of one of its tasks' names.
    """
    if row.name in data_sets():
        raise InputError(f"there is a data set {row.name!r} already; give this one another name")
    twice = sorted({task.name for task in row.tasks} & {task.name for task in tasks_of_sets()})
    if twice:
        raise InputError(f"there is a task {twice[0]!r} already; give that of {row.name} another name")
    _table().add(row.name, row)


def unregister_data_set(name: str) -> None:
    """Take a data set away that was registered."""
    _table().remove(name)


def layouts() -> tuple[str, ...]:
    """Return the names that ``--layout`` takes."""
    return tuple(row.name for row in data_sets().values() if row.read is not None)


def tasks_of_sets() -> tuple[Task, ...]:
    """Return the tasks of all data sets: voxmix's own are the nine rows of the paper's tables 3, 5 and 7."""
    return tuple(task for row in data_sets().values() for task in row.tasks)
