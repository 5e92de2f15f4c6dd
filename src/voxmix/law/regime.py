"""Whether a table can tell what helps a target: how far its loss falls with the budget, against the noise of a run.

No law is assumed. A target is judged by how its loss falls over budgets in mixtures (:mod:`voxmix.law.regime_falls`). What
decides is the fall per doubling: a mixture that is worth twice the draws to a target lowers its loss by one doubling of its
curve, whatever the mixture. Where that is less than the error of a law, or than what two runs differ by chance, no law can
say what helps the target. docs/concepts/law.md has the rule and how often it was wrong.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from voxmix.law.outliers import find_outliers
from voxmix.law.regime_falls import Fall, falls, regression
from voxmix.law.regime_lines import APART, LAW_ERROR, Regime, TargetRegime, Verdict
from voxmix.law.regime_noise import VOLUMES, RunNoise, Runs, noise_of, squares_of
from voxmix.law.table_cells import mixture_index
from voxmix.measurement import MeasurementTable

SURE = 0.95  # one-sided level at which a fall, or a difference between mixtures, is no chance
_FLAT = LAW_ERROR / 2  # fall per doubling at the largest budgets below which a curve levels off
_RANKS: tuple[Verdict, ...] = ("moves", "levels off", "barely moves", "does not move", "rises", "not known")
_MANY = 1e6  # degrees of freedom that are as good as infinite


def regime_check(
    table: MeasurementTable, *, keep_outliers: bool = False, odd: Iterable[tuple[str, str]] | None = None
) -> Regime:
    """Return how every target of a table moves with the budget and with the mixture.

    Losses that no noise explains are left out, as a fit leaves them out, unless ``keep_outliers``; ``odd`` are their runs
    and targets, where they are known.
    """
    if odd is None:
        odd = () if keep_outliers else [(item.run, item.target) for item in find_outliers(table)]
    left_out = set() if keep_outliers else set(odd)
    keep = table.loss > 0
    if left_out:
        keep &= [key not in left_out for key in zip(table.run, table.target, strict=True)]
    mixture, target = mixture_index(table), table.target_index
    runs: dict[str, Runs] = {}
    for j, name in enumerate(table.targets):
        rows = np.flatnonzero(keep & (target == j))
        if not len(rows):
            continue
        place = table.domains.index(name) if name in table.domains else None
        runs[name] = Runs(
            mixture=mixture[rows],
            weights=table.weights[rows],
            own=np.zeros(len(rows)) if place is None else table.weights[rows, place],
            budget=table.budget[rows],
            seed=table.seed[rows],
            value=np.log(table.loss[rows]),
            error=table.loss_se[rows] / table.loss[rows],
        )
    squares = {name: squares_of(item) for name, item in runs.items()}
    pool = sum(s for s, _, _ in squares.values()), sum(n for _, n, _ in squares.values())
    return Regime(targets=tuple(_judge(name, runs[name], squares[name], pool) for name in runs))


def _judge(
    name: str, runs: Runs, squares: tuple[float, float, str], pool: tuple[float, float]
) -> TargetRegime:
    noise = noise_of(runs, squares, pool)
    found, words = falls(runs), ""
    if not found:
        found, noise = regression(runs, noise)
        if len(np.unique(runs.budget)) < 2:
            words = _ONE_BUDGET
        elif not found:
            words = "no mixture was run at two budgets, and there are too few runs to compare budgets"
    mixtures, spread, differ = _mixtures(runs, noise)
    sure = 1 - (1 - SURE) / max(len(found), 1)  # of two falls the one that says more counts
    verdict, best = min(
        ((_verdict(item, noise, sure), item) for item in found),
        key=lambda pair: (_RANKS.index(pair[0]), -pair[1].per_doubling),
        default=(_RANKS[-1], None),
    )
    known = noise.freedom > 0
    return TargetRegime(
        target=name,
        verdict=verdict,
        curve=best.words if best else words,
        budgets=best.budgets if best else (),
        losses=best.losses if best else (),
        fall=None if best is None else float(-np.expm1(-best.fall)),
        per_doubling=None if best is None else float(-np.expm1(-best.per_doubling)),
        late=None if best is None or best.late is None else float(-np.expm1(-best.late)),
        noise=noise.size if known else None,
        basis=noise.basis,
        freedom=noise.freedom,
        seeds=best.seeds if best else 0,
        mixtures=mixtures,
        spread=spread,
        mixtures_differ=differ,
    )


_ONE_BUDGET = "every run has the same budget, so these runs do not say whether more draws help"


def _verdict(found: Fall, noise: RunNoise, sure: float) -> Verdict:
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    if not noise.freedom:
        return "not known"
    error = noise.size * found.error
    chance = float(stdtrit(min(noise.freedom, _MANY), sure)) * error
    bound = noise.basis == VOLUMES  # what an upper bound of the noise cannot rule out need not be noise
    if abs(found.fall) <= chance:
        return "not known" if bound else "does not move"
    if found.fall < 0:
        return "rises"
    if found.per_doubling < -np.log1p(-LAW_ERROR):
        return "barely moves"
    if found.per_doubling < APART * noise.size * found.pair:
        return "not known" if bound else "barely moves"
    return "levels off" if found.late is not None and found.late < -np.log1p(-_FLAT) else "moves"


def _mixtures(runs: Runs, noise: RunNoise) -> tuple[int, float | None, bool | None]:
    """Return how many mixtures of several sources were run at one budget, how far they differ, and whether by chance."""
    from scipy.special import fdtri

    mixed = (runs.weights > 0).sum(axis=1) > 1
    by_budget: dict[float, list[tuple[float, int]]] = defaultdict(list)
    for (_, budget), rows in runs.cells():
        if mixed[rows[0]]:
            first = rows[
                runs.seed[rows] == runs.seed[rows].min()
            ]  # one seed: seeds are better or worse as a whole
            by_budget[budget].append((float(runs.value[first[0]]), len(rows)))
    if not by_budget:
        return 0, None, None
    budget = max(by_budget, key=lambda b: (len(by_budget[b]), b))
    values = np.array([value for value, _ in by_budget[budget]])
    if len(values) < 3:
        return len(values), None, None
    spread = float(np.expm1(np.ptp(values)))
    if noise.basis in (VOLUMES, "residuals", "nothing") or not noise.size > 0:
        return len(values), spread, None
    limit = float(fdtri(len(values) - 1, min(noise.freedom, _MANY), SURE))
    return len(values), spread, bool(np.var(values, ddof=1) > limit * noise.size**2)
