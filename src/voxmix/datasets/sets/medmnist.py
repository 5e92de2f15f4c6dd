"""MedMNIST 3D: small volumes in one npz file, with an official split."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from voxmix.datasets.dataset import DataSet, LabeledManifest, holds
from voxmix.datasets.task import Part, Task, numbered
from voxmix.datasets.volume_files import gather
from voxmix.errors import InputError
from voxmix.volumes.file_names import is_junk, split_suffix
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.manifest import Manifest, VolumeRecord
from voxmix.volumes.reading.npz_stacks import part_sizes, stack_classes

_PARTS: dict[str, Part] = {"train_images": "train", "val_images": "validation", "test_images": "test"}
_ORGANS = (
    "liver", "right kidney", "left kidney", "right femur", "left femur", "bladder", "heart", "right lung",
    "left lung", "spleen", "pancreas",
)  # fmt: skip


def read_medmnist(root: Path) -> Manifest:
    """Return MedMNIST 3D files (``organmnist3d*.npz``): the official training and validation volumes.

    The test volumes stay for downstream. The file names no person: every volume counts as a subject of its
    own, on the side where its publisher put it. Values are 8 bits, windowed before: the domain's name has no
    modality, so the percentile rule serves. The class is the publisher's number.
    """
    return gather(
        replace(record, split=part)
        for path in _files(root)
        for record, part in _volumes(path, domain=split_suffix(path.name)[0].upper().replace("_", "-"))
        if part != "test"
    )


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*mnist3d*.npz") if not is_junk(path.name))


def _volumes(path: Path, *, domain: str) -> Iterator[tuple[VolumeRecord, Part]]:
    """Yield every volume of a file with its class, and the part in which its publisher put it."""
    stem = split_suffix(path.name)[0]
    classes = stack_classes(path)
    parts = [_PARTS[name] for name, count in part_sizes(path).items() for _ in range(count)]
    for volume, part in enumerate(parts):
        category = classes[volume] if volume < len(classes) else ""
        subject = f"{stem}/{volume}"
        yield VolumeRecord(path=path, domain=domain, subject=subject, volume=volume, category=category), part


def _labeled(task: Task, data: Path) -> LabeledManifest:
    """Return every volume of one file, those for test too, with its class and the publisher's part."""
    files = _files(data) if data.is_dir() else [data]
    total = sum(part_sizes(files[0]).values()) if len(files) == 1 else 0
    if not total:
        raise InputError(f"{data} holds {len(files)} MedMNIST files; give the one file (organmnist3d.npz)")
    path = files[0]
    if (count := len(stack_classes(path))) != total:
        raise InputError(f"{path} has {count} labels for {total} volumes; give the publisher's file as it is")
    volumes = list(_volumes(path, domain=task.source or task.domain))
    return LabeledManifest(
        manifest=Manifest(records=tuple(record for record, _ in volumes)),
        parts={record.subject: part for record, part in volumes},
    )


DATA_SET = DataSet(
    name="medmnist",
    title="OrganMNIST3D",
    expects="`*mnist3d*.npz`",
    traps="the publisher's split is kept, the test part stays for downstream",
    read=read_medmnist,
    shows=holds("*mnist3d*.npz"),
    special=5,
    labeled=_labeled,
    tasks=(
        Task(
            name="organmnist3d",
            kind="classification",
            domain="ABD-CT",
            layout="medmnist",
            classes=numbered(*_ORGANS),
            split=(972, 161, 610),
            zoom=True,
            intensity=IntensityRule(kind="window", low=0, high=255),
            choice="the publisher's split (971 or 972, 161, 610 by edition); values are windowed already and voxels have "
            "no size, so a volume fills the encoder's crop",
        ),
    ),
)
