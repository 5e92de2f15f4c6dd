"""The nine rows of the paper's seven data sets (tables 3, 5 and 7 of arXiv 2605.06859)."""

from voxmix.datasets.task import Task
from voxmix.volumes.intensity import IntensityRule

_AMOS_ORGANS = (
    "background", "spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach",
    "aorta", "postcava", "pancreas", "right adrenal", "left adrenal", "duodenum", "bladder", "prostate or uterus",
)  # fmt: skip
_ORGANMNIST = (
    "liver", "right kidney", "left kidney", "right femur", "left femur", "bladder", "heart", "right lung",
    "left lung", "spleen", "pancreas",
)  # fmt: skip


def _values(*names: str) -> dict[str, tuple[int | float | str, ...]]:
    return {name: (value,) for value, name in enumerate(names)}


def _amos(name: str, domain: str) -> Task:
    return Task(
        name=name,
        kind="segmentation",
        domain=domain,
        layout="amos",
        classes=_values(*_AMOS_ORGANS),
        split=(160, 20, 20),
        pos=1,
        neg=1,
        samples=2,
        score_background=True,
        choice="CT and MRI are tasks of their own, each with the split 160/20/20 or that proportion of fewer; "
        "only labeled subjects of imagesTr, imagesVa and imagesTs count",
    )


def _brats(name: str, domain: str) -> Task:
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


PAPER_TASKS: tuple[Task, ...] = (
    _amos("amos-ct", "ABD-CT"),
    _amos("amos-mri", "ABD-MRI"),
    _brats("brats-t1", "BRAIN-T1"),
    _brats("brats-t2", "BRAIN-T2"),
    Task(
        name="hecktor",
        kind="segmentation",
        domain="HN-CT",
        layout="hecktor",
        classes=_values("background", "primary tumor", "lymph nodes"),
        split=(418, 53, 53),
        pos=4,
        neg=1,
        samples=4,
    ),
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
        choice="the paper has three classes and does not say which; taken as background, hemorrhage inside the brain "
        "(IPH, IVH) and around it (EDH, SAH, SDH), since in its other tasks the background counts; 92 of the "
        "192 subjects are used",
    ),
    Task(
        name="oasis",
        kind="classification",
        domain="BRAIN-T1",
        layout="oasis",
        classes={"CDR=0": ("CDR=0",), "CDR>0": ("CDR>0",)},
        split=(165, 35, 35),
        choice="sessions without a CDR are left out; a subject's repeat session stays on the subject's side",
    ),
    Task(
        name="synbrain-pet",
        kind="classification",
        domain="HN-PET",
        layout="class-folders",
        class_count=5,
        split=(348, 76, 76),
        choice="no public reader was found: a folder per class",
    ),
    Task(
        name="organmnist3d",
        kind="classification",
        domain="ABD-CT",
        layout="medmnist",
        classes=_values(*_ORGANMNIST),
        split=(972, 161, 610),
        zoom=True,
        intensity=IntensityRule(kind="window", low=0, high=255),
        choice="the publisher's split (971 or 972, 161, 610 by edition); values are windowed already and voxels have "
        "no size, so a volume fills the encoder's crop",
    ),
)
