"""How fast repeats of the same volumes lose their worth: R of the saturation, where the runs tell it."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from voxmix.errors import InputError
from voxmix.law import forms
from voxmix.law.cells import Cells
from voxmix.law.joint import solve
from voxmix.law.status import ParameterStatus, State
from voxmix.law.twostage import FitOptions

LEAST, MOST = 0.5, 2000.0
_GRID = 13
_ROUNDS = 2
_REFUSED = 3.84  # 95% point of chi-squared with one degree of freedom


def saturated(
    cells: Cells, options: FitOptions, repetition: float | str | None, volumes: Mapping[str, float] | None
) -> tuple[Cells, tuple[ParameterStatus, ...]]:
    """Return the cells with U and R set, and the status of R.

    ``repetition`` is None (draws never lose their worth), a number (R is given), "fitted" (one R for all domains)
    or "per-domain".

    Raises:
        InputError: another value, or no count of volumes for any domain.
    """
    if repetition is None:
        return cells, ()
    unique = _unique(cells, volumes)
    if isinstance(repetition, int | float) and repetition > 0:
        return cells.saturating(unique, float(repetition)), ()
    if repetition == "fitted":
        return _fitted(cells, options, unique)
    if repetition == "per-domain":
        return _fitted_per_domain(cells, options, unique)
    raise InputError(f"repetition must be fitted, per-domain or a rate R above 0, got {repetition!r}")


def _unique(cells: Cells, volumes: Mapping[str, float] | None) -> Float[np.ndarray, " source"]:
    known = dict(zip(cells.domains, cells.volumes, strict=True)) | dict(volumes or {})
    unknown = [name for name in volumes or {} if name not in cells.domains]
    if unknown:
        raise InputError(f"volumes names unknown domains {unknown}; the table has {list(cells.domains)}")
    unique = np.array([known[name] for name in cells.domains], dtype=np.float64)
    if np.isnan(unique).all():
        raise InputError(
            "repetition needs to know how many volumes exist; give volumes, or columns volumes:<domain>"
        )
    if np.any(unique <= 0):
        raise InputError(f"volumes must be above 0 for repetition, got {known}")
    return np.where(np.isnan(unique), np.inf, unique)


class _Misfit:
    """Squared relative error of the law that fits best under given rates; every answer is kept."""

    def __init__(self, cells: Cells, options: FitOptions, unique: Float[np.ndarray, " source"]) -> None:
        self.cells, self.options, self.unique = cells, options, unique
        self.count = int((~np.isnan(cells.loss)).sum())
        self._known: dict[tuple[float, ...], float] = {}

    def __call__(self, repeats: float | Float[np.ndarray, " source"]) -> float:
        trial = self.cells.saturating(self.unique, repeats)
        key = tuple(float(r) for r in trial.repeats)
        if key not in self._known:
            law = solve(trial, np.nan_to_num(trial.loss)[None], self.options)[0].take(0)
            guess = forms.predict(law, trial.weights, trial.budget)[0]
            known = (trial.loss > 0) & np.isfinite(guess)  # false where not measured
            self._known[key] = float(np.sum((guess[known] / trial.loss[known] - 1) ** 2))
        return self._known[key]

    def evidence(self, least: float, plain: float) -> float:
        """Return twice the gain in log likelihood over counting repeats in full."""
        return float(self.count * np.log(max(plain, 1e-300) / max(least, 1e-300)))


def _search(misfit: Callable[[float], float]) -> tuple[float, float]:
    """Return the rate of least misfit and that misfit: a grid, then three rounds that narrow it 27 times."""
    grid = np.geomspace(LEAST, MOST, _GRID)
    values = np.array([misfit(float(r)) for r in grid])
    place = int(values.argmin())
    low, high = np.log(grid[max(place - 1, 0)]), np.log(grid[min(place + 1, _GRID - 1)])
    best, least = float(grid[place]), float(values[place])
    for _ in range(3):
        inner = np.linspace(low, high, 7)[1:-1]
        tried = np.array([misfit(float(np.exp(v))) for v in inner])
        k = int(tried.argmin())
        if tried[k] < least:
            best, least = float(np.exp(inner[k])), float(tried[k])
        step = (high - low) / 6
        low, high = np.log(best) - step, np.log(best) + step
    return best, least


def _fitted(
    cells: Cells, options: FitOptions, unique: Float[np.ndarray, " source"]
) -> tuple[Cells, tuple[ParameterStatus, ...]]:
    misfit = _Misfit(cells, options, unique)
    best, least = _search(misfit)
    told = best < MOST * 0.99 and misfit.evidence(least, misfit(np.inf)) >= _REFUSED
    rate = best if told else np.inf
    return cells.saturating(unique, rate), (_status(None, rate),)


def _fitted_per_domain(
    cells: Cells, options: FitOptions, unique: Float[np.ndarray, " source"]
) -> tuple[Cells, tuple[ParameterStatus, ...]]:
    """Fit R of one domain after the other, others held, in two rounds from the one R of all."""
    misfit = _Misfit(cells, options, unique)
    rates = np.full(len(unique), _search(misfit)[0])
    repeated = [i for i in range(len(unique)) if np.any(cells.weights[:, i] * cells.budget > unique[i])]
    rates[[i for i in range(len(unique)) if i not in repeated]] = np.inf
    for _ in range(_ROUNDS):
        for i in repeated:
            best, least = _search(lambda rate, i=i: misfit(_with(rates, i, rate)))  # type: ignore[misc]
            plain = misfit(_with(rates, i, np.inf))
            told = best < MOST * 0.99 and misfit.evidence(least, plain) >= _REFUSED
            rates[i] = best if told else np.inf
    status = tuple(
        _status(name, rate)
        for name, rate, u in zip(cells.domains, rates, unique, strict=True)
        if np.isfinite(u)
    )
    return cells.saturating(unique, rates), status


def _with(rates: Float[np.ndarray, " source"], place: int, rate: float) -> Float[np.ndarray, " source"]:
    changed = rates.copy()
    changed[place] = rate
    return changed


def _status(domain: str | None, rate: float) -> ParameterStatus:
    """Return the status of R, of one domain or (None) of all; an infinite rate is one the runs do not tell."""
    state: State = "ok"
    message = ""
    if not np.isfinite(rate):
        state = "not identified"
        whose, smallest = (f" of {domain}", domain) if domain else ("", "the smallest domain")
        message = (
            f"the runs do not show that repeats{whose} lose their worth, so they count in full; cap them with "
            f"max_epochs where few volumes exist, or add a larger budget of {smallest}"
        )
    elif rate <= LEAST * 1.01:
        state = "at bound"
        whose = f" of {domain}" if domain else ""
        message = (
            f"repeats{whose} lose their worth at once (R at its bound {LEAST:g}); check the counts of volumes"
        )
    return ParameterStatus(parameter="repeats", target=None, source=domain, state=state, message=message)
