"""What part each domain plays in a report: what :mod:`voxmix.allocation.structure` says, on the domains of the study."""

import numpy as np
from jaxtyping import Float

from voxmix.allocation.structure import mean_transfers, roles
from voxmix.report.content import ReportContent


def mean_transfer(
    content: ReportContent, *, law: str
) -> tuple[Float[np.ndarray, " domain"], Float[np.ndarray, " target"]]:
    """Return mean outgoing transfer per domain and mean incoming per target of the study, own left out; NaN where unknown."""
    fitted = content.laws[law]
    outgoing, incoming = mean_transfers(fitted.transfer, fitted.own)
    if len(fitted.domains) < 2:
        outgoing, incoming = outgoing * np.nan, incoming * np.nan
    return (
        _by_name(content.domain_names, fitted.domains, outgoing),
        _by_name(content.target_names, fitted.targets, incoming),
    )


def _by_name(
    wanted: tuple[str, ...], names: tuple[str, ...], values: Float[np.ndarray, " name"]
) -> Float[np.ndarray, " wanted"]:
    by_name = dict(zip(names, values.tolist(), strict=True))
    return np.array([by_name.get(name, np.nan) for name in wanted], dtype=np.float64)


def domain_roles(content: ReportContent, *, law: str) -> tuple[str, ...]:
    """Return "hub", "island", "easy" or "" per domain of the study."""
    found = roles(content.laws[law])
    return tuple(found.get(name, "") for name in content.domain_names)
