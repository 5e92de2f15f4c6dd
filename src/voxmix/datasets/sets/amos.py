"""AMOS 2022: abdominal CT and MRI with 15 organs."""

import re
from collections.abc import Iterator
from pathlib import Path

from voxmix.datasets.dataset import DataSet
from voxmix.datasets.lists import has_images_tr
from voxmix.datasets.task import Task, numbered
from voxmix.datasets.volume_files import gather, left_out, volumes_in
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord

_LAST_CT, _LAST_MR = 500, 600


def read_amos(root: Path) -> Manifest:
    """Return AMOS 2022: CT for ids up to 500, MRI for 501 to 600.

    What lies above (the unlabelled part, of which 5514 and 5437 are damaged) names no modality and is set
    aside.
    """

    def records() -> Iterator[VolumeRecord | SetAside]:
        for images, labels in (("imagesTr", "labelsTr"), ("imagesVa", "labelsVa"), ("imagesTs", "labelsTs")):
            chosen, lost = volumes_in(root / images)
            maps, _ = volumes_in(root / labels)
            yield from left_out(lost, "ABD")
            for stem, path in chosen.items():
                if not stem.startswith("amos_"):
                    continue
                number = int(re.sub(r"\D", "", stem)[:9] or 0)
                if not 1 <= number <= _LAST_MR:
                    reason = "AMOS id above 600: its modality is not known"
                    yield SetAside(path=path, domain="ABD", reason=reason)
                    continue
                yield VolumeRecord(
                    path=path,
                    domain="ABD-CT" if number <= _LAST_CT else "ABD-MRI",
                    subject=f"amos_{number:04d}",
                    label=maps.get(stem),
                )

    return gather(records())


_ORGANS = (
    "background", "spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach",
    "aorta", "postcava", "pancreas", "right adrenal", "left adrenal", "duodenum", "bladder", "prostate or uterus",
)  # fmt: skip


def _task(name: str, domain: str) -> Task:
    return Task(
        name=name,
        kind="segmentation",
        domain=domain,
        layout="amos",
        classes=numbered(*_ORGANS),
        split=(160, 20, 20),
        pos=1,
        neg=1,
        samples=2,
        score_background=True,
        choice="CT and MRI are tasks of their own, each with the split 160/20/20 or that proportion of fewer; "
        "only labeled subjects of imagesTr, imagesVa and imagesTs count",
    )


def _shown(root: Path) -> bool:
    return has_images_tr(root) and any(root.glob("images*/amos_*.nii*"))


DATA_SET = DataSet(
    name="amos",
    title="AMOS 2022",
    traps="CT up to id 500, MRI 501 to 600; the unlabeled rest names no modality and is set aside",
    read=read_amos,
    shows=_shown,
    special=8,
    tasks=(_task("amos-ct", "ABD-CT"), _task("amos-mri", "ABD-MRI")),
)
