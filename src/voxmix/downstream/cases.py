"""The cases of a task: prepared as the encoder's volumes were, split by subject, their labels checked."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Shaped

from voxmix._io import digest, naming_damage, read_versioned, write_json
from voxmix.datasets.task import IGNORED, MAX_LABEL, PARTS, Part, Task
from voxmix.errors import InputError
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume

CASES_FILE, _KIND, _FORMAT = "cases.json", "downstream cases", 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One labeled image. ``target`` is its class in classification, else None."""

    volume: PreparedVolume
    part: Part
    target: int | None = None

    @property
    def name(self) -> str:
        """Digest of the image's bytes and of how it was prepared: names no person, the same for every run."""
        return self.volume.key


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseSet:
    """The cases of a task on disk.

    Attributes:
        classes: names, in the order of the network's outputs.
        notes: what a user should know; written to results.
        set_aside: reason to number of files that are not used.
        overlap: subjects of the training part that were pretrained on too (their labels were not).
    """

    task: Task
    cache: PreparedCache
    cases: tuple[Case, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    set_aside: dict[str, int]
    overlap: int

    def part(self, name: Part) -> tuple[Case, ...]:
        """Return the cases of one part, in a fixed order."""
        return tuple(case for case in self.cases if case.part == name)

    def image(self, case: Case) -> Float16[np.ndarray, "x y z"]:
        """Return the prepared voxels in [0, 1]."""
        return self.cache.array(case.volume)

    def labels(self, case: Case) -> Shaped[np.ndarray, "x y z"]:
        """Return the label map: numbers of classes, or, where classes overlap, the data set's own values."""
        stored = self.cache.labels(case.volume)
        assert stored is not None
        return label_table(self.task)[np.asarray(stored).astype(np.int64)]

    @property
    def digest(self) -> str:
        """Digest of the images, their labels, their parts and their preparation."""
        rows = sorted([c.volume.key, c.volume.label, c.part, c.target] for c in self.cases)
        return digest({"cases": rows, "classes": list(self.classes), "recipe": self.cache.recipe.digest})


def label_table(task: Task) -> Shaped[np.ndarray, " value"]:
    """Return what every value of a label map becomes (uint8): a class, or its code where classes overlap."""
    table = np.zeros(MAX_LABEL + 1, dtype=np.uint8)
    codes = task.codes
    for number, values in enumerate(task.classes.values()):
        for value in values:
            table[int(value)] = codes[int(value)] if task.regions else number
    table[list(task.ignore)] = IGNORED
    for old, new in task.older_labels.items():
        table[old] = table[new]
    return table


def open_cases(task: Task, root: Path) -> CaseSet:
    """Return the cases that :func:`voxmix.downstream.build_cases.build_cases` left in ``root``.

    Raises:
        InputError: none there, damaged, or of a task that was changed since.
    """
    value = read_versioned(root / CASES_FILE, kind=_KIND, version=_FORMAT)
    if value.get("task") != digest(task.as_dict()):
        raise InputError(f"the cases in {root} are of task {task.name} as it was before; prepare them again")
    cache = PreparedCache.open(root)
    volumes = {volume.key: volume for volume in cache.volumes}
    with naming_damage(root / CASES_FILE, remedy="delete it and prepare again"):
        return CaseSet(
            task=task,
            cache=cache,
            cases=tuple(
                Case(volume=volumes[row["volume"]], part=row["part"], target=row["target"])
                for row in value["cases"]
            ),
            classes=tuple(value["classes"]),
            notes=tuple(value["notes"]),
            set_aside=value["set_aside"],
            overlap=value["overlap"],
        )


def save_cases(found: CaseSet) -> None:
    """Write what :func:`open_cases` reads, next to the prepared volumes."""
    write_json(found.cache.root / CASES_FILE, _as_dict(found))


def _as_dict(found: CaseSet) -> dict[str, Any]:
    return {
        "kind": _KIND,
        "format": _FORMAT,
        "task": digest(found.task.as_dict()),
        "digest": found.digest,
        "classes": list(found.classes),
        "cases": [{"volume": c.name, "part": c.part, "target": c.target} for c in found.cases],
        "notes": list(found.notes),
        "set_aside": found.set_aside,
        "overlap": found.overlap,
        "split": {part: len({c.volume.subject for c in found.part(part)}) for part in PARTS},
        "recipe": found.cache.recipe.as_dict(),
        "settings": asdict(found.task)["settings"],
    }
