"""What part each domain plays: hub, island, easy (the paper's table 9), by rules that are written down."""

import numpy as np
from jaxtyping import Float

from voxmix.report.content import ReportContent
from voxmix.report.findings import on_domains

_LOW = 0.5

RULES = (
    "hub: the highest mean outgoing transfer, with three domains or more. "
    "island: mean outgoing and mean incoming transfer both below half the median over domains. "
    "easy: doubling its own draws at the largest fitted budget lowers its loss by less than half as much, "
    "relatively, as for the median domain."
)


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
    """Return "hub", "island", "easy" or "" per domain, by ``RULES``."""
    transfer = on_domains(content, law=law, values=content.laws[law].transfer)
    outgoing, incoming = mean_transfer(transfer)
    gain = _doubling_gain(content, law=law)
    roles = [""] * len(transfer)
    if len(transfer) < 3:
        return tuple(roles)
    low_out, low_in, low_gain = (_LOW * _median(v) for v in (outgoing, incoming, gain))
    for i in range(len(transfer)):
        if gain[i] < low_gain:
            roles[i] = "easy"
        if outgoing[i] < low_out and incoming[i] < low_in:
            roles[i] = "island"
    if np.isfinite(outgoing).any():
        roles[int(np.nanargmax(outgoing))] = "hub"
    return tuple(roles)


def _doubling_gain(content: ReportContent, *, law: str) -> Float[np.ndarray, " domain"]:
    """Relative fall of each domain's own loss when its draws double at the largest fitted budget."""
    fitted = content.laws[law]
    most = fitted.budget_range[1]
    own = np.eye(len(fitted.domains))[[fitted.domains.index(name) for name in fitted.targets]]
    place = np.arange(len(fitted.targets))
    once = fitted.evaluate(own, most)[place, place]
    twice = fitted.evaluate(own, 2 * most)[place, place]
    return on_domains(content, law=law, values=1 - twice / once)


def _median(values: Float[np.ndarray, " n"]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float(np.nan)
