"""AllocationSettings: what is asked of an allocation, the same for Python, the command line and study.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from voxmix.mixture import Mixture
from voxmix.run_settings import LATER, NOT_A_KEY

OBJECTIVES = ("mean", "relative", "minimax")


@dataclass(frozen=True, kw_only=True, slots=True)
class AllocationSettings:
    """What is asked of :func:`voxmix.allocation.allocate`: each field is one of its keywords.

    All but ``volumes``, ``cost``, ``target_weights``, ``objective`` and ``level`` are keys of study.yaml.
    """

    budget: float
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
    volumes: Mapping[str, float] | None = field(default=None, metadata=NOT_A_KEY)
    """Domain to volumes that exist, for max_epochs and the data-proportional mixture; null: those of the law's table."""
    cost: Mapping[str, float] = field(default_factory=dict, metadata=NOT_A_KEY)
    """Domain to price of a draw; 1 where not named."""
    target_weights: Mapping[str, float] = field(default_factory=dict, metadata=NOT_A_KEY)
    """Domain to its importance as a target; 1 where not named."""
    objective: str = field(default="mean", metadata=NOT_A_KEY)
    """mean loss, relative (mean of losses over those of uniform), or minimax (the worst of these ratios)."""
    level: float = field(default=0.9, metadata=NOT_A_KEY)
    """Level of the intervals."""
