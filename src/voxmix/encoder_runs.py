"""One run that continues or begins an encoder: its settings, its images, its id; readable without torch.

A run is an objective (:mod:`voxmix.objective_rows`) that a backbone learns from a nested subset of images. What differs
between runs of a study is the objective, the number of samples and the seed; everything else is shared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float16, Int

from voxmix._io import digest
from voxmix.backbone_rows import BackboneSettings, backbone_from_dict
from voxmix.design import BudgetUnit, check_budget
from voxmix.errors import InputError
from voxmix.objective_rows import OBJECTIVES, ObjectiveSettings
from voxmix.run_settings import LATER, TrainingSettings, at_least, from_identity, identity

ENCODER_RUN_FORMAT = 1


@runtime_checkable
class Item(Protocol):
    """One image or volume, as its index describes it; nothing here names a person.

    Attributes:
        key: digest of content and recipe.
        domain: where it is from, or what it shows.
        person: pseudonym; subsets never cut a person in two.
        split: "train" or "validation"; whole persons.
        shape: of its array.
        has_text: whether it has a report of at least one token.
        labels: label to 1 (present), 0 (absent); a label that is not known is left out.
    """

    @property
    def key(self) -> str: ...

    @property
    def domain(self) -> str: ...

    @property
    def person(self) -> str: ...

    @property
    def split(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def has_text(self) -> bool: ...

    @property
    def labels(self) -> Mapping[str, int]: ...


@runtime_checkable
class Source(Protocol):
    """Prepared images (axes 2) or volumes (axes 3), with the reports that some of them have.

    Attributes:
        digest: of everything that is prepared; part of the id of a run that reads texts.
        pictures: digest of the arrays and of who is held out alone; part of the id of a run that reads no texts.
        axes: 2 or 3.
        items: in one fixed order.
        label_names: every label that any item has, sorted.
        tokenizer: digest of the tokenizer; "" where there are no texts.
    """

    @property
    def digest(self) -> str: ...

    @property
    def pictures(self) -> str: ...

    @property
    def axes(self) -> int: ...

    @property
    def items(self) -> Sequence[Item]: ...

    @property
    def label_names(self) -> tuple[str, ...]: ...

    @property
    def tokenizer(self) -> str: ...

    def array(self, item: Item) -> Float16[np.ndarray, "*edge"]:
        """Return the array of an item, in [0, 1]."""

    def tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Return the tokens of an item's report, without padding; none where it has no report."""

    def label_tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Return the tokens of the names of the labels that are present, sorted, or of "no finding" where none is.

        The text of an image-label pair (UniCL): items of equal labels have equal tokens. None where no label is known.
        """


def learned_from(source: Source, objective: str) -> str:
    """Return the digest of what an objective reads of a source: everything, or the arrays alone where it reads no texts.

    So a report or a label that changes makes no run of dino or mae again.
    """
    return source.digest if OBJECTIVES[objective].reads_texts else source.pictures


def subset_digest(items: Iterable[Item]) -> str:
    """Return what identifies a subset of images: the digest of their keys, whatever their order."""
    return digest(sorted(item.key for item in items))


@dataclass(frozen=True, slots=True, eq=False)
class SourceSubset:
    """A source of which fewer images are drawn from; those of validation persons stay. It is a :class:`Source`.

    Attributes:
        whole: the source.
        keys: of the images for training.
    """

    whole: Source
    keys: frozenset[str]

    @property
    def digest(self) -> str:
        """Digest of the whole: it was prepared once."""
        return self.whole.digest

    @property
    def pictures(self) -> str:
        """Digest of the arrays of the whole."""
        return self.whole.pictures

    @property
    def axes(self) -> int:
        """2 or 3."""
        return self.whole.axes

    @property
    def items(self) -> Sequence[Item]:
        """The images of the subset and those of validation persons, in the order of the whole."""
        return tuple(item for item in self.whole.items if item.split != "train" or item.key in self.keys)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Every label that any item of the whole has, sorted."""
        return self.whole.label_names

    @property
    def tokenizer(self) -> str:
        """Digest of the tokenizer."""
        return self.whole.tokenizer

    def array(self, item: Item) -> Float16[np.ndarray, "*edge"]:
        """Return the array of an item, in [0, 1]."""
        return self.whole.array(item)

    def tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Return the tokens of an item's report."""
        return self.whole.tokens(item)

    def label_tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Return the tokens of the names of an item's labels."""
        return self.whole.label_tokens(item)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSettings:
    """The text transformer of contrastive objectives. Defaults: a small one; CLIP's is 512 wide, 12 deep, 8 heads."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    width: int = 512
    """Width; a multiple of heads."""
    depth: int = 12
    """Layers."""
    heads: int = 8
    """Attention heads."""
    context: int = 77
    """Most tokens of a report that are read, begin and end included (CLIP: 77)."""
    vocabulary: int = 8192
    """Entries of the tokenizer that prepare fits on the training side; one that is given keeps its own."""
    causal: bool = False
    """Whether a token sees only those before it (CLIP: true; MedImageInsight: false)."""
    style: Literal["clip", "clip-gelu", "unicl"] = field(default="clip", metadata=LATER)
    """What open weights fix beyond sizes: activation and norms; see encoders/text.py."""
    pooled: Literal["end", "first"] = field(default="end", metadata=LATER)
    """Which token stands for the report: its last, as CLIP and MedImageInsight, or its first."""

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads"):
            at_least(self, name, 1)
        at_least(self, "context", 3)
        at_least(self, "vocabulary", 3)  # begin, end and padding; one that is fitted has all bytes besides
        if self.width % self.heads:
            raise InputError(
                f"text width must be a multiple of heads, got width {self.width} and heads {self.heads}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewSettings:
    """How a draw becomes what the network sees: a random part of the image, resized, with lightly changed intensities.

    Intensities change as :class:`~voxmix.run_settings.TrainingSettings` says. Nothing is mirrored: left and right are findings.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    area: tuple[float, float] = (0.5, 1.0)
    """Smallest and largest part of the image that is seen (RandomResizedCrop)."""
    aspect: float = 1.15
    """Largest ratio of the edges of that part."""
    rotation_degrees: float = 5.0
    """Largest rotation, either way."""

    def __post_init__(self) -> None:
        low, high = self.area
        if not 0 < low <= high <= 1:
            raise InputError(f"area must be two numbers with 0 < least <= most <= 1, got {list(self.area)}")
        at_least(self, "aspect", 1)
        at_least(self, "rotation_degrees", 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchSettings:
    """A probe of the frozen encoder at the start of a run and along it: an alarm rings where it falls. Changes no run.

    On by default, because it costs at most a tenth of a run's computation, and little of a long one's.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    images: int = 256
    """Most images of training persons, with labels, that the probe reads; fewer where they would cost more than a tenth of a
    run, and none where labels are too few."""
    times: int = 4
    """Looks along the run, the last one at its end; besides that at its start. 0 for none at all."""

    def __post_init__(self) -> None:
        at_least(self, "images", 1)
        at_least(self, "times", 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Weights that a run begins from.

    Attributes:
        name: what the study calls them.
        digest: of weights and configuration, so that other weights are another run.
    """

    name: str
    digest: str


@dataclass(frozen=True, kw_only=True)  # no slots: its digest is kept
class EncoderSpec:
    """One encoder run by its numbers alone.

    Attributes:
        objective: a row of :data:`voxmix.objective_rows.OBJECTIVES`.
        objective_settings: of that row's class.
        samples: images of the subset that it draws from.
        subset: their :func:`subset_digest`.
        warm_draws: draws of the budget in which a fresh head is trained with the backbone frozen; 0 for none.
        cache: digest of the prepared images, see :func:`learned_from`.
        tokenizer: digest of the tokenizer; "" where the objective reads no texts.

    Raises:
        InputError: a budget or number of samples below 1, or settings of another objective.
    """

    objective: str
    objective_settings: ObjectiveSettings
    backbone: BackboneSettings
    samples: int
    subset: str
    seed: int
    budget: int
    budget_unit: BudgetUnit = "draws"
    start: Start | None = None
    warm_draws: int = 0
    text: TextSettings = field(default_factory=TextSettings)
    views: ViewSettings = field(default_factory=ViewSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    cache: str = ""
    tokenizer: str = ""

    def __post_init__(self) -> None:
        check_budget(self.budget)
        at_least(self, "samples", 1)
        at_least(self, "warm_draws", 0)
        kind = OBJECTIVES[self.objective].settings
        if not isinstance(self.objective_settings, kind):
            raise InputError(
                f"objective {self.objective} needs {kind.__name__}, got {type(self.objective_settings).__name__}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-like data; :meth:`from_dict` is its inverse."""
        reads_texts = OBJECTIVES[self.objective].reads_texts
        return {
            "format": ENCODER_RUN_FORMAT,
            "objective": self.objective,
            "objective_settings": identity(self.objective_settings),
            "backbone": {"name": self.backbone.name, **identity(self.backbone)},
            "samples": self.samples,
            "subset": self.subset,
            "seed": self.seed,
            "budget": self.budget,
            "budget_unit": self.budget_unit,
            "start": None if self.start is None else {"name": self.start.name, "digest": self.start.digest},
            "warm_draws": self.warm_draws,
            "text": identity(self.text) if reads_texts else None,
            "views": identity(self.views),
            "training": identity(self.training),
            "cache": self.cache,
            "tokenizer": self.tokenizer,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "EncoderSpec":
        """Return the spec written by :meth:`as_dict`.

        Raises:
            InputError: another format, or a part that is missing or not known.
        """
        if not isinstance(value, dict) or value.get("format") != ENCODER_RUN_FORMAT:
            found = value.get("format") if isinstance(value, dict) else type(value).__name__
            raise InputError(
                f"encoder run has format {found!r}, this voxmix reads {ENCODER_RUN_FORMAT}; delete the run's folder, "
                "it will be made again"
            )
        try:
            known = {key: item for key, item in value.items() if key != "format"}
            return cls(
                **known
                | {
                    "objective_settings": from_identity(
                        OBJECTIVES[known["objective"]].settings, known["objective_settings"]
                    ),
                    "backbone": backbone_from_dict(known["backbone"]),
                    "start": None if known["start"] is None else Start(**known["start"]),
                    "text": from_identity(TextSettings, known["text"] or {}),
                    "views": from_identity(ViewSettings, known["views"]),
                    "training": from_identity(TrainingSettings, known["training"]),
                }
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"encoder run is damaged or of a later voxmix ({error}); delete the run's folder, it will be made again"
            ) from None

    @cached_property
    def run_id(self) -> str:
        """Digest of the spec: same spec, same run. The name of its start has no part in it, the digest has."""
        value = self.as_dict()
        if self.start is not None:
            value["start"] = self.start.digest
        return digest(value)
