"""Tasks by name: those of data sets (the paper's), and the user's own from a YAML file."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from voxmix.datasets.table import tasks_of_sets
from voxmix.datasets.task import Task
from voxmix.errors import InputError
from voxmix.settings import checked, parse_yaml

TASKS_FILE = "tasks.yaml"


def read_tasks(path: Path | None) -> dict[str, Task]:
    """Return the paper's tasks and those of a file, by name.

    The file maps names to rows. A row with ``like: NAME`` starts from that row (of the table, or above it in
    the file), so ``{like: amos-ct, data: /data/amos22}`` is all that a data set of the paper needs. ``data`` may
    be relative to the file.

    Raises:
        InputError: not YAML, an unknown key (the nearest is named), or a value that cannot be used.
    """
    tasks = {task.name: task for task in tasks_of_sets()}
    if path is None or not path.exists():
        return tasks
    try:
        rows = parse_yaml(
            path.read_text(encoding="utf-8-sig"), where=str(path), holds="map names of tasks to settings"
        )
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}; give a YAML file of tasks") from None
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise InputError(f"{path}: task {name!r} should hold settings (key: value), found {row!r}")
        tasks[str(name)] = _row(str(name), row, tasks, path)
    return tasks


def _row(name: str, row: Mapping[str, Any], tasks: Mapping[str, Task], path: Path) -> Task:
    values = {
        key: _FORMS[key](value) if key in _FORMS else value for key, value in row.items() if key != "like"
    }
    start: dict[str, Any] = {}
    if "like" in row:
        if row["like"] not in tasks:
            raise InputError(
                f"{path}: task {name} is like {row['like']!r}, which is unknown; there are {list(tasks)}"
            )
        start = asdict(tasks[row["like"]])
        values["settings"] = {**start["settings"], **values.get("settings", {})}
    task = checked(Task, {**start, **values, "name": name}, where=f"{path}, task {name}")
    if not task.data or Path(task.data).is_absolute():
        return task
    return replace(task, data=str(path.parent / task.data)) if "data" in row else task


def _listed(classes: Any) -> Any:
    """Return classes with every value as a list, so that ``liver: 1`` may stand for ``liver: [1]``."""
    if not isinstance(classes, dict):
        return classes
    return {name: value if isinstance(value, list) else [value] for name, value in classes.items()}


def _several(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


_FORMS = {"classes": _listed, "ignore": _several}


def find_task(name: str, path: Path | None) -> Task:
    """Return a task by name.

    Raises:
        InputError: no such row; names those that exist.
    """
    tasks = read_tasks(path)
    if name not in tasks:
        raise InputError(
            f"unknown task {name!r}; choose one of {list(tasks)}, or add a row to {path or TASKS_FILE}"
        )
    return tasks[name]
