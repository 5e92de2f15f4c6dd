"""Which runs a study makes: RunSpec, one run by its numbers, and StudyDesign."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from voxmix._amounts import Amount
from voxmix._io import digest
from voxmix.errors import InputError
from voxmix.mixture import Mixture, check_domains
from voxmix.run_settings import LATER, EvaluationSettings, ModelSettings, TrainingSettings, at_least, identity

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
class RunKind:
    """One kind of proxy runs.

    Attributes:
        name: in what voxmix prints, tells and draws.
        mixtures: the mixtures that it trains, of the domains and of the min_weights of the design.
        seeds: the key of :class:`StudyDesign` that says how many seeds each gets.
        words: what it trains, in words.
    """

    name: str
    mixtures: Callable[[tuple[str, ...], Sequence[float]], Iterable[Mixture]]
    seeds: str
    words: str


KINDS = (
    RunKind(
        name="pure runs",
        mixtures=lambda names, _: (Mixture.pure(names, name) for name in names),
        seeds="seeds",
        words="one domain alone",
    ),
    RunKind(
        name="vertex runs",
        mixtures=lambda names, least: (
            Mixture.vertex(names, name, min_weight=each) for each in least for name in names
        ),
        seeds="vertex_seeds",
        words="mostly one domain",
    ),
    RunKind(
        name="anchors",
        mixtures=lambda names, _: (Mixture.uniform(names),) if len(names) > 1 else (),
        seeds="anchor_seeds",
        words="an equal mix",
    ),
)
"""The kinds of proxy runs, in order. A mixture that two kinds ask for is of the first, with the seeds of both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyDesign:
    """The proxy runs of a study: pure runs, vertex runs and uniform anchors, at every budget.

    ``budgets`` are volume draws; ``budget_unit`` makes them floating-point operations or seconds of each run.
    Each kind of :data:`KINDS` has its number of seeds, 0 for none of it; seed s of one mixture begins with the same
    weights as seed s of every other, and draws alike. Pure runs show what a source is worth to a network that sees
    nothing else, vertex runs what it is worth in the mixtures that min_weight allows, at the corners of which they lie
    (extreme vertices: McLean and Anderson 1966). Without a run of a mixture the worth of variety (rho of the diversity
    law) cannot be known; two seeds are the default of anchors because that one number decides between a hub and a
    spread.

    Raises:
        InputError: budgets that are not rising whole numbers of at least 1, neither pure nor vertex runs, or a
            min_weight outside 0 to 1.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    budgets: tuple[Amount, ...] = (500, 1000, 2000, 4000)
    """Budgets of the proxy runs, rising, in budget_unit."""
    seeds: int = 1
    """Seeds of each pure run (one domain alone); 0 for none, where there are vertex runs."""
    vertex_seeds: int = field(default=0, metadata=LATER)
    """Seeds of each vertex run (min_weight of every domain, the rest of one)."""
    anchor_seeds: int = 2
    """Seeds of each anchor (the uniform mixture)."""
    min_weight: float | tuple[float, ...] | None = field(default=None, metadata=LATER)
    """Least share in the vertex runs, one or a list; null: allocation.min_weight. Another one asks for other runs."""
    budget_unit: BudgetUnit = "draws"
    """draws, flops or seconds of each run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "budgets", tuple(check_budget(b) for b in self.budgets))
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)):
            raise InputError(
                f"budgets must rise and not repeat, got {list(self.budgets)}; e.g. [500, 1000, 2000, 4000]"
            )
        for kind in KINDS:
            at_least(self, kind.seeds, 0)
        if not self.seeds and not self.vertex_seeds:
            raise InputError(
                "design has neither pure runs (seeds: 0) nor vertex runs (vertex_seeds: 0); set one of the two to 1"
            )
        own = self.least_weights()
        if wrong := [value for value in own if not 0 <= value <= 1]:
            raise InputError(f"min_weight of the design must lie in [0, 1], got {wrong[0]}; e.g. 0.05")
        if self.min_weight is not None and not own:
            raise InputError("min_weight of the design is an empty list; leave it out, or give e.g. 0.05")

    def least_weights(self, min_weight: float | None = None) -> tuple[float, ...]:
        """Return the least shares of the vertex runs: those of the design, or ``min_weight``, the allocation's."""
        own = min_weight if self.min_weight is None else self.min_weight
        return own if isinstance(own, tuple) else () if own is None else (own,)

    def trains_alone(self, min_weight: float) -> bool:
        """Return whether there are runs of one domain alone: pure runs, or vertices where min_weight is 0."""
        return bool(self.seeds or (self.vertex_seeds and 0 in self.least_weights(min_weight)))

    def trains_mixtures(self, min_weight: float) -> bool:
        """Return whether there are runs of several domains: anchors, or vertices where min_weight is above 0."""
        return bool(self.anchor_seeds or (self.vertex_seeds and any(self.least_weights(min_weight))))

    def runs_by_kind(
        self, domains: tuple[str, ...], *, min_weight: float | None = None
    ) -> dict[str, tuple[tuple[Mixture, int, int], ...]]:
        """Return kind to the (mixture, budget, seed) of its runs; a run that two kinds ask for is of the first.

        ``min_weight`` is that of the allocation, for a design without its own.

        Raises:
            InputError: vertex runs are asked for and no min_weight is given, or one that so many domains cannot get.
        """
        names, least = check_domains(domains), self.least_weights(min_weight)
        if self.vertex_seeds and not least:
            raise InputError(
                "vertex runs need a min_weight: that of the design or of the allocation, e.g. 0.05"
            )
        found: dict[str, tuple[tuple[Mixture, int, int], ...]] = {}
        seen: set[tuple[Mixture, int, int]] = set()
        for kind in KINDS:
            count = getattr(self, kind.seeds)
            asked = dict.fromkeys(
                (mixture, budget, seed)
                for mixture in (kind.mixtures(names, least) if count else ())
                for budget in self.budgets
                for seed in range(count)
            )
            found[kind.name] = tuple(run for run in asked if run not in seen)
            seen.update(asked)
        return found

    def runs(
        self, domains: tuple[str, ...], *, min_weight: float | None = None
    ) -> tuple[tuple[Mixture, int, int], ...]:
        """Return (mixture, budget, seed) of every proxy run, kind after kind; see :meth:`runs_by_kind`."""
        return tuple(
            run for runs in self.runs_by_kind(domains, min_weight=min_weight).values() for run in runs
        )
