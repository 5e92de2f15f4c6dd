"""Task: one clinical task as data, a row with no code of its own."""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from voxmix.domain import check_domain_name
from voxmix.errors import InputError
from voxmix.runs.files import FinetuningKind
from voxmix.volumes.intensity import IntensityRule

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

MAX_LABEL = 65535
"""Highest value of a label map (FreeSurfer's tables go to 14175)."""

IGNORED = 255
"""What a voxel that nobody knows is in the label maps that a network sees."""


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
        layout: how the data set's files lie: a name of :data:`voxmix.datasets.LAYOUTS`, ``csv`` or ``class-folders``
            (a folder per class).
        data: the data set's folder (or CSV); relative to the file that holds the row.
        source: name that the layout gives to the images to take, where it is not ``domain``.
        regions: classes overlap, each with a mask and a sigmoid of its own; there is no background class then.
        older_labels: value in older editions of the data set to today's value.
        label_volume: which volume of 4D label maps holds the labels, from 0.
        unlisted: what to do with a case whose label map has a value of no class: ``refuse`` sets the case
            aside, ``background`` counts the value as background.
        ignore: values in the label maps that say nobody knows: such voxels count in no loss and no score (nnU-Net's
            ignore label).
        split: subjects for training, validation and test, as numbers or as shares.
        pos, neg, samples: crops centered on a labeled voxel, and on background, in this proportion; crops per case
            in a row (the paper's table 7).
        score_background: whether scores include the background (table 7).
        table: where the classes stand, for classification.
        subject_pattern: regular expression whose first group, or whole match, is the person in a subject's name: joins
            sessions of one person, who is then in one part of the split.
        keep_frame: the image's own frame tells something (what lies in its middle), so it is not cropped to its
            foreground as volumes for pretraining are.
        zoom: volumes have no size in mm: they are resampled to fill the encoder's crop, and keep their frame.
        intensity: rule in place of the domain's, where values are not in the domain's unit any more.
        settings: changes to the finetuning settings.
        choice: what the paper leaves open, and what was chosen.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    name: str
    kind: FinetuningKind
    domain: str
    classes: dict[str, tuple[int | float | str, ...]] = field(default_factory=dict)
    class_count: int = 0
    layout: str = "folder"
    data: str = ""
    source: str = ""
    regions: bool = False
    older_labels: dict[int, int] = field(default_factory=dict)
    label_volume: int | None = None
    unlisted: Literal["refuse", "background"] = "refuse"
    ignore: tuple[int, ...] = ()
    split: tuple[float, float, float] = (0.7, 0.1, 0.2)
    pos: float = 1.0
    neg: float = 1.0
    samples: int = 2
    score_background: bool = False
    table: ClassTable | None = None
    subject_pattern: str = ""
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
        if self.label_volume is not None and self.label_volume < 0:
            raise InputError(f"task {self.name}: label_volume counts from 0, got {self.label_volume}")
        if self.samples < 1:
            raise InputError(f"task {self.name}: samples must be at least 1, got {self.samples}")
        if self.kind == "segmentation":
            self._check_label_values()
        elif self.regions or self.ignore:
            raise InputError(f"task {self.name}: regions and ignore are for segmentation; leave them out")

    def _check_label_values(self) -> None:
        if len(self.classes) < (1 if self.regions else 2):
            raise InputError(
                f"task {self.name} names {len(self.classes)} classes; name the background and more"
            )
        values = [value for group in self.classes.values() for value in group]
        numbers = [*values, *self.ignore, *self.older_labels, *self.older_labels.values()]
        if any(isinstance(v, bool) or not isinstance(v, int) or not 0 <= v <= MAX_LABEL for v in numbers):
            raise InputError(
                f"task {self.name}: label values are whole numbers from 0 to {MAX_LABEL}, got {numbers}"
            )
        if 0 in self.ignore or set(self.ignore) & set(values):
            raise InputError(
                f"task {self.name}: ignore {list(self.ignore)} holds 0 or a value of a class; a value is one or the other"
            )
        if len(set(values)) >= IGNORED or len(self.classes) >= IGNORED:
            raise InputError(
                f"task {self.name} has {len(set(values))} label values; use at most {IGNORED - 1}"
            )
        if self.regions:
            if 0 in values:
                raise InputError(f"task {self.name}: value 0 is what lies in no region; take it out")
            return
        if len(set(values)) != len(values):
            raise InputError(
                f"task {self.name}: a label value is in two classes; use regions: true to overlap"
            )
        first = next(iter(self.classes.values()))
        if 0 not in first:
            raise InputError(f"task {self.name}: the first class must be the background, with value 0")

    def as_dict(self) -> dict[str, Any]:
        """Return what decides the result, as JSON-like data: all but where the data lie and the notes."""
        value = asdict(self)
        for name in ("data", "choice", "settings"):
            del value[name]
        for name in ("label_volume", "subject_pattern", "ignore"):
            if value[name] in (None, "", (), []):  # Of a later voxmix: in the digest only where it is used.
                del value[name]
        return value

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Task":
        """Return the task written by :meth:`as_dict`, with the same digest: a whole number stays one (1, not 1.0).

        Raises:
            InputError: values that do not go together.
            KeyError, TypeError, ValueError, AttributeError: another form.
        """
        parts = dict(value)
        parts["classes"] = {name: tuple(values) for name, values in value["classes"].items()}
        parts["older_labels"] = {int(old): new for old, new in value["older_labels"].items()}
        for name in ("split", "ignore"):
            parts |= {name: tuple(value[name])} if name in value else {}
        for name, kind in (("table", ClassTable), ("intensity", IntensityRule)):
            parts |= {name: kind(**value[name])} if value[name] is not None else {}
        return cls(**parts)

    @property
    def codes(self) -> dict[int, int]:
        """What the values of overlapping classes are in the label maps that a network sees: themselves where they fit."""
        values = sorted({int(value) for group in self.classes.values() for value in group})
        fits = not values or max(values) < IGNORED
        return {value: value if fits else number for number, value in enumerate(values, start=1)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return tuple(self.classes)


def numbered(*names: str) -> dict[str, tuple[int | float | str, ...]]:
    """Return classes by name whose value is their place in the list, from 0."""
    return {name: (value,) for value, name in enumerate(names)}
