"""Tasks that a study begins with: the labels, masks and reports that its images have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from voxmix.encoder_study.config import OF_REPORTS
from voxmix.probe_tasks import ProbeTask

if TYPE_CHECKING:
    from voxmix.images.table import ImageTable
    from voxmix.texts.labels import LabelRule

FINDINGS, TUBES, OTHERS = "findings", "tubes", "labels"
_GROUPS = {"finding": FINDINGS, "tube": TUBES}
WRITING = "writing reports is judged too with `reports: {kind: reports}` in tasks, at about a minute for each encoder"
"""What is said of reports where a study does not begin with that task."""
_LEAST_OF_A_CLASS = 2
"""Images with and without a label, on either side of the split, from which on a probe of it can be trained and judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DefaultTasks:
    """Tasks by name, and in sentences what was left out of them."""

    tasks: dict[str, ProbeTask]
    notes: tuple[str, ...] = ()


def group_of(label: str) -> str:
    """Return the task that a label belongs to: findings or tubes where the rules of reports know it, else labels.

    It is known by its name, or where its name is words that a rule reads.

    >>> [group_of(name) for name in ("Pleural_Thickening", "endotracheal tube", "age above 60")]
    ['findings', 'tubes', 'labels']
    """
    plain = re.sub(r"[\W_]+", " ", label).strip()
    rules = _rules()
    if plain.lower().replace(" ", "_") in rules:
        return _GROUPS[rules[plain.lower().replace(" ", "_")].kind]
    found = {_GROUPS[rule.kind] for rule in rules.values() if rule.named.fullmatch(plain)}
    return found.pop() if len(found) == 1 else OTHERS


@cache
def _rules() -> Mapping[str, LabelRule]:
    from voxmix.texts.labels import DEFAULT_RULES

    return {rule.name: rule for rule in DEFAULT_RULES.labels}


def grouped(labels: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return task to its labels, in the order findings, tubes, labels; a task without labels is left out."""
    found: dict[str, list[str]] = {FINDINGS: [], TUBES: [], OTHERS: []}
    for label in labels:
        found[group_of(label)].append(label)
    return {group: tuple(names) for group, names in found.items() if names}


def tasks_of_table(
    table: ImageTable,
    *,
    images: str | None = None,
    behind: str = "",
) -> DefaultTasks:
    """Return the tasks that a table allows whose persons are placed: findings, tubes, labels, masks and retrieval.

    Writing reports is left to the user, with a note on how: a decoder is trained for each encoder, which takes a minute where all
    other heads together take seconds, so that it would double the time of a study that asks another question.

    Args:
        images: the table, relative to the study's folder, where it is not the study's own; its tasks are then out of domain.
        behind: what the tasks' names end in.
    """
    usable, poor = _usable(table)
    tasks = {
        f"{group}{behind}": ProbeTask(kind="labels", labels=names, images=images, outside=images is not None)
        for group, names in grouped(usable).items()
    }
    if {r.split for r in table.records if r.masks} == {"train", "validation"}:
        tasks[f"masks{behind}"] = ProbeTask(kind="masks", images=images, outside=images is not None)
    notes: tuple[str, ...] = ()
    if table.reports:
        tasks[f"retrieval{behind}"] = ProbeTask(kind="retrieval", images=images, outside=images is not None)
        notes += (WRITING,) if images is None else ()
    if poor:
        notes += (
            f"in no task, as one side of the split has fewer than {_LEAST_OF_A_CLASS} images with or without it: {', '.join(poor)}",
        )
    return DefaultTasks(tasks=tasks, notes=notes)


def _usable(table: ImageTable) -> tuple[list[str], list[str]]:
    """Return the labels that a probe can be trained on and judged by, and the others."""
    counts: Counter[tuple[str, str, int]] = Counter()
    for record in table.records:
        for name, value in record.labels.items():
            counts[name, record.split, value] += 1
    usable: list[str] = []
    poor: list[str] = []
    for name in table.label_names:
        least = min(counts[name, side, value] for side in ("train", "validation") for value in (0, 1))
        (usable if least >= _LEAST_OF_A_CLASS else poor).append(name)
    return usable, poor


def tasks_of_radiographs(*, left_out: Sequence[str] = (), table: str = "") -> DefaultTasks:
    """Return the tasks of made radiographs: findings, tubes, their masks, retrieval, reports.

    Args:
        left_out: centers that encoders do not learn from: their findings and tubes are tasks out of domain.
        table: of the radiographs, relative to the study's folder.
    """
    from voxmix.radiographs.findings import FINDINGS as DRAWN
    from voxmix.radiographs.tubes import TUBES as LINES

    own = {FINDINGS: tuple(DRAWN), TUBES: tuple(LINES)}
    tasks = {name: ProbeTask(kind="labels", labels=labels) for name, labels in own.items()}
    tasks |= {f"{name[:-1]}-masks": ProbeTask(kind="masks", masks=labels) for name, labels in own.items()}
    tasks |= {kind: ProbeTask(kind=kind) for kind in OF_REPORTS}
    if left_out:
        tasks |= {
            f"{name}-outside": ProbeTask(
                kind="labels", labels=labels, images=table, domains=tuple(left_out), outside=True
            )
            for name, labels in own.items()
        }
    return DefaultTasks(tasks=tasks)
