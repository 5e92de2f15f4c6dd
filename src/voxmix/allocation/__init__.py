"""From a fitted law to a mixture, with a proof of how good it is."""

from voxmix.allocation.candidates import candidates
from voxmix.allocation.optimize import allocate
from voxmix.allocation.path import AllocationPath, path
from voxmix.allocation.plan import Plan, plan
from voxmix.allocation.result import Allocation, Baseline, OtherObjective
from voxmix.allocation.settings import OBJECTIVES, AllocationSettings
from voxmix.allocation.strategies import Situation, Strategy, register_strategy, unregister_strategy
from voxmix.allocation.structure import Structure, mean_transfers, roles, structure
from voxmix.allocation.suggest import Suggestion, suggest

__all__ = [
    "OBJECTIVES",
    "Allocation",
    "AllocationPath",
    "AllocationSettings",
    "Baseline",
    "OtherObjective",
    "Plan",
    "Situation",
    "Strategy",
    "Structure",
    "Suggestion",
    "allocate",
    "candidates",
    "mean_transfers",
    "path",
    "plan",
    "register_strategy",
    "roles",
    "structure",
    "suggest",
    "unregister_strategy",
]
