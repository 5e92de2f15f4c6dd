"""From a data set's files to the cases of a task: prepared, split by subject, checked."""

from collections import Counter
from collections.abc import Set
from dataclasses import replace
from pathlib import Path

from voxmix._progress import ProgressCallback, silent
from voxmix.datasets.sessions import session_names
from voxmix.datasets.task import PARTS, Task
from voxmix.downstream.cases import CaseSet, save_cases
from voxmix.downstream.labeled_images import LabeledImages, read_labeled_images
from voxmix.downstream.labels import checked_cases, class_names
from voxmix.downstream.split import check_official, split_subjects
from voxmix.errors import InputError
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord
from voxmix.volumes.preparing.cache import PreparedCache, subject_digest, volume_key
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.preparing.private_lists import Names, new_salt, salt_of
from voxmix.volumes.reading.content_digest import record_digest
from voxmix.volumes.recipe import Recipe
from voxmix.volumes.volume import UnreadableVolumeError


def build_cases(
    task: Task,
    data: Path,
    *,
    root: Path,
    recipe: Recipe,
    crop: int,
    pretrained: PreparedCache | None = None,
    pretrained_source: Path | None = None,
    pretrained_names: Names | None = None,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> tuple[CaseSet, tuple[SetAside, ...]]:
    """Prepare a task's images as ``recipe`` says, split them by subject, and return them with what was left out.

    ``pretrained`` holds the volumes of the study whose encoders will be finetuned: none of its training
    subjects, and no file of theirs under another name, is in validation or test. ``pretrained_source`` is where the
    study's volumes lie, ``pretrained_names`` where the map of its subjects does.

    Raises:
        InputError: too few cases for the split, none that pretraining has not seen, a part without a usable
            case, no labeled voxel in training, or fewer classes than there should be.
        VoxmixError: the disk is full or cannot be written.
    """
    sources = read_labeled_images(task, data)
    # A task names its images itself: shapes of few values (AdrenalMNIST3D, VesselMNIST3D) are what it asks for.
    rule = task.intensity or recipe.rule(task.domain)
    recipe = replace(recipe, intensity={task.domain: rule}, masks=(task.domain,))
    if task.zoom:
        sources = _filling(task, sources, crop, recipe)
    if task.zoom or task.keep_frame:
        recipe = replace(recipe, crop_foreground=False)
    salt = _salt_of(pretrained, pretrained_names, pretrained_source)
    people = {record.subject: subject_digest(salt, record.subject) for record in sources.records}
    known = _pretrained_on(sources, people, recipe, pretrained, salt=salt)
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
    classes = class_names(task, used)
    surplus = len({r.subject for r in sources.records} - parts.keys())
    preparation = prepare(
        Manifest(records=used), recipe=recipe, root=root, salt=salt, workers=workers, progress=progress
    )
    hidden_parts = {people[subject]: part for subject, part in parts.items()}
    asides = [*sources.set_aside, *preparation.set_aside]
    cases, notes, reasons = checked_cases(task, preparation.cache, hidden_parts, classes)
    if surplus:
        notes.append(f"{surplus} subjects are more than the split asks for and were left out")
    notes += sources.notes
    notes += sorted({f"{n} files: {what}" for what, n in Counter(n for _, n in preparation.notes).items()})
    counted = Counter([*(aside.reason for aside in asides), *reasons])
    found = CaseSet(
        task=task,
        cache=preparation.cache,
        cases=tuple(cases),
        classes=classes,
        notes=tuple(notes),
        set_aside=dict(counted),
        overlap=len({people[s] for s, part in parts.items() if part == "train" and s in known}),
    )
    _check_parts(found)
    save_cases(found)
    return found, tuple(asides)


def _salt_of(pretrained: PreparedCache | None, names: Names | None, source: Path | None) -> str:
    """Return the secret that names subjects as the study's cache does, so that one person is known in both.

    Raises:
        InputError: the study has a cache and nobody knows its secret any more.
    """
    if pretrained is None:
        return new_salt()
    found = salt_of(pretrained, names, source)
    if found is None:
        raise InputError(
            "the map of the study's subjects (private/subjects.json of the study) is missing or belongs to another study, "
            "so it is unknown whom the encoders were pretrained on; restore it, or prepare the study again: voxmix prepare"
        )
    return found


def _pretrained_on(
    sources: LabeledImages,
    people: dict[str, str],
    recipe: Recipe,
    pretrained: PreparedCache | None,
    *,
    salt: str,
) -> Set[str]:
    """Return the subjects that encoders of the study were trained on: by name, or by a file of theirs.

    An older cache may know a person by the names of sessions.
    """
    train = [volume for volume in pretrained.volumes if volume.split == "train"] if pretrained else []
    names, keys = {volume.subject for volume in train}, {volume.key for volume in train}
    return {
        record.subject
        for record in sources.records
        if people[record.subject] in names
        or any(subject_digest(salt, name) in names for name in session_names(record))
        or (keys and _key(record, recipe) in keys)
    }


def _key(record: VolumeRecord, recipe: Recipe) -> str:
    try:
        return volume_key(record_digest(record), recipe.volume_digest(record.domain))
    except UnreadableVolumeError:
        return ""  # preparing sets it aside


def _filling(task: Task, sources: LabeledImages, crop: int, recipe: Recipe) -> LabeledImages:
    """Return records of volumes without a size in mm, placed so that each fills the encoder's crop."""
    from voxmix.volumes.reading.npz_stacks import stack_volume

    others = [record.path.name for record in sources.records if record.path.suffix != ".npz"]
    if others:
        raise InputError(
            f"task {task.name}: zoom is for volumes without a size in mm, MedMNIST's npz files; {others[0]} is none "
            "of them: leave zoom out"
        )
    records: list[VolumeRecord] = []
    edges: dict[Path, int] = {}
    for record in sources.records:
        if record.path not in edges:
            edges[record.path] = max(stack_volume(record.path, 0, max_voxels=recipe.max_voxels).shape)
        step = crop * recipe.spacing_mm / edges[record.path]
        affine = (step, 0, 0, 0, 0, step, 0, 0, 0, 0, step, 0, 0, 0, 0, 1)
        records.append(replace(record, affine=tuple(float(number) for number in affine)))
    return replace(sources, records=tuple(records))


def _check_parts(found: CaseSet) -> None:
    for part in PARTS:
        if not found.part(part):
            why = "; ".join(f"{count} because {reason}" for reason, count in found.set_aside.items())
            raise InputError(
                f"task {found.task.name} has no usable {part} case; set aside: {why or 'none'}; fix or add cases"
            )
