"""HECKTOR 2025: CT and PET of head and neck, with tumors and lymph nodes."""

from collections.abc import Iterator
from pathlib import Path

from voxmix.datasets.dataset import DataSet, holds
from voxmix.datasets.task import Task, numbered
from voxmix.datasets.volume_files import gather, left_out, one_per_name, walk
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord

_DOMAINS = {"CT": "HN-CT", "PT": "HN-PET"}


def read_hecktor(root: Path) -> Manifest:
    """Return HECKTOR 2025: ``Task */<patient>/<patient>__{CT,PT}.nii.gz``, tumors labeled on the CT's grid.

    The label map goes with the PET too, whose grid is another: preparing samples it there and says so.
    A patient that several tasks hold is taken from the first; the others are set aside.
    """

    def records() -> Iterator[VolumeRecord | SetAside]:
        seen: set[tuple[str, str]] = set()
        for folder, names in walk(root):
            chosen, lost = one_per_name(folder, names)
            yield from left_out(lost, "HN-CT")
            for stem, path in chosen.items():
                subject, _, kind = stem.partition("__")
                if kind not in _DOMAINS:
                    continue
                domain = _DOMAINS[kind]
                if (subject, kind) in seen:
                    yield SetAside(path=path, domain=domain, reason="the same patient is in another task")
                    continue
                seen.add((subject, kind))
                yield VolumeRecord(path=path, domain=domain, subject=subject, label=chosen.get(subject))

    return gather(records())


DATA_SET = DataSet(
    name="hecktor",
    title="HECKTOR 2025",
    traps="a patient of several tasks is taken once; labels lie on the CT's grid and go with the PET too",
    read=read_hecktor,
    shows=holds("Task */*/*__[CP]T.nii*", "*/*__[CP]T.nii*", "*/Task */*/*__[CP]T.nii*"),
    special=3,
    tasks=(
        Task(
            name="hecktor",
            kind="segmentation",
            domain="HN-CT",
            layout="hecktor",
            classes=numbered("background", "primary tumor", "lymph nodes"),
            split=(418, 53, 53),
            pos=4,
            neg=1,
            samples=4,
        ),
    ),
)
