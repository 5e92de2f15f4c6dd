"""Which runs a study makes: RunSpec, one run by its numbers, and StudyDesign."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from voxmix._io import digest
from voxmix.errors import InputError
from voxmix.mixture import Mixture, check_domains
from voxmix.run_settings import EvaluationSettings, ModelSettings, TrainingSettings, at_least, identity

RUN_FORMAT = 1
BudgetUnit = Literal["draws", "flops", "seconds"]


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
        at_least(self, "seeds", 1)
        at_least(self, "anchor_seeds", 0)

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
