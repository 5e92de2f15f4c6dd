"""BraTS 2023 glioma: four MR contrasts of the brain, with tumors."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from voxmix.datasets.dataset import DataSet, holds
from voxmix.datasets.task import Task
from voxmix.datasets.volume_files import gather, left_out, one_per_name, walk
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord

_DOMAINS = {"t1n": "BRAIN-T1", "t1c": "BRAIN-T1", "t2w": "BRAIN-T2", "t2f": "BRAIN-T2"}


def read_brats(root: Path) -> Manifest:
    """Return BraTS 2023 glioma: T1 and T1 with contrast as BRAIN-T1, T2 and FLAIR as BRAIN-T2.

    The subject is the five-digit number: ``-000`` and ``-001`` are visits of one person.
    """

    def records() -> Iterator[VolumeRecord | SetAside]:
        for folder, names in walk(root):
            if not fnmatchcase(folder.name, "BraTS-*-*-*"):
                continue
            chosen, lost = one_per_name(folder, names)
            yield from left_out(lost, "BRAIN-T1")
            for stem, path in chosen.items():
                contrast = stem.rsplit("-", 1)[-1]
                if contrast in _DOMAINS:
                    yield VolumeRecord(
                        path=path,
                        domain=_DOMAINS[contrast],
                        subject=folder.name.rsplit("-", 1)[0],
                        label=chosen.get(f"{folder.name}-seg"),
                    )

    return gather(records())


def _task(name: str, domain: str) -> Task:
    return Task(
        name=name,
        kind="segmentation",
        domain=domain,
        layout="brats",
        classes={"whole tumor": (1, 2, 3), "tumor core": (1, 3), "enhancing tumor": (3,)},
        regions=True,
        older_labels={4: 3},
        split=(400, 40, 40),
        pos=4,
        neg=1,
        samples=2,
        choice="both contrasts of a domain are cases of their own, on the subject's side of the split",
    )


DATA_SET = DataSet(
    name="brats",
    title="BraTS 2023 glioma",
    traps="visits `-000`, `-001` are one subject; T1 with T1c, T2 with FLAIR",
    read=read_brats,
    shows=holds("BraTS-*-*-*/BraTS-*.nii*", "*/BraTS-*-*-*/BraTS-*.nii*"),
    special=3,
    tasks=(_task("brats-t1", "BRAIN-T1"), _task("brats-t2", "BRAIN-T2")),
)
