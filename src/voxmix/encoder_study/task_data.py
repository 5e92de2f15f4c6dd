"""The cases of a study's tasks, and which tasks cannot be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxmix.encoder_study.view import EncoderView
from voxmix.errors import InputError, StepPendingError, did_you_mean

if TYPE_CHECKING:
    from voxmix.probes.data import ProbeData


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyTasks:
    """The cases of every task that can be judged, and why others cannot, by task."""

    data: tuple[ProbeData, ...]
    set_aside: tuple[tuple[str, str], ...] = ()


def study_tasks(view: EncoderView, names: Sequence[str] = ()) -> StudyTasks:
    """Return the cases of the study's tasks, of the named ones alone if any are.

    Raises:
        InputError: a name that no task has.
        StepPendingError: the images are not prepared.
    """
    from voxmix.probes.carried import Carried
    from voxmix.probes.task_cases import probe_data

    tasks = view.config.tasks
    for name in names:
        if name not in tasks:
            raise InputError(f"there is no task {name!r}; {did_you_mean(name, list(tasks), what='tasks: ')}")
    found: list[ProbeData] = []
    aside: list[tuple[str, str]] = []
    for name in names or tasks:
        try:
            source = view.task_sources[name]
            if tasks[name].carried:
                source = Carried(home=view.source, away=source)
            found.append(probe_data(tasks[name], name, source))
        except StepPendingError:
            raise
        except InputError as error:
            aside.append((name, str(error)))
    return StudyTasks(data=tuple(found), set_aside=tuple(aside))
