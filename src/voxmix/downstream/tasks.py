"""Clinical tasks as rows: the paper's seven data sets, and the user's own from a YAML file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from voxmix.domain import check_domain_name
from voxmix.errors import InputError
from voxmix.store import checked
from voxmix.volumes.intensity import IntensityRule

Kind = Literal["segmentation", "classification"]
TASKS_FILE = "tasks.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassTable:
    """A CSV that gives the class of every case: ``id`` names the case's file, folder or subject.

    ``file`` lies below the data set's folder; ``value`` is the column with the class.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    file: str
    id: str = "path"
    value: str = "class"


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One row of the table of tasks.

    Attributes:
        name: names the row, its folder and its line in tables.
        kind: segmentation or classification.
        domain: domain of the pretraining study whose intensity rule the images take; also the domain of the
            *single* initialization.
        classes: name to the values that mean it. Segmentation: whole numbers in the label maps, the first class
            being the background, 0. Classification: what the table, the folder or the file says. Empty for
            classification: every value that is found, sorted.
        class_count: number of classes to find where ``classes`` is empty; 0 for any.
        layout: how the data set's files lie: a name of :data:`voxmix.volumes.public_sets.LAYOUTS`, ``csv`` or
            ``class-folders`` (a folder per class).
        data: the data set's folder (or CSV); relative to the file that holds the row.
        source: name that the layout gives to the images to take, where it is not ``domain``.
        regions: classes overlap, each with a mask and a sigmoid of its own; there is no background class then.
        older_labels: value in older editions of the data set to today's value.
        unlisted: what to do with a case whose label map has a value of no class: ``refuse`` sets the case
            aside, ``background`` counts the value as background.
        split: subjects for training, validation and test, as numbers or as shares.
        pos, neg, samples: crops centered on a labeled voxel, and on background, in this proportion; crops per case
            in a row (the paper's table 7).
        score_background: whether scores include the background (table 7).
        table: where the classes stand, for classification.
        keep_frame: the image's own frame tells something (what lies in its middle), so it is not cropped to its
            foreground as volumes for pretraining are.
        zoom: volumes have no size in mm: they are resampled to fill the encoder's crop, and keep their frame.
        intensity: rule in place of the domain's, where values are not in the domain's unit any more.
        settings: changes to the finetuning settings.
        choice: what the paper leaves open, and what was chosen.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    name: str
    kind: Kind
    domain: str
    classes: dict[str, tuple[int | float | str, ...]] = field(default_factory=dict)
    class_count: int = 0
    layout: str = "folder"
    data: str = ""
    source: str = ""
    regions: bool = False
    older_labels: dict[int, int] = field(default_factory=dict)
    unlisted: Literal["refuse", "background"] = "refuse"
    split: tuple[float, float, float] = (0.7, 0.1, 0.2)
    pos: float = 1.0
    neg: float = 1.0
    samples: int = 2
    score_background: bool = False
    table: ClassTable | None = None
    keep_frame: bool = False
    zoom: bool = False
    intensity: IntensityRule | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    choice: str = ""

    def __post_init__(self) -> None:
        check_domain_name(self.name)
        check_domain_name(self.domain)
        if min(self.split) <= 0:
            raise InputError(f"task {self.name}: split needs three numbers above 0, got {list(self.split)}")
        if self.pos < 0 or self.neg < 0 or self.pos + self.neg <= 0:
            raise InputError(f"task {self.name}: pos and neg must not be negative, nor both 0")
        if self.samples < 1:
            raise InputError(f"task {self.name}: samples must be at least 1, got {self.samples}")
        if self.kind == "segmentation":
            self._check_label_values()
        elif self.regions:
            raise InputError(f"task {self.name}: regions are for segmentation; leave them out")

    def _check_label_values(self) -> None:
        if len(self.classes) < (1 if self.regions else 2):
            raise InputError(
                f"task {self.name} names {len(self.classes)} classes; name the background and more"
            )
        values = [value for group in self.classes.values() for value in group]
        if any(isinstance(v, bool) or not isinstance(v, int) or not 0 <= v < 256 for v in values):
            raise InputError(f"task {self.name}: label values are whole numbers from 0 to 255, got {values}")
        if self.regions:
            if 0 in values:
                raise InputError(f"task {self.name}: value 0 is what lies in no region; take it out")
            return
        if len(set(values)) != len(values):
            raise InputError(
                f"task {self.name}: a label value stands in two classes; use regions: true to overlap"
            )
        first = next(iter(self.classes.values()))
        if 0 not in first:
            raise InputError(f"task {self.name}: the first class must be the background, with value 0")

    def as_dict(self) -> dict[str, Any]:
        """Return what decides the result, as JSON-like data: all but where the data lie and the notes."""
        value = asdict(self)
        for name in ("data", "choice", "settings"):
            del value[name]
        return value

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return tuple(self.classes)


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
"""The nine rows of the paper's seven data sets (tables 3, 5 and 7 of arXiv 2605.06859)."""


def read_tasks(path: Path | None) -> dict[str, Task]:
    """Return the paper's tasks and those of a file, by name.

    The file maps names to rows. A row with ``like: NAME`` starts from that row (of the table, or above it in
    the file), so ``{like: amos-ct, data: /data/amos22}`` is all that a data set of the paper needs. ``data`` may
    be relative to the file.

    Raises:
        InputError: not YAML, an unknown key (the nearest is named), or a value that cannot be used.
    """
    tasks = {task.name: task for task in PAPER_TASKS}
    if path is None or not path.exists():
        return tasks
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {error}; mend the line it names") from None
    if not isinstance(rows, dict):
        raise InputError(f"{path} should map names of tasks to their settings, found {type(rows).__name__}")
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise InputError(f"{path}: task {name!r} should hold settings (key: value), found {row!r}")
        tasks[str(name)] = _row(str(name), row, tasks, path)
    return tasks


def _row(name: str, row: Mapping[str, Any], tasks: Mapping[str, Task], path: Path) -> Task:
    values = {
        key: _listed(value) if key == "classes" else value for key, value in row.items() if key != "like"
    }
    start: dict[str, Any] = {}
    if "like" in row:
        if row["like"] not in tasks:
            raise InputError(
                f"{path}: task {name} is like {row['like']!r}, which is unknown; there are {list(tasks)}"
            )
        start = asdict(tasks[row["like"]])
        values["settings"] = {**start["settings"], **values.get("settings", {})}
    task = checked(Task, {**start, **values, "name": name}, where=f"{path}, task {name}")
    if not task.data or Path(task.data).is_absolute():
        return task
    return replace(task, data=str(path.parent / task.data)) if "data" in row else task


def _listed(classes: Any) -> Any:
    """Return classes with every value as a list, so that ``liver: 1`` may stand for ``liver: [1]``."""
    if not isinstance(classes, dict):
        return classes
    return {name: value if isinstance(value, list) else [value] for name, value in classes.items()}


def find_task(name: str, path: Path | None) -> Task:
    """Return a task by name.

    Raises:
        InputError: no such row; names those that exist.
    """
    tasks = read_tasks(path)
    if name not in tasks:
        raise InputError(
            f"unknown task {name!r}; choose one of {list(tasks)}, or add a row to {path or TASKS_FILE}"
        )
    return tasks[name]
