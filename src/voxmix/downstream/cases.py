"""The cases of a task: prepared as the encoder's volumes were, split by subject, their labels checked."""

from collections import Counter
from collections.abc import Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Shaped

from voxmix._io import digest, read_versioned, write_json
from voxmix._progress import ProgressCallback, silent
from voxmix.downstream.sources import PARTS, Part, Sources, read_sources
from voxmix.downstream.split import check_official, split_subjects
from voxmix.downstream.tasks import Task
from voxmix.errors import InputError
from voxmix.volumes.beside import new_salt, salt_of
from voxmix.volumes.cache import PreparedCache, PreparedVolume, subject_digest, volume_key
from voxmix.volumes.content import record_digest
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord
from voxmix.volumes.prepare import prepare
from voxmix.volumes.recipe import Recipe
from voxmix.volumes.volume import UnreadableVolumeError

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
    """Return what every value of a label map becomes (uint8, 256 entries)."""
    table = np.zeros(256, dtype=np.uint8)
    for number, values in enumerate(task.classes.values()):
        for value in values:
            table[int(value)] = int(value) if task.regions else number
    for old, new in task.older_labels.items():
        table[old] = table[new]
    return table


def build_cases(
    task: Task,
    data: Path,
    *,
    root: Path,
    recipe: Recipe,
    crop: int,
    pretrained: PreparedCache | None = None,
    pretrained_source: Path | None = None,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> tuple[CaseSet, tuple[SetAside, ...]]:
    """Prepare a task's images as ``recipe`` says, split them by subject, and return them with what was left out.

    ``pretrained`` holds the volumes of the study whose encoders will be finetuned: none of its training
    subjects, and no file of theirs under another name, is in validation or test. ``pretrained_source`` is where the
    study's volumes lie, with the map of its subjects beside them.

    Raises:
        InputError: too few cases for the split, none that pretraining has not seen, a part without a usable
            case, no labeled voxel in training, or fewer classes than there should be.
        VoxmixError: the disk is full or cannot be written.
    """
    sources = read_sources(task, data)
    recipe = replace(recipe, intensity={task.domain: task.intensity or recipe.rule(task.domain)})
    if task.zoom:
        sources = _filling(sources, crop, recipe)
    if task.zoom or task.keep_frame:
        recipe = replace(recipe, crop_foreground=False)
    salt = _salt_of(pretrained, pretrained_source)
    people = {record.subject: subject_digest(salt, record.subject) for record in sources.records}
    known = _pretrained_on(sources, people, recipe, pretrained)
    if sources.parts:
        parts = dict(sources.parts)
        check_official(parts, known)
    else:
        parts = split_subjects(tuple(people), sizes=task.split, seen=known)
    used = tuple(
        replace(r, split="train" if parts[r.subject] == "train" else "validation")
        for r in sources.records
        if r.subject in parts
    )
    surplus = len({r.subject for r in sources.records} - parts.keys())
    preparation = prepare(
        Manifest(records=used), recipe=recipe, root=root, salt=salt, workers=workers, progress=progress
    )
    hidden_parts = {people[subject]: part for subject, part in parts.items()}
    asides = [*sources.set_aside, *preparation.set_aside]
    cases, notes, reasons = _checked_cases(task, preparation.cache, hidden_parts, _classes(task, used))
    if surplus:
        notes.append(f"{surplus} subjects are more than the split asks for and were left out")
    notes += sorted({f"{n} files: {what}" for what, n in Counter(n for _, n in preparation.notes).items()})
    counted = Counter([*(aside.reason for aside in asides), *reasons])
    found = CaseSet(
        task=task,
        cache=preparation.cache,
        cases=tuple(cases),
        classes=_classes(task, used),
        notes=tuple(notes),
        set_aside=dict(counted),
        overlap=len({people[s] for s, part in parts.items() if part == "train" and s in known}),
    )
    _check_parts(found)
    write_json(root / CASES_FILE, _as_dict(found))
    return found, tuple(asides)


def open_cases(task: Task, root: Path) -> CaseSet:
    """Return the cases that :func:`build_cases` left in ``root``.

    Raises:
        InputError: none there, damaged, or of a task that was changed since.
    """
    value = read_versioned(root / CASES_FILE, kind=_KIND, version=_FORMAT)
    if value["task"] != digest(task.as_dict()):
        raise InputError(f"the cases in {root} are of task {task.name} as it was before; prepare them again")
    cache = PreparedCache.open(root)
    volumes = {volume.key: volume for volume in cache.volumes}
    try:
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
    except (KeyError, TypeError) as error:
        raise InputError(f"{root / CASES_FILE} is damaged ({error!r}); delete it and prepare again") from None


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


def _salt_of(pretrained: PreparedCache | None, source: Path | None) -> str:
    """Return the secret that names subjects as the study's cache does, so that one person is known in both.

    Raises:
        InputError: the study has a cache and nobody knows its secret any more.
    """
    if pretrained is None:
        return new_salt()
    found = salt_of(pretrained, source)
    if found is None:
        raise InputError(
            "the map of the study's subjects is no longer beside its volumes, or is that of others, so nobody can tell whom the encoders "
            "were pretrained on; put it back, or prepare the study again: voxmix prepare"
        )
    return found


def _pretrained_on(
    sources: Sources, people: dict[str, str], recipe: Recipe, pretrained: PreparedCache | None
) -> Set[str]:
    """Return the subjects that encoders of the study were trained on: by name, or by a file of theirs."""
    train = [volume for volume in pretrained.volumes if volume.split == "train"] if pretrained else []
    names, keys = {volume.subject for volume in train}, {volume.key for volume in train}
    return {
        record.subject
        for record in sources.records
        if people[record.subject] in names or (keys and _key(record, recipe) in keys)
    }


def _key(record: VolumeRecord, recipe: Recipe) -> str:
    try:
        return volume_key(record_digest(record), recipe.volume_digest(record.domain))
    except UnreadableVolumeError:
        return ""  # preparing sets it aside


def _filling(sources: Sources, crop: int, recipe: Recipe) -> Sources:
    """Return records of volumes without a size in mm, placed so that each fills the encoder's crop."""
    from voxmix.volumes.stacks import stack_volume

    records: list[VolumeRecord] = []
    edges: dict[Path, int] = {}
    for record in sources.records:
        if record.path not in edges:
            edges[record.path] = max(stack_volume(record.path, 0, max_voxels=recipe.max_voxels).shape)
        step = crop * recipe.spacing_mm / edges[record.path]
        affine = (step, 0, 0, 0, 0, step, 0, 0, 0, 0, step, 0, 0, 0, 0, 1)
        records.append(replace(record, affine=tuple(float(number) for number in affine)))
    return replace(sources, records=tuple(records))


def _classes(task: Task, records: tuple[VolumeRecord, ...]) -> tuple[str, ...]:
    if task.classes:
        return task.class_names
    found = tuple(sorted({record.category for record in records}))
    if len(found) < 2 or (task.class_count and len(found) != task.class_count):
        wanted = task.class_count or "two or more"
        raise InputError(f"task {task.name} needs {wanted} classes, found {len(found)}: {list(found)}")
    return found


def _target(task: Task, category: str, classes: tuple[str, ...]) -> int | None:
    """Return the number of a class; values are compared as numbers where both are."""
    if not task.classes:
        return classes.index(category)
    for number, (name, values) in enumerate(task.classes.items()):
        if category == name or any(_same(category, value) for value in values):
            return number
    return None


def _same(text: str, value: int | float | str) -> bool:
    if text == str(value):
        return True
    try:
        return float(text) == float(value)
    except ValueError:
        return False


def _checked_cases(
    task: Task,
    cache: PreparedCache,
    parts: dict[str, Part],
    classes: tuple[str, ...],
) -> tuple[list[Case], list[str], list[str]]:
    """Return the cases that can be used, notes, and the reasons why the others cannot."""
    cases: list[Case] = []
    reasons: list[str] = []
    empty = older = 0
    voxels = np.zeros(256, dtype=np.int64)
    for volume in cache.volumes:
        part = parts[volume.subject]
        if task.kind == "classification":
            target = _target(task, volume.category, classes)
            if target is None:
                reasons.append(f"class {volume.category!r} is none of {list(classes)}")
                continue
            cases.append(Case(volume=volume, part=part, target=target))
            continue
        values, counts, reason = _label_values(task, cache, volume)
        if reason:
            reasons.append(reason)
            continue
        empty += not np.any(label_table(task)[values])
        older += any(int(value) in task.older_labels for value in values)
        if part == "train":
            voxels[values] += counts
        cases.append(Case(volume=volume, part=part))
    notes = _label_notes(task, empty=empty, older=older, training_voxels=voxels, cases=cases)
    return cases, notes, reasons


def _label_values(
    task: Task, cache: PreparedCache, volume: PreparedVolume
) -> tuple[Shaped[np.ndarray, " value"], Shaped[np.ndarray, " value"], str]:
    """Return the values of a label map, how many voxels have each, and why it cannot be used."""
    stored = cache.labels(volume)
    nothing = np.zeros(0, dtype=np.int64)
    if stored is None:
        return nothing, nothing, "its label map cannot be used"
    values, counts = np.unique(np.asarray(stored), return_counts=True)
    known = {0, *task.older_labels, *(int(v) for group in task.classes.values() for v in group)}
    unknown = sorted(int(v) for v in values if int(v) not in known)
    if unknown and (task.unlisted == "refuse" or max(unknown) > 255):
        return nothing, nothing, f"label map with values of no class: {unknown}"
    for old, new in task.older_labels.items():
        if old in values and new in values:
            return nothing, nothing, f"label map with {new} and {old}, which is {new} in older editions"
    return values.astype(np.int64), counts, ""


def _label_notes(
    task: Task, *, empty: int, older: int, training_voxels: Shaped[np.ndarray, " value"], cases: list[Case]
) -> list[str]:
    notes = []
    if older:
        renamed = ", ".join(f"{old} for {new}" for old, new in task.older_labels.items())
        notes.append(f"{older} label maps are of an older edition of the data set: taken {renamed}")
    if empty:
        notes.append(f"{empty} label maps are empty: kept, as images in which there is nothing to find")
    if not any(case.part == "train" for case in cases):
        return notes
    for old, new in task.older_labels.items():
        training_voxels[new] += training_voxels[old]
    if task.kind == "segmentation":
        lacking = [
            name
            for name, values in task.classes.items()
            if not any(training_voxels[int(v)] for v in values) and 0 not in values
        ]
    else:
        present = {case.target for case in cases if case.part == "train"}
        lacking = [name for number, name in enumerate(task.classes) if number not in present]
    if lacking and len(lacking) >= len(task.classes) - (0 if task.regions else 1):
        raise InputError(
            f"task {task.name}: no training case shows any of {lacking}; do the values of `classes` fit its labels?"
        )
    notes += [f"no training case shows {name}: it cannot be learned" for name in lacking]
    return notes


def _check_parts(found: CaseSet) -> None:
    for part in PARTS:
        if not found.part(part):
            why = "; ".join(f"{count} because {reason}" for reason, count in found.set_aside.items())
            raise InputError(
                f"task {found.task.name} has no usable {part} case; set aside: {why or 'none'}; mend or add cases"
            )
