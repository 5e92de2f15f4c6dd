"""From a fitted law to a mixture, with a proof of how good it is."""

from voxmix.allocation.answer import Allocation, Baseline
from voxmix.allocation.optimize import OBJECTIVES, allocate
from voxmix.allocation.strategies import strategies, strategy_name

__all__ = ["OBJECTIVES", "Allocation", "Baseline", "allocate", "strategies", "strategy_name"]
