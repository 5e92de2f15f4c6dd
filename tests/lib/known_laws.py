"""Laws of three domains whose numbers are known: what fits of simulated runs have to find again."""

from typing import Any

import numpy as np

from voxmix.law.forms import LawParameters


def known_law(rho: float = 1.0, **more: Any) -> LawParameters:
    """Return a law of three domains with asymmetric transfers; ``more`` as LawParameters.make takes it."""
    return LawParameters.make(
        irreducible_loss=np.array([0.02, 0.01, 0.03]),
        amplitude=np.array([1.5, 2.5, 1.0]),
        exponent=np.array([0.45, 0.6, 0.5]),
        transfer=np.array([[1.0, 0.3, 0.1], [0.05, 1.0, 0.4], [0.5, 0.02, 1.0]]),
        rho=np.full(3, rho),
        **more,
    )
