"""How fast repeats of the same volumes lose their worth: R of the saturation, where the runs tell it."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from voxmix.errors import InputError
from voxmix.law import forms
from voxmix.law.cells import Cells
from voxmix.law.fitted import ParameterStatus
from voxmix.law.joint import solve
from voxmix.law.twostage import FitOptions

LEAST, MOST = 0.5, 2000.0
_GRID = 13
_REFUSED = 3.84  # 95% point of chi-squared with one degree of freedom


def saturated(
    cells: Cells, options: FitOptions, repetition: float | str | None, volumes: Mapping[str, float] | None
) -> tuple[Cells, tuple[ParameterStatus, ...]]:
    """Return the cells with U and R set, and the status of R.

    ``repetition`` is None (draws never lose their worth), a number (R is given), or "fitted".

    Raises:
        InputError: another value, or no count of volumes for any domain.
    """
    if repetition is None:
        return cells, ()
    unique = _unique(cells, volumes)
    if isinstance(repetition, int | float):
        if not repetition > 0:
            raise InputError(f"repetition must be fitted or a rate R above 0, got {repetition}")
        return cells.saturating(unique, float(repetition)), ()
    if repetition != "fitted":
        raise InputError(f"repetition must be fitted or a rate R above 0, got {repetition!r}")
    return _fitted(cells, options, unique)


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


def _fitted(
    cells: Cells, options: FitOptions, unique: Float[np.ndarray, " source"]
) -> tuple[Cells, tuple[ParameterStatus, ...]]:
    def misfit(repeats: float) -> float:
        trial = cells.saturating(unique, repeats)
        law = solve(trial, np.nan_to_num(trial.loss)[None], options)[0].take(0)
        guess = forms.predict(law, cells.weights, cells.budget)[0]
        known = (cells.loss > 0) & np.isfinite(guess)  # false where not measured
        return float(np.sum((guess[known] / cells.loss[known] - 1) ** 2))

    grid = np.geomspace(LEAST, MOST, _GRID)
    values = np.array([misfit(r) for r in grid])
    place = int(values.argmin())
    low, high = np.log(grid[max(place - 1, 0)]), np.log(grid[min(place + 1, _GRID - 1)])
    best, least = float(grid[place]), float(values[place])
    for _ in range(3):  # three rounds of five points narrow the bracket 27 times
        inner = np.linspace(low, high, 7)[1:-1]
        tried = np.array([misfit(float(np.exp(v))) for v in inner])
        k = int(tried.argmin())
        if tried[k] < least:
            best, least = float(np.exp(inner[k])), float(tried[k])
        step = (high - low) / 6
        low, high = np.log(best) - step, np.log(best) + step
    plain = misfit(np.inf)
    count = int((~np.isnan(cells.loss)).sum())
    evidence = count * np.log(max(plain, 1e-300) / max(least, 1e-300))
    if evidence < _REFUSED or best >= MOST * 0.99:
        status = ParameterStatus(
            parameter="repeats",
            target=None,
            state="not identified",
            message=(
                "the runs do not show that repeats lose their worth, so they count in full; cap them with max_epochs "
                "where few volumes exist, or add a larger budget of the smallest domain"
            ),
        )
        return cells.saturating(unique, np.inf), (status,)
    state = "at bound" if best <= LEAST * 1.01 else "ok"
    message = (
        ""
        if state == "ok"
        else f"repeats lose their worth at once (R at its bound {LEAST:g}); check the volumes"
    )
    status = ParameterStatus(parameter="repeats", target=None, state=state, message=message)  # type: ignore[arg-type]
    return cells.saturating(unique, best), (status,)
