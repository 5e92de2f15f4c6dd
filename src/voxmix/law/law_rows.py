"""The numbers of a law as records: one per target, or one per source and target."""

from typing import Any

_OWN = ("irreducible_loss", "amplitude", "exponent", "rho")


def parameter_rows(law: Any, level: float) -> list[dict[str, Any]]:
    """Return one record per target: E, A, beta and rho with the ends of their intervals, and R2."""
    intervals = law.intervals(level) or {}
    rows = []
    for j, target in enumerate(law.targets):
        row: dict[str, Any] = {"target": target}
        for name in _OWN:
            row[name] = float(getattr(law, name)[j])
            if name in intervals:
                row[f"{name}_low"], row[f"{name}_high"] = intervals[name][j].tolist()
        rows.append(row | {"r2": float(law.r2_target[j])})
    return rows


def pair_rows(law: Any, level: float) -> list[dict[str, Any]]:
    """Return one record per source and target: the transfer, its interval, its status."""
    intervals = law.intervals(level)
    states = {(s.source, s.target): s.state for s in law.status if s.parameter == "transfer"}
    rows = []
    for i, source in enumerate(law.domains):
        for j, target in enumerate(law.targets):
            row: dict[str, Any] = {"source": source, "target": target, "transfer": float(law.transfer[i, j])}
            if intervals is not None:
                row["low"], row["high"] = intervals["transfer"][i, j].tolist()
            rows.append(row | {"status": states.get((source, target), "")})
    return rows
