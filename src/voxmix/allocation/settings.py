"""AllocationSettings: what is asked of an allocation, the same for Python, the command line and study.yaml."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from voxmix._amounts import AnyAmount
from voxmix.errors import InputError, did_you_mean
from voxmix.mixture import Mixture
from voxmix.run_settings import LATER

OBJECTIVES = ("mean", "relative", "minimax")


@dataclass(frozen=True, kw_only=True, slots=True)
class AllocationSettings:
    """What is asked of :func:`voxmix.allocation.allocate`: each field is one of its keywords, a flag of the verbs that
    allocate, and a key of study.yaml.

    Raises:
        InputError: a value that no law and no domain could make right.
    """

    budget: AnyAmount | None = None
    """Volume draws to allocate; with costs it is money, in units of a draw of cost 1."""
    min_weight: float = 0.05
    """Least share of any domain."""
    max_weight: Mapping[str, float] = field(default_factory=dict, metadata=LATER)
    """Domain to largest share."""
    fixed: Mapping[str, float] = field(default_factory=dict, metadata=LATER)
    """Domain to share that it gets exactly."""
    max_epochs: float | None = field(default=None, metadata=LATER)
    """Largest number of times each volume may be drawn."""
    no_worse_than: str | Mixture | None = field(default=None, metadata=LATER)
    """uniform or data-proportional: no target may be predicted worse than under it."""
    tolerance: float = field(default=0.01, metadata=LATER)
    """Relative predicted loss that counts as near-optimal."""
    volumes: Mapping[str, float] = field(default_factory=dict, metadata=LATER)
    """Domain to volumes that exist, for max_epochs and the data-proportional mixture; else those that were prepared."""
    cost: Mapping[str, float] = field(default_factory=dict, metadata=LATER)
    """Domain to price of a draw; 1 where not named. The budget is then money, and strategies differ in draws."""
    target_weights: Mapping[str, float] = field(default_factory=dict, metadata=LATER)
    """Domain to its importance as a target; 1 where not named."""
    objective: str = field(default="mean", metadata=LATER)
    """mean loss, relative (mean of losses over those of uniform), or minimax (the worst of these ratios)."""
    level: float = field(default=0.9, metadata=LATER)
    """Level of the intervals of the shares."""

    def __post_init__(self) -> None:
        if self.budget is not None and not (math.isfinite(self.budget) and self.budget > 0):
            raise InputError(f"budget must be a number of draws above 0, got {self.budget}")
        if not 0 <= self.min_weight <= 1:
            raise InputError(f"min_weight must lie in [0, 1], got {self.min_weight}; the paper uses 0.05")
        if self.objective not in OBJECTIVES:
            raise InputError(
                f"unknown objective {self.objective!r}; {did_you_mean(str(self.objective), OBJECTIVES, what='choose from ')}"
            )
        if self.max_epochs is not None and not 0 < self.max_epochs < math.inf:
            raise InputError(f"max_epochs must be above 0, got {self.max_epochs}; leave it out for no limit")
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance must lie between 0 and 1, got {self.tolerance}; the default is 0.01")
        if not 0 < self.level < 1:
            raise InputError(f"level must lie between 0 and 1, got {self.level}; e.g. 0.9")
        for name, allowed, words in _BY_DOMAIN:
            for domain, value in getattr(self, name).items():
                if not allowed(value):
                    raise InputError(f"{name} of {domain} must {words}, got {value}")

    def draws_of(self, mixture: Mixture, budget: float | None = None) -> float:
        """Return how many draws of a mixture the budget buys: with equal prices of 1 the budget itself."""
        money = self.budget if budget is None else budget
        assert money is not None
        price = sum(weight * self.cost.get(name, 1.0) for name, weight in mixture.as_dict().items())
        return money / price if self.cost else money

    def on(self, targets: Sequence[str], *, of: Sequence[str]) -> "AllocationSettings":
        """Return what is asked of a law that knows these targets, in a study of the targets ``of``.

        Weights of targets that the law does not know have no part in it; where none is left above 0, all count alike.
        """
        weights = {n: w for n, w in self.target_weights.items() if n in targets or n not in of}
        if not any(weights.get(name, 1.0) > 0 for name in targets):
            weights = {}
        return replace(self, target_weights=weights)

    def knowing(self, volumes: Mapping[str, float]) -> "AllocationSettings":
        """Return the settings with the volumes that exist of the domains for which they give none themselves."""
        return asked(self, {"volumes": {**volumes, **self.volumes}})


_BY_DOMAIN: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("max_weight", lambda share: 0 <= share <= 1, "lie between 0 and 1"),
    ("fixed", lambda share: 0 <= share <= 1, "lie between 0 and 1"),
    ("volumes", lambda count: 0 <= count < math.inf, "be a number of volumes, at least 0"),
    ("cost", lambda price: 0 < price < math.inf, "be a price above 0 (a draw costs 1 where not named)"),
    ("target_weights", lambda worth: 0 <= worth < math.inf, "be a number, at least 0"),
)
"""Settings by domain, each with what its values may be."""


def asked(settings: AllocationSettings | None, changed: Mapping[str, Any]) -> AllocationSettings:
    """Return settings with some changed by name, as AllocationSettings; None for what is by domain means none.

    Raises:
        InputError: a value out of range, or a name that is no setting.
    """
    known = [item.name for item in fields(AllocationSettings)]
    if unknown := [name for name in changed if name not in known]:
        raise InputError(
            f"{unknown[0]!r} is no setting of an allocation; {did_you_mean(unknown[0], known, what='choose from ')}"
        )
    by_domain = [name for name, *_ in _BY_DOMAIN]
    given = {name: {} if value is None and name in by_domain else value for name, value in changed.items()}
    values = {} if settings is None else {name: getattr(settings, name) for name in known}
    return AllocationSettings(**(values | given))
