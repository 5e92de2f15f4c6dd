"""Which runs a study makes: RunSpec, the settings a run depends on, and StudyDesign."""

import math
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from voxmix._io import digest
from voxmix.errors import InputError
from voxmix.grid import Grid
from voxmix.mixture import Mixture, check_domains
from voxmix.networks import NETWORKS

RUN_FORMAT = 1
BudgetUnit = Literal["draws", "flops", "seconds"]
LATER = {"later": True}  # a setting that came after runs existed: left out of the id at its default

NOT_A_KEY = {**LATER, "key": False}  # an argument of a function that study.yaml does not know


def identity(settings: Any) -> dict[str, Any]:
    """Return settings as they enter a run's id or a step's digest: a later one only where it is not at its default."""
    values = asdict(settings)
    return {
        item.name: values[item.name]
        for item in fields(settings)
        if not (item.metadata.get("later") and values[item.name] == _default(item))
    }


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _at_least(owner: object, name: str, low: float) -> None:
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
            _at_least(self, name, 1)
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
    """Volume draws per step."""
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
        _at_least(self, "batch_size", 1)
        for name in ("weight_decay", "warmup_steps", "scale", "contrast", "noise"):
            _at_least(self, name, 0)
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
        _at_least(self, "crops_per_domain", 1)


@dataclass(frozen=True, kw_only=True)  # no slots: its digests are kept
class RunSpec:
    """One training run: a proxy, a mixture check or the final pretraining, by its numbers alone.

    ``cache`` is the digest of the prepared volumes and their split; with it in the id, a run is never
    mistaken for one on other data. ``budget`` counts volume draws, or with ``budget_unit`` floating-point
    operations or seconds, which are turned into draws when the run begins.

    Raises:
        InputError: the budget is not a whole number of at least 1, or too short for its trunk's cooldown.
    """

    mixture: Mixture
    budget: int
    seed: int
    model: ModelSettings = field(default_factory=ModelSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    cache: str = ""
    budget_unit: BudgetUnit = "draws"

    def __post_init__(self) -> None:
        check_budget(self.budget)
        if self.budget_unit == "draws":
            self.training.branch_step(self.budget)
        if self.budget_unit == "seconds" and self.training.schedule != "trunk":
            raise InputError(
                "a budget in seconds needs schedule trunk, whose cooldown can begin at any step; schedule "
                f"{self.training.schedule} must know the number of steps before it begins"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-like data, without what has no effect; :meth:`from_dict` is its inverse."""
        unit = {} if self.budget_unit == "draws" else {"budget_unit": self.budget_unit}
        return {
            "format": RUN_FORMAT,
            "mixture": self.mixture.as_dict(),
            "budget": self.budget,
            "seed": self.seed,
            "model": identity(self.model.effective),
            "training": identity(self.training),
            "evaluation": identity(self.evaluation),
            "cache": self.cache,
            **unit,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "RunSpec":
        """Return the spec written by :meth:`as_dict`.

        Raises:
            InputError: another format, or a part that is missing or not known.
        """
        if not isinstance(value, dict):
            raise InputError(f"run spec should be a mapping, found {type(value).__name__}")
        if value.get("format") != RUN_FORMAT:
            raise InputError(f"run spec has format {value.get('format')!r}, this voxmix reads {RUN_FORMAT}")
        try:
            return cls(
                mixture=Mixture.from_dict(value["mixture"]),
                budget=value["budget"],
                seed=value["seed"],
                model=ModelSettings(**value["model"]),
                training=TrainingSettings(**value["training"]),
                evaluation=EvaluationSettings(**value["evaluation"]),
                cache=value["cache"],
                budget_unit=value.get("budget_unit", "draws"),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"run spec is damaged or of a later voxmix ({error}); delete the run's folder, it will be made again"
            ) from None

    @cached_property
    def run_id(self) -> str:
        """Digest of the spec: same spec, same run."""
        return digest(self.as_dict())

    @cached_property
    def former_id(self) -> str:
        """The id that this spec had while settings without effect were part of it; :attr:`run_id` without any."""
        if not self.model.without_effect:
            return self.run_id
        return digest(self.as_dict() | {"model": identity(self.model)})

    @cached_property
    def trunk_id(self) -> str:
        """Digest of what runs of one trunk have in common: all but budget, cooldown and evaluation."""
        value = self.as_dict()
        for name in ("budget", "budget_unit", "evaluation"):
            value.pop(name, None)
        value["training"].pop("cooldown", None)
        return digest({"trunk": value})


def check_budget(budget: int) -> int:
    """Return the budget if it is a whole number of volume draws, at least 1."""
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise InputError(f"budget must be a whole number of volume draws, at least 1, got {budget!r}")
    return budget


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyDesign:
    """The proxy runs of a study: pure runs of every domain and uniform anchors, at every budget.

    ``budgets`` are volume draws; ``budget_unit`` makes them floating-point operations or seconds of each run.
    ``seeds`` is the number of seeds of each pure run, ``anchor_seeds`` that of each run of the uniform
    mixture. Without anchors (0) the worth of variety (rho of the diversity law) cannot be known; two is
    the default because that one number decides between a hub and a spread, and rests on few runs.

    Raises:
        InputError: budgets that are not rising whole numbers of at least 1, or no seed.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    budgets: tuple[int, ...] = (500, 1000, 2000, 4000)
    """Budgets of the proxy runs, rising, in budget_unit."""
    seeds: int = 1
    """Seeds of each pure run (one domain alone)."""
    anchor_seeds: int = 2
    """Seeds of each anchor (the uniform mixture); with 0 the diversity law cannot be fitted."""
    budget_unit: BudgetUnit = "draws"
    """draws, flops or seconds of each run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "budgets", tuple(check_budget(b) for b in self.budgets))
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)):
            raise InputError(
                f"budgets must rise and not repeat, got {list(self.budgets)}; e.g. [500, 1000, 2000, 4000]"
            )
        _at_least(self, "seeds", 1)
        _at_least(self, "anchor_seeds", 0)

    def runs(self, domains: tuple[str, ...]) -> tuple[tuple[Mixture, int, int], ...]:
        """Return (mixture, budget, seed) of every proxy run: pure runs of every domain, then the anchors."""
        names = check_domains(domains)
        seeds = {Mixture.pure(names, name): self.seeds for name in names}
        if len(names) > 1:
            seeds[Mixture.uniform(names)] = self.anchor_seeds
        return tuple(
            (mixture, budget, seed)
            for mixture, count in seeds.items()
            for budget in self.budgets
            for seed in range(count)
        )
