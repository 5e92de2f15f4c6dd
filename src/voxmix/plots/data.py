"""What each plot shows, as arrays, without a drawing library. Missing is NaN, never 0; transfers are [source, target]."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.allocation import Allocation, AllocationPath
from voxmix.errors import InputError
from voxmix.law import FittedLaw
from voxmix.measurement import MeasurementTable
from voxmix.mixture import Mixture
from voxmix.scores import Comparison

_POINTS = 80
_BEYOND = 4.0  # times the largest fitted budget to which curves are drawn


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """The loss on one target over budgets, of runs of one source alone.

    ``predicted`` lies on ``grid``; ``budgets`` and ``measured`` are the runs of a table, none without one.
    """

    source: str
    target: str
    grid: Float[np.ndarray, " grid"]
    predicted: Float[np.ndarray, " grid"]
    fitted_range: tuple[float, float]
    budgets: Float[np.ndarray, " run"]
    measured: Float[np.ndarray, " run"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Matrix:
    """A transfer matrix: rows are sources, columns are targets, whatever the drawing does."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    values: Float[np.ndarray, "source target"]
    states: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shares:
    """Shares of one mixture with their intervals and near-optimal ranges, NaN where not known."""

    domains: tuple[str, ...]
    weights: Float[np.ndarray, " source"]
    interval: Float[np.ndarray, "source 2"]
    near: Float[np.ndarray, "source 2"]
    level: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bars:
    """Named values with intervals, NaN where not known."""

    names: tuple[str, ...]
    values: Float[np.ndarray, " name"]
    interval: Float[np.ndarray, "name 2"]
    measure: str


def curves_data(
    law: FittedLaw, table: MeasurementTable | None = None, *, target: str | None = None
) -> tuple[Curve, ...]:
    """Return each target's own curve; with ``target``, that target's curve after training on each source.

    Raises:
        InputError: a target that the law does not know.
    """
    if target is not None and target not in law.targets:
        raise InputError(f"unknown target {target!r}; the law has {list(law.targets)}")
    low, high = law.budget_range
    grid = np.geomspace(low, high * _BEYOND, _POINTS)
    pairs = [(source, target) for source in law.domains] if target is not None else _own_pairs(law)
    found = []
    for source, on in pairs:
        weights = Mixture.pure(law.domains, source).weights
        place = law.targets.index(on)
        losses = np.array([law.evaluate(weights, float(n))[place] for n in grid])
        budgets, measured = _measured(table, source, on)
        curve = Curve(
            source=source,
            target=on,
            grid=grid,
            predicted=law.response.from_loss(losses),
            fitted_range=(low, high),
            budgets=budgets,
            measured=measured,
        )
        if np.isfinite(curve.predicted).any() or len(measured):
            found.append(curve)
    return tuple(found)


def _own_pairs(law: FittedLaw) -> list[tuple[str, str]]:
    """Return each target with itself as the source; one that is no source with the source of most worth."""
    best = np.nanargmax(np.nan_to_num(law.transfer, nan=-1.0), axis=0)
    return [
        (name if name in law.domains else law.domains[int(best[j])], name)
        for j, name in enumerate(law.targets)
    ]


def _measured(
    table: MeasurementTable | None, source: str, target: str
) -> tuple[Float[np.ndarray, " run"], Float[np.ndarray, " run"]]:
    if table is None or source not in table.domains:
        return np.empty(0), np.empty(0)
    own = table.source == table.domains.index(source)
    rows = np.flatnonzero(own & np.array([name == target for name in table.target], dtype=bool))
    return table.budget[rows], np.asarray(table.response.from_loss(table.loss[rows]), dtype=np.float64)


def transfer_data(law: FittedLaw) -> Matrix:
    """Return the transfer matrix with the state of each number: "", "ok", "at bound", ..."""
    states = {(s.source, s.target): s.state for s in law.status if s.parameter == "transfer"}
    return Matrix(
        sources=law.domains,
        targets=law.targets,
        values=np.asarray(law.transfer, dtype=np.float64),
        states=tuple(tuple(states.get((a, b), "") for b in law.targets) for a in law.domains),
    )


def shares_data(allocation: Allocation | Mixture) -> Shares:
    """Return the shares of an allocation, or of a mixture without ranges."""
    mixture = allocation if isinstance(allocation, Mixture) else allocation.mixture
    unknown = np.full((len(mixture.domains), 2), np.nan)
    interval = near = unknown
    if isinstance(allocation, Allocation):
        interval = unknown if allocation.intervals is None else np.asarray(allocation.intervals)
        near = np.asarray(allocation.near_optimal)
    return Shares(
        domains=mixture.domains,
        weights=np.asarray(mixture.weights),
        interval=interval,
        near=near,
        level=allocation.level if isinstance(allocation, Allocation) else np.nan,
    )


def strategies_data(
    mixtures: Mapping[str, Allocation | Mixture],
) -> tuple[tuple[str, ...], Float[np.ndarray, "mixture source"]]:
    """Return the domains of several mixtures and their shares, in the order of the mapping; a domain left out has 0."""
    found = {name: m if isinstance(m, Mixture) else m.mixture for name, m in mixtures.items()}
    if not found:
        raise InputError("no mixtures to draw; give at least one, as a mapping of names to mixtures")
    domains = tuple(dict.fromkeys(domain for mixture in found.values() for domain in mixture.domains))
    return domains, np.array([[m.as_dict().get(domain, 0.0) for domain in domains] for m in found.values()])


def predictions_data(
    law: FittedLaw, table: MeasurementTable
) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"], tuple[str, ...]]:
    """Return measured value, predicted value and target of every row of a table on a target that the law knows.

    Raises:
        InputError: the table has other domains than the law, or no target of it.
    """
    if set(table.domains) != set(law.domains):
        raise InputError(
            f"the table has the domains {list(table.domains)}, the law {list(law.domains)}; give its own table"
        )
    rows = [i for i, name in enumerate(table.target) if name in law.targets]
    if not rows:
        raise InputError(f"the table has no target of the law; these are {list(law.targets)}")
    order = [table.domains.index(name) for name in law.domains]
    place = {name: j for j, name in enumerate(law.targets)}
    runs: dict[str, Float[np.ndarray, " target"]] = {}
    for i in rows:
        if table.run[i] not in runs:
            runs[table.run[i]] = law.evaluate(table.weights[i][order], float(table.budget[i]))
    predicted = np.array([runs[table.run[i]][place[table.target[i]]] for i in rows])
    measured = np.asarray(table.loss)[rows]
    return (
        np.asarray(law.response.from_loss(measured)),
        np.asarray(law.response.from_loss(predicted)),
        tuple(table.target[i] for i in rows),
    )


def budgets_data(
    path: AllocationPath,
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, "point source"]]:
    """Return the values of a path's axis and the shares at each."""
    return np.asarray(path.values), np.asarray(path.weights)


def scores_data(comparison: Comparison, task: str) -> Bars:
    """Return the main score of every initialization on a task, best first.

    Raises:
        InputError: no such task.
    """
    if task not in comparison.table.tasks:
        raise InputError(f"unknown task {task!r}; the scores are of {list(comparison.table.tasks)}")
    metric = comparison.metrics(task)[0]
    kept = [e for e in comparison.estimates if e.task == task and e.metric == metric and e.control is None]
    kept.sort(key=lambda e: -np.nan_to_num(e.value, nan=-np.inf))
    return Bars(
        names=tuple(e.init for e in kept),
        values=np.array([e.value for e in kept]),
        interval=np.array([(e.low, e.high) for e in kept]).reshape(len(kept), 2),
        measure=metric.name,
    )
