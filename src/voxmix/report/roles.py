"""What part each domain plays in a report: the roles of the law (:mod:`voxmix.allocation.structure`), and its means."""

import numpy as np
from jaxtyping import Float

from voxmix.allocation.structure import roles
from voxmix.report.content import ReportContent


def mean_transfer(
    transfer: Float[np.ndarray, "source target"],
) -> tuple[Float[np.ndarray, " source"], Float[np.ndarray, " target"]]:
    """Return mean outgoing and mean incoming transfer per domain, without the diagonal; NaN where unknown."""
    off = np.where(np.eye(len(transfer), dtype=bool), np.nan, transfer)
    known = np.isfinite(off)
    total = np.where(known, off, 0.0)
    outgoing, incoming = known.sum(axis=1), known.sum(axis=0)
    return (
        np.where(outgoing > 0, total.sum(axis=1) / np.maximum(outgoing, 1), np.nan),
        np.where(incoming > 0, total.sum(axis=0) / np.maximum(incoming, 1), np.nan),
    )


def domain_roles(content: ReportContent, *, law: str) -> tuple[str, ...]:
    """Return "hub", "island", "easy" or "" per domain of the study."""
    found = roles(content.laws[law])
    return tuple(found.get(name, "") for name in content.domain_names)
