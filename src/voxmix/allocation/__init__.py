"""From a fitted law to a mixture, with a proof of how good it is."""

from voxmix.allocation.optimize import OBJECTIVES, allocate
from voxmix.allocation.path import AllocationPath, path
from voxmix.allocation.plan import Plan, plan
from voxmix.allocation.result import Allocation, Baseline
from voxmix.allocation.strategies import strategies, strategy_name
from voxmix.allocation.structure import Structure, mean_transfers, roles, structure
from voxmix.allocation.suggest import Suggestion, suggest

__all__ = [
    "OBJECTIVES",
    "Allocation",
    "AllocationPath",
    "Baseline",
    "Plan",
    "Structure",
    "Suggestion",
    "allocate",
    "mean_transfers",
    "path",
    "plan",
    "roles",
    "strategies",
    "strategy_name",
    "structure",
    "suggest",
]
