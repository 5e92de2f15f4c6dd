"""Images that tasks have of their own: which tables, what of them is read, and where they are prepared."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxmix._io import digest, file_digest
from voxmix.domain import as_domain_name
from voxmix.encoder_study.config import OF_REPORTS, EncoderStudyConfig
from voxmix.errors import InputError
from voxmix.probe_tasks import ProbeTask


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskImages:
    """A folder or table of images that tasks share.

    Attributes:
        place: as the study file names it.
        tasks: names of the tasks.
        domains: that any of them uses; () for all.
        classes: columns whose cells name a class.
        texts: whether reports are needed.
        carried: whether a task is judged on all of them, and its head is trained on the study's own.
    """

    place: str
    tasks: tuple[str, ...]
    domains: tuple[str, ...]
    classes: tuple[str, ...]
    texts: bool
    carried: bool = False

    @property
    def name(self) -> str:
        """Name of the folder in which they are prepared: that of the table, and a digest of where it lies."""
        return f"{_stem(self.place)}-{digest(os.path.normpath(self.place))[:6]}"

    def inputs(self, root: Path) -> dict[str, Any]:
        """Return what decides which images are prepared: where they are, what is read, and a table's content."""
        path = (root / self.place).resolve()
        return {
            "place": self.place,
            "domains": list(self.domains),
            "classes": list(self.classes),
            "texts": self.texts,
            "table": file_digest(path) if path.is_file() else "",
        }


def task_images(config: EncoderStudyConfig) -> tuple[TaskImages, ...]:
    """Return the images that tasks have of their own, each table once."""
    tables: dict[str, dict[str, ProbeTask]] = {}
    for name, task in config.tasks.items():
        if task.images is not None:
            tables.setdefault(os.path.normpath(task.images), {})[name] = task
    return tuple(
        TaskImages(
            place=place,
            tasks=tuple(tasks),
            domains=()
            if not all(task.domains for task in tasks.values())
            else tuple(sorted({name for task in tasks.values() for name in task.domains})),
            classes=tuple(sorted({task.column for task in tasks.values() if task.column})),
            texts=any(task.kind in OF_REPORTS for task in tasks.values()),
            carried=any(task.carried for task in tasks.values()),
        )
        for place, tasks in tables.items()
    )


def _stem(place: str) -> str:
    try:
        return as_domain_name(Path(place).stem)
    except InputError:
        return "images"
