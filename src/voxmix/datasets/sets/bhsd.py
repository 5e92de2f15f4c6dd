"""BHSD: head CT with hemorrhages."""

from collections.abc import Iterator
from pathlib import Path

from voxmix.datasets.dataset import DataSet, holds
from voxmix.datasets.task import Task
from voxmix.datasets.volume_files import gather, left_out, volumes_in
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord


def read_bhsd(root: Path) -> Manifest:
    """Return BHSD: head CT with five kinds of hemorrhage (1 EDH, 2 IPH, 3 IVH, 4 SAH, 5 SDH)."""

    def records() -> Iterator[VolumeRecord | SetAside]:
        folder = root if (root / "images").is_dir() else root / "label_192"
        chosen, lost = volumes_in(folder / "images")
        maps, _ = volumes_in(folder / "ground truths")
        yield from left_out(lost, "HEAD-CT")
        for stem, path in chosen.items():
            yield VolumeRecord(path=path, domain="HEAD-CT", subject=stem, label=maps.get(stem))

    return gather(records())


DATA_SET = DataSet(
    name="bhsd",
    title="BHSD",
    traps="`ground truths` has a space",
    read=read_bhsd,
    shows=holds("label_192/images", "ground truths"),
    special=4,
    tasks=(
        Task(
            name="bhsd",
            kind="segmentation",
            domain="HN-CT",
            layout="bhsd",
            source="HEAD-CT",
            classes={"background": (0,), "inside the brain": (2, 3), "around the brain": (1, 4, 5)},
            split=(72, 10, 10),
            pos=4,
            neg=1,
            samples=4,
            choice="the paper has three classes and does not say which; taken as background, hemorrhage inside the "
            "brain (IPH, IVH) and around it (EDH, SAH, SDH), since in its other tasks the background counts; 92 of "
            "the 192 subjects are used",
        ),
    ),
)
