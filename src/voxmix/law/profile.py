"""Profile likelihood: how far a number of the law may be from its best value, with the others fitted again.

Gaussian errors whose size relative to the loss is known from the whole fit (:mod:`voxmix.law.noise`), because
the runs of one target alone, four budgets for three numbers, cannot judge it. A value is refused where twice the
loss of log likelihood exceeds the chi-squared quantile (Bates and Watts 1988, section 6.1). For a given exponent
the curve is linear in E and A, so each profile is a search in one dimension.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from voxmix.errors import InputError
from voxmix.law.curves import exponent_grid, golden, project
from voxmix.law.family import CURVE
from voxmix.law.forms import LawParameters, worth
from voxmix.law.quality import FitQuality
from voxmix.law.reducible import PowerFall

MOST_PROFILED = 30  # domains: 870 pairs take a few seconds; ask profile() for one of more
_VALUES = 81
_TRANSFERS = np.geomspace(1e-4, 4.0, _VALUES)
_SHOWN = 20  # values inside the interval that show it well enough
_ZOOMS = 6
_GOLDEN_STEPS = 24
_LEAST_BUDGETS = 3


@runtime_checkable
class Profiled(Protocol):
    """What a profile reads of a fitted law: its names, the runs it was fitted to, and how noisy they are."""

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the sources."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""

    @property
    def parameters(self) -> LawParameters:
        """The fitted numbers."""

    @property
    def quality(self) -> FitQuality:
        """The cells and how they are fitted."""

    @property
    def noise(self) -> Float[np.ndarray, " target"]:
        """Standard deviation of a cell's mean loss over the loss, per target."""

    @property
    def max_exponent(self) -> float:
        """Upper bound of the exponents."""


