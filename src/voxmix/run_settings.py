"""What a run depends on besides its mixture, budget and seed: network, training, held-out crops."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from types import NoneType
from typing import Any, ClassVar, Literal, TypeVar

from voxmix.errors import InputError
from voxmix.grid import Grid
from voxmix.networks import NETWORKS

Settings = TypeVar("Settings")
LATER = {"later": True}  # a setting that came after runs existed: left out of the id at its default

_PLAIN = (str, int, float, bool, NoneType)


def identity(settings: Any) -> dict[str, Any]:
    """Return settings as they enter a run's id or a step's digest: a later one only where it is not at its default."""
    found = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if not _is_plain(value):
            value = asdict(settings)[item.name]
        if not (item.metadata.get("later") and value == _default(item)):
            found[item.name] = value
    return found


def _is_plain(value: Any) -> bool:
    """Return whether a value holds nothing that could be changed, so that it need not be copied."""
    if isinstance(value, tuple):
        return all(isinstance(item, _PLAIN) for item in value)
    return isinstance(value, _PLAIN)


def from_identity(kind: type[Settings], value: Mapping[str, Any]) -> Settings:
    """Return settings of a class from what :func:`identity` gave, read from JSON or not: its lists were tuples."""
    return kind(**{name: tuple(item) if isinstance(item, list) else item for name, item in value.items()})


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def at_least(owner: object, name: str, low: float) -> None:
    value = getattr(owner, name)
    if not value >= low:
        raise InputError(f"{name} must be at least {low}, got {value}")


def _whole_multiple(owner: object, name: str, unit: str) -> None:
    value, step = getattr(owner, name), getattr(owner, unit)
    if value % step:
        raise InputError(f"{name} must be a multiple of {unit}, got {name} {value} and {unit} {step}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """The masked autoencoder. The defaults are the paper's encoder (table 8, section A.3).

    ``crop`` and ``patch`` are edges in voxels of a cube (with ``axes`` 2, in pixels of a square); ``mask_ratio`` is
    the share of patches hidden. The decoder's size is a default of the field (He et al. 2022), not of the paper.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    name: str = "mae"
    """mae: the encoder sees visible patches only, fast. unetr: the paper's network, many times the cost."""
    crop: int = 96
    """Edge of the cube that a run sees of a volume, in voxels; a multiple of patch."""
    patch: int = 16
    """Edge of a patch (one token), in voxels."""
    width: int = 768
    """Width of the encoder; a multiple of heads."""
    depth: int = 12
    """Layers of the encoder."""
    heads: int = 12
    """Attention heads of the encoder."""
    mlp_ratio: float = 4.0
    """Width of the hidden layer of each block, in units of width."""
    decoder_width: int = 384
    """Width of the decoder of mae; a multiple of decoder_heads."""
    decoder_depth: int = 4
    """Layers of the decoder of mae."""
    decoder_heads: int = 12
    """Attention heads of the decoder of mae."""
    mask_ratio: float = 0.75
    """Share of the patches that is hidden and predicted."""
    axes: Literal[2, 3] = field(default=3, metadata=LATER)
    """Axes of a crop: 3 for volumes. 2, for images, is for networks built in Python; a study refuses it."""

    def __post_init__(self) -> None:
        for name in (
            "crop",
            "patch",
            "width",
            "depth",
            "heads",
            "decoder_width",
            "decoder_depth",
            "decoder_heads",
        ):
            at_least(self, name, 1)
        _ = NETWORKS[self.name]  # refuses a name that is not known
        _ = self.grid  # checks that patches fill a crop
        _whole_multiple(self, "width", "heads")
        _whole_multiple(self, "decoder_width", "decoder_heads")
        if not 0 < self.mask_ratio < 1:
            raise InputError(
                f"mask_ratio must lie between 0 and 1, got {self.mask_ratio}; the paper hides 0.75"
            )

    @property
    def grid(self) -> Grid:
        """The crop and its patches."""
        return Grid.of(self.crop, self.patch, axes=self.axes)

    @property
    def unread(self) -> tuple[str, ...]:
        """Names of the settings that this network does not read."""
        return NETWORKS[self.name].unread

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Names of the settings that this network does not read and that are not at their default."""
        return tuple(
            item.name
            for item in fields(self)
            if item.name in self.unread and getattr(self, item.name) != _default(item)
        )

    @property
    def effective(self) -> "ModelSettings":
        """The same network with every setting that it does not read at its default."""
        return replace(self, **{f.name: _default(f) for f in fields(self) if f.name in self.unread})


Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """Optimization and light augmentation of one run (spec: AdamW, cosine, warm-up fixed across budgets).

    Probabilities are per draw. ``scale``, ``contrast`` and ``noise`` are the half-width of the intensity
    factor, of the log of the exponent (gamma), and the standard deviation added, in units of [0, 1].

    ``schedule`` is the learning rate after warm-up: half a cosine over the whole run, or a ``trunk`` at
    constant rate whose last ``cooldown`` share of steps falls to 0. Runs that differ in budget alone share the
    trunk (Hägele et al. 2024, arXiv 2405.18392, whose default share is 0.2). ``precision`` is
    lightning-fabric's; what can be told from the losses is part of a run's id.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    learning_rate: float = 1e-4
    """Peak learning rate of AdamW."""
    batch_size: int = 8
    """Draws per step."""
    weight_decay: float = 0.05
    """Weight decay of AdamW."""
    beta1: float = 0.9
    """Decay of the mean of gradients."""
    beta2: float = 0.95
    """Decay of the mean of squared gradients."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises; the same for every budget."""
    clip_norm: float = 1.0
    """Largest norm of a step's gradient."""
    scale: float = 0.1
    """Intensities are multiplied by a factor within 1 ± scale."""
    scale_probability: float = 0.5
    """Share of draws whose intensities are scaled."""
    contrast: float = 0.2
    """Intensities are raised to a power within exp(± contrast)."""
    contrast_probability: float = 0.2
    """Share of draws whose contrast is changed."""
    noise: float = 0.02
    """Standard deviation of the noise that is added, in units of [0, 1]."""
    noise_probability: float = 0.2
    """Share of draws that noise is added to."""
    schedule: Literal["cosine", "trunk"] = field(default="cosine", metadata=LATER)
    """cosine: half a cosine over each run. trunk: runs that differ in budget alone share their first part."""
    cooldown: float = field(default=0.2, metadata=LATER)
    """With trunk: the last share of steps, over which the learning rate falls to 0."""
    precision: Precision = field(default="32-true", metadata=LATER)
    """Number format of the network: 32-true, bf16-mixed, 16-mixed or bf16-true."""

    def __post_init__(self) -> None:
        at_least(self, "batch_size", 1)
        for name in ("weight_decay", "warmup_steps", "scale", "contrast", "noise"):
            at_least(self, name, 0)
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("scale_probability", "contrast_probability", "noise_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0 < self.cooldown < 1:
            raise InputError(f"cooldown must lie between 0 and 1, got {self.cooldown}; e.g. 0.2")
        if self.schedule == "cosine" and self.cooldown != 0.2:
            raise InputError(
                f"cooldown {self.cooldown} has no effect with schedule cosine; set schedule to trunk, or leave "
                "cooldown out"
            )

    def steps(self, draws: int) -> int:
        """Return the steps of a run of so many draws; the last batch is smaller where they ask for it."""
        return math.ceil(draws / self.batch_size)

    def branch_step(self, draws: int) -> int:
        """Return the steps that a run shares with longer runs of its trunk: 0 without a trunk.

        Raises:
            InputError: the cooldown would begin before warm-up ends.
        """
        if self.schedule != "trunk":
            return 0
        steps = self.steps(draws)
        shared = steps - max(round(self.cooldown * steps), 1)
        if shared < self.warmup_steps:
            raise InputError(
                f"a budget of {draws} draws is {steps} steps, and its cooldown would begin at step {shared}, "
                f"before warm-up ends at {self.warmup_steps}; raise the budget, or lower warmup_steps, "
                "batch_size or cooldown"
            )
        return shared

    def draws_from_branch(self, branch: int) -> int:
        """Return the draws of a run of whole batches whose cooldown begins after ``branch`` steps."""
        steps = max(branch, self.warmup_steps) + 1
        while self.branch_step(steps * self.batch_size) < branch:
            steps += 1
        return steps * self.batch_size


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSettings:
    """The fixed crops and fixed masks on which every run of a study is measured."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    crops_per_domain: int = 64
    """Held-out crops on which each run's loss is measured, per domain."""
    seed: int = 20260509
    """Decides which crops and masks these are."""

    def __post_init__(self) -> None:
        at_least(self, "crops_per_domain", 1)
