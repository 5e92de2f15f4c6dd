"""Which runs a study makes: RunSpec, the settings a run depends on, and StudyDesign."""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from voxmix._io import digest
from voxmix.errors import InputError
from voxmix.mixture import Mixture, check_domains

RUN_FORMAT = 1


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

    ``crop`` and ``patch`` are edges in voxels of a cube; ``mask_ratio`` is the share of patches hidden.
    The decoder's size is a default of the field (He et al. 2022), not of the paper.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    name: Literal["mae", "unetr"] = "mae"
    crop: int = 96
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    decoder_width: int = 384
    decoder_depth: int = 4
    decoder_heads: int = 12
    mask_ratio: float = 0.75

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
        _whole_multiple(self, "crop", "patch")
        _whole_multiple(self, "width", "heads")
        _whole_multiple(self, "decoder_width", "decoder_heads")
        if not 0 < self.mask_ratio < 1:
            raise InputError(
                f"mask_ratio must lie between 0 and 1, got {self.mask_ratio}; the paper hides 0.75"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """Optimization and light augmentation of one run (spec: AdamW, cosine, warm-up fixed across budgets).

    Probabilities are per draw. ``scale``, ``contrast`` and ``noise`` are the half-width of the intensity
    factor, of the log of the exponent (gamma), and the standard deviation added, in units of [0, 1].
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    learning_rate: float = 1e-4
    batch_size: int = 8
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.95
    warmup_steps: int = 50
    clip_norm: float = 1.0
    scale: float = 0.1
    scale_probability: float = 0.5
    contrast: float = 0.2
    contrast_probability: float = 0.2
    noise: float = 0.02
    noise_probability: float = 0.2

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


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSettings:
    """The fixed crops and fixed masks on which every run of a study is measured."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    crops_per_domain: int = 64
    seed: int = 20260509

    def __post_init__(self) -> None:
        _at_least(self, "crops_per_domain", 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """One training run: a proxy, a mixture check or the final pretraining, by its numbers alone.

    ``cache`` is the digest of the prepared volumes and their split; with it in the id, a run is never
    mistaken for one on other data.

    Raises:
        InputError: the budget is not a whole number of at least 1.
    """

    mixture: Mixture
    budget: int
    seed: int
    model: ModelSettings = field(default_factory=ModelSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    cache: str = ""

    def __post_init__(self) -> None:
        check_budget(self.budget)

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-like data; :meth:`from_dict` is its inverse."""
        return {
            "format": RUN_FORMAT,
            "mixture": self.mixture.as_dict(),
            "budget": self.budget,
            "seed": self.seed,
            "model": asdict(self.model),
            "training": asdict(self.training),
            "evaluation": asdict(self.evaluation),
            "cache": self.cache,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "RunSpec":
        """Return the spec written by :meth:`as_dict`."""
        if value.get("format") != RUN_FORMAT:
            raise InputError(f"run spec has format {value.get('format')!r}, this voxmix reads {RUN_FORMAT}")
        return cls(
            mixture=Mixture.from_dict(value["mixture"]),
            budget=value["budget"],
            seed=value["seed"],
            model=ModelSettings(**value["model"]),
            training=TrainingSettings(**value["training"]),
            evaluation=EvaluationSettings(**value["evaluation"]),
            cache=value["cache"],
        )

    @property
    def run_id(self) -> str:
        """Digest of the spec: same spec, same run."""
        return digest(self.as_dict())


def check_budget(budget: int) -> int:
    """Return the budget if it is a whole number of volume draws, at least 1."""
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise InputError(f"budget must be a whole number of volume draws, at least 1, got {budget!r}")
    return budget


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyDesign:
    """The proxy runs of a study: pure runs of every domain and uniform anchors, at every budget.

    ``seeds`` is the number of seeds of each pure run, ``anchor_seeds`` that of each run of the uniform
    mixture. Without anchors (0) the worth of variety (rho of the diversity law) cannot be known; two is
    the default because that one number decides between a hub and a spread, and rests on few runs.

    Raises:
        InputError: budgets that are not rising whole numbers of at least 1, or no seed.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    budgets: tuple[int, ...] = (500, 1000, 2000, 4000)
    seeds: int = 1
    anchor_seeds: int = 2

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
