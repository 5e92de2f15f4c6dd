"""From a fitted law to a mixture, with a proof of how good it is."""

from voxmix.allocation.optimize import Allocation, Baseline, allocate
from voxmix.allocation.strategies import strategies, strategy_name

__all__ = ["Allocation", "Baseline", "allocate", "strategies", "strategy_name"]