Misfit = Callable[[Float[np.ndarray, " value"]], Float[np.ndarray, " value"]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Profile:
    """Twice the fall of the log likelihood as one number is held away from its best value.

    Attributes:
        parameter, target, source: what was held; ``source`` for transfers only.
        values, fall: the values tried and the fall at each; 0 at the best.
        low, high: ends of the values that are not refused at ``level``.
        bounded: whether both ends lie inside the range that was tried; else the runs do not constrain the number.
    """

    parameter: str
    target: str
    source: str | None
    values: Float[np.ndarray, " value"]
    fall: Float[np.ndarray, " value"]
    low: float
    high: float
    level: float
    bounded: bool

    def to_dict(self) -> dict[str, float | bool]:
        """Return the interval as JSON-like data."""
        return {"low": self.low, "high": self.high, "bounded": self.bounded}


def profile(
    law: Profiled, parameter: str, *, target: str, source: str | None = None, level: float = 0.9
) -> Profile:
    """Return the profile likelihood of a number of a law's curve, or of a transfer.

    Of "irreducible_loss", "amplitude" or "exponent" over the target's own pure runs; of "transfer" over these and
    the pure runs of ``source`` together, the curve fitted again at every transfer. Runs of mixtures have no part in
    it: it says what pure runs tell.

    Raises:
        InputError: an unknown parameter or name, a level outside (0, 1), fewer than three budgets, or a law whose
            losses do not fall as a power.
    """
    if target not in law.targets or (source is not None and source not in law.domains):
        raise InputError(
            f"unknown target {target!r} or source {source!r}; the law's domains are {list(law.domains)}"
        )
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, got {level}; 0.9 is usual")
    if not isinstance(law.parameters.fall, PowerFall):
        raise InputError(
            "profiles are of curves that fall as a power; use the bootstrap's intervals for this law"
        )
    j = law.targets.index(target)
    if parameter == "transfer" and source is not None and source != target:
        misfit, values = _of_transfer(law, law.domains.index(source), j)
    elif parameter in CURVE:
        misfit, values = _of_curve(law, parameter, j)
    else:
        raise InputError(
            f"no profile of {parameter!r}; give one of {list(CURVE)}, or transfer with another source"
        )
    from scipy.special import chdtri

    limit = float(chdtri(1, 1 - level))
    zoomed, fall = _zoomed(misfit, values, limit)
    low, high = _ends(zoomed, fall, limit)
    bounded = (low > values[0] or values[0] == 0) and high < values[-1]  # 0 bounds the number, not the search
    return Profile(
        parameter=parameter,
        target=target,
        source=source,
        values=zoomed,
        fall=fall,
        low=low,
        high=high,
        level=level,
        bounded=bool(bounded),
    )


def own_curve_intervals(
    law: Profiled, fallback: dict[str, Float[np.ndarray, "target 2"]], level: float
) -> dict[str, Float[np.ndarray, "target 2"]]:
    """Return profile intervals of E, A and beta per target; ``fallback`` where a target has too few budgets.

    The estimate, which minimizes plain squares and not relative ones, is always inside.
    """
    found = {}
    for name in CURVE:
        rows = fallback[name].copy()
        for j, target in enumerate(law.targets):
            if has_profile(law, j):
                one, value = profile(law, name, target=target, level=level), getattr(law.parameters, name)[j]
                rows[j] = min(one.low, value), max(one.high, value)
        found[name] = rows
    return found


def has_profile(law: Profiled, target: int) -> bool:
    """Return whether a target has the runs that a profile needs."""
    if law.targets[target] not in law.domains:
        return False
    rows = law.quality.pure_rows(law.domains.index(law.targets[target]), target)
    budgets = len(np.unique(law.quality.budget[rows]))
    positive = np.all(law.quality.observed[rows, target] > 0)
    power = isinstance(law.parameters.fall, PowerFall)
    return bool(power and budgets >= _LEAST_BUDGETS and positive and law.noise[target] > 0)


def _runs(law: Profiled, source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = law.quality.pure_rows(source, target)
    rows = rows[law.quality.observed[rows, target] > 0]
    draws = law.quality.weights[rows] * law.quality.budget[rows, None]
    reach = worth(draws, law.parameters.unique, law.parameters.repeats)[:, source]
    loss = law.quality.observed[rows, target]
    return reach, loss, 1 / (max(float(law.noise[target]), 1e-6) * loss) ** 2


def _own_runs(law: Profiled, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if law.targets[target] not in law.domains:
        raise InputError(
            f"{law.targets[target]} is no source, so it has no curve of its own runs to profile; use the bootstrap's "
            "intervals"
        )
    own = law.domains.index(law.targets[target])
    x, loss, weight = _runs(law, own, target)
    if len(np.unique(x)) < _LEAST_BUDGETS:
        raise InputError(
            f"{law.targets[target]} was measured at {len(np.unique(x))} budgets of its own, a profile needs "
            f"{_LEAST_BUDGETS}; add budgets"
        )
    return x, loss, weight


def _of_transfer(law: Profiled, source: int, target: int) -> tuple[Misfit, Float[np.ndarray, " value"]]:
    """Return the misfit of own and pair runs as a function of the transfer, and the transfers to try."""
    own, pair = _own_runs(law, target), _runs(law, source, target)
    if not len(pair[0]):
        raise InputError(
            f"no pure run of {law.domains[source]} was measured on {law.targets[target]}; evaluate one on it"
        )
    x, loss, weight = (np.concatenate(parts) for parts in zip(own, pair, strict=True))
    scaled, center = np.arange(len(x)) >= len(own[0]), np.exp(np.mean(np.log(x)))

    def misfit(transfers: Float[np.ndarray, " value"]) -> Float[np.ndarray, " value"]:
        reach = np.where(scaled, transfers[:, None] * x, x) / center

        def at(exponent: Float[np.ndarray, "value tried"]) -> Float[np.ndarray, "value tried"]:
            tried = exponent.shape[1]
            series = np.repeat(reach, tried, axis=0)
            losses, weights = (np.broadcast_to(v, series.shape) for v in (loss, weight))
            flat = project(series, losses, weights, exponent.reshape(-1), asymptote=True)[2]
            return flat.reshape(exponent.shape)

        return _over_exponents(at, len(transfers), law.max_exponent)

    return misfit, _TRANSFERS


def _of_curve(law: Profiled, parameter: str, target: int) -> tuple[Misfit, Float[np.ndarray, " value"]]:
    """Return the misfit of a target's own runs as a function of one number of its curve, and values to try."""
    draws, loss, weight = _own_runs(law, target)
    center = np.exp(np.mean(np.log(draws)))
    x = draws / center

    def of_exponent(values: Float[np.ndarray, " value"]) -> Float[np.ndarray, " value"]:
        shape = (len(values), len(x))
        series, losses, weights = (np.broadcast_to(v, shape) for v in (x, loss, weight))
        return project(series, losses, weights, values, asymptote=True)[2]

    def of_irreducible_loss(values: Float[np.ndarray, " value"]) -> Float[np.ndarray, " value"]:
        above = loss - values[:, None, None]

        def at(exponent: Float[np.ndarray, "value tried"]) -> Float[np.ndarray, "value tried"]:
            z = x ** -exponent[..., None]
            best = np.sum(weight * z * above, axis=-1) / np.sum(weight * z * z, axis=-1)
            return np.asarray(np.sum(weight * (above - np.maximum(best, 0)[..., None] * z) ** 2, axis=-1))

        return _over_exponents(at, len(values), law.max_exponent)

    def of_amplitude(values: Float[np.ndarray, " value"]) -> Float[np.ndarray, " value"]:
        def at(exponent: Float[np.ndarray, "value tried"]) -> Float[np.ndarray, "value tried"]:
            above = loss - values[:, None, None] * draws ** -exponent[..., None]
            floor = np.maximum(np.sum(weight * above, axis=-1) / weight.sum(), 0.0)
            return np.asarray(np.sum(weight * (above - floor[..., None]) ** 2, axis=-1))

        return _over_exponents(at, len(values), law.max_exponent)

    if parameter == "exponent":
        return of_exponent, exponent_grid(law.max_exponent)
    if parameter == "irreducible_loss":
        return of_irreducible_loss, np.linspace(0.0, 1.1 * float(loss.max()), _VALUES)
    most = float(loss.max()) * float(draws.max()) ** law.max_exponent
    return of_amplitude, np.geomspace(1e-6 * float(loss.min()), most, _VALUES)


def _over_exponents(
    at: Callable[[np.ndarray], np.ndarray], count: int, max_exponent: float
) -> Float[np.ndarray, " value"]:
    """Return the least misfit over the exponent for each value: a grid, then golden section."""
    grid = exponent_grid(max_exponent)[::4]
    tried = at(np.broadcast_to(grid, (count, len(grid))))
    place = tried.argmin(axis=1)
    low, high = grid[np.maximum(place - 1, 0)], grid[np.minimum(place + 1, len(grid) - 1)]
    found = golden(lambda beta: at(beta[:, None])[:, 0], low, high, _GOLDEN_STEPS)
    return np.minimum(tried.min(axis=1), at(found[:, None])[:, 0])


def _zoomed(
    misfit: Misfit, values: Float[np.ndarray, " value"], limit: float
) -> tuple[Float[np.ndarray, " shown"], Float[np.ndarray, " shown"]]:
    """Return values around those that are not refused, fine enough to show them, and the fall at each."""
    found, least = misfit(values), np.inf
    spaced = np.linspace if values[0] == 0 else np.geomspace
    for _ in range(_ZOOMS):
        least = min(least, float(found.min()))
        kept = np.flatnonzero(found - least <= limit)
        if len(kept) >= _SHOWN:
            break
        kept = kept if len(kept) else np.array([found.argmin()])
        low, high = values[max(kept[0] - 1, 0)], values[min(kept[-1] + 1, len(values) - 1)]
        values = spaced(low, high, _VALUES)
        found = misfit(values)
    return values, found - min(least, float(found.min()))


def _ends(values: np.ndarray, fall: np.ndarray, limit: float) -> tuple[float, float]:
    """Return where the fall crosses the limit, between values by a straight line."""
    kept = np.flatnonzero(fall <= limit)
    kept = kept if len(kept) else np.array([fall.argmin()])
    first, last = int(kept[0]), int(kept[-1])

    def between(inside: int, outside: int) -> float:
        share = (limit - fall[inside]) / (fall[outside] - fall[inside])
        return float(values[inside] + np.clip(share, 0, 1) * (values[outside] - values[inside]))

    low = between(first, first - 1) if first > 0 else float(values[0])
    high = between(last, last + 1) if last < len(values) - 1 else float(values[-1])
    return low, high
