"""allocate(): the mixture of least predicted loss for a budget, with a proof and with what it leaves open."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix import __version__, _io
from voxmix.allocation.interior import Solution, certificate, solve
from voxmix.allocation.nearby import near_optimal
from voxmix.errors import InputError
from voxmix.law import FittedLaw
from voxmix.law.forms import Landscape
from voxmix.mixture import Mixture

FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Baseline:
    """What another mixture is predicted to give."""

    weights: Float[np.ndarray, " source"]
    predicted_loss: Float[np.ndarray, " target"]
    objective: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Allocation:
    """The best mixture of a law at a budget.

    Attributes:
        mixture, budget, law: the answer, for how many draws, and by which law.
        predicted_loss: per target.
        contributions: tau_ij g_i(lambda_i N) per source and target, in draws of the target.
        objective: the mean (or weighted mean) of predicted losses.
        gap: proven bound on how much lower the objective can be.
        intervals: low and high weight per source over the bootstrap draws at ``level``; None without draws.
        near_optimal: per source, the least and largest weight among mixtures whose objective is within
            ``tolerance`` of the best.
        baselines: name to what that mixture is predicted to give.
    """

    domains: tuple[str, ...]
    targets: tuple[str, ...]
    mixture: Mixture
    budget: float
    law: str
    predicted_loss: Float[np.ndarray, " target"]
    contributions: Float[np.ndarray, "source target"]
    objective: float
    gap: float
    min_weight: float
    near_optimal: Float[np.ndarray, "source 2"]
    tolerance: float
    intervals: Float[np.ndarray, "source 2"] | None
    level: float
    baselines: dict[str, Baseline]
    notes: tuple[str, ...] = ()

    @property
    def effective_budget(self) -> Float[np.ndarray, "target source"]:
        """Draws each target gets from each source: the transpose of ``contributions``."""
        return self.contributions.T

    def __repr__(self) -> str:
        return (
            f"Allocation({self.mixture!r}, budget {self.budget:g}, law {self.law}, objective "
            f"{self.objective:.5g}, at most {self.gap:.1g} from the optimum)"
        )

    def _repr_html_(self) -> str:
        from html import escape

        rows = ""
        for i, name in enumerate(self.domains):
            low, high = self.near_optimal[i]
            sure = (
                "" if self.intervals is None else f"{self.intervals[i, 0]:.1%} to {self.intervals[i, 1]:.1%}"
            )
            rows += (
                f"<tr><th>{escape(name)}</th><td>{self.mixture.weights[i]:.1%}</td><td>{sure}</td>"
                f"<td>{low:.1%} to {high:.1%}</td></tr>"
            )
        head = f"<th>domain</th><th>weight</th><th>{self.level:.0%} interval</th><th>near-optimal</th>"
        return f"<p>{escape(repr(self))}</p><table><tr>{head}</tr>{rows}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Return the allocation as JSON-like data; :meth:`from_dict` is its inverse."""
        by_domain = {
            "weights": self.mixture.weights.tolist(),
            "near_optimal": self.near_optimal.tolist(),
            "intervals": None if self.intervals is None else self.intervals.tolist(),
        }
        return {
            "kind": "allocation",
            "format": FORMAT,
            "code": __version__,
            "domains": list(self.domains),
            "targets": list(self.targets),
            "budget": self.budget,
            "law": self.law,
            **{
                name: None if values is None else dict(zip(self.domains, values, strict=True))
                for name, values in by_domain.items()
            },
            "level": self.level,
            "tolerance": self.tolerance,
            "min_weight": self.min_weight,
            "predicted_loss": dict(zip(self.targets, self.predicted_loss.tolist(), strict=True)),
            "objective": self.objective,
            "gap": self.gap,
            "effective_budget": {
                target: dict(zip(self.domains, row, strict=True))
                for target, row in zip(self.targets, self.effective_budget.tolist(), strict=True)
            },
            "baselines": {
                name: {
                    "weights": dict(zip(self.domains, item.weights.tolist(), strict=True)),
                    "predicted_loss": dict(zip(self.targets, item.predicted_loss.tolist(), strict=True)),
                    "objective": item.objective,
                }
                for name, item in self.baselines.items()
            },
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Allocation":
        """Return the allocation written by :meth:`to_dict`.

        Raises:
            InputError: another format version, or a key is missing.
        """
        if value.get("kind") != "allocation" or value.get("format") != FORMAT:
            raise InputError(
                f"expected an allocation of format {FORMAT}, got kind {value.get('kind')!r} format "
                f"{value.get('format')!r}; allocate again with this version of voxmix"
            )
        try:
            return _read(value)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"the allocation is damaged ({type(error).__name__}: {error}); allocate again"
            ) from None

    def save(self, path: Path) -> None:
        """Write the allocation as JSON (kind "allocation")."""
        _io.write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: Path) -> "Allocation":
        """Return the allocation of a JSON file."""
        return cls.from_dict(_io.read_versioned(Path(path), kind="allocation", version=FORMAT))


def _read(value: dict[str, Any]) -> Allocation:
    domains, targets = tuple(value["domains"]), tuple(value["targets"])

    def by_domain(item: dict[str, Any]) -> np.ndarray:
        return np.array([item[d] for d in domains], dtype=np.float64)

    def by_target(item: dict[str, Any]) -> np.ndarray:
        return np.array([item[t] for t in targets], dtype=np.float64)

    return Allocation(
        domains=domains,
        targets=targets,
        mixture=Mixture(domains=domains, weights=by_domain(value["weights"])),
        budget=value["budget"],
        law=value["law"],
        predicted_loss=by_target(value["predicted_loss"]),
        contributions=np.array([by_domain(value["effective_budget"][t]) for t in targets]).T,
        objective=value["objective"],
        gap=value["gap"],
        min_weight=value["min_weight"],
        near_optimal=by_domain(value["near_optimal"]),
        tolerance=value["tolerance"],
        intervals=None if value["intervals"] is None else by_domain(value["intervals"]),
        level=value["level"],
        baselines={
            name: Baseline(
                weights=by_domain(item["weights"]),
                predicted_loss=by_target(item["predicted_loss"]),
                objective=item["objective"],
            )
            for name, item in value["baselines"].items()
        },
        notes=tuple(value["notes"]),
    )


def allocate(
    law: FittedLaw,
    *,
    budget: float,
    min_weight: float = 0.05,
    volumes: Mapping[str, float] | None = None,
    target_weights: Mapping[str, float] | None = None,
    tolerance: float = 0.01,
    level: float = 0.9,
) -> Allocation:
    """Return the mixture that minimizes the mean predicted loss at ``budget`` draws.

    ``min sum_j w_j L_j(lambda, N) / sum_j w_j`` over the simplex with ``lambda >= min_weight``: a convex
    problem, so the answer is the global optimum up to ``gap`` (spec, section 4).

    Args:
        law: a fitted law; with bootstrap draws the weights get intervals.
        budget: volume draws, above 0; may lie outside the fitted budgets (``notes`` say so).
        min_weight: least share of any domain; the paper's 0.05, lowered to half of ``1 / domains`` where
            that is less.
        volumes: volumes that exist per domain, for the data-proportional baseline; the law's own if it has.
        target_weights: importance per target, 1 where not named.
        tolerance: relative loss that counts as near-optimal.
        level: of the intervals.

    Raises:
        InputError: a budget or weight out of range, or an unknown domain.
    """
    if not (np.isfinite(budget) and budget > 0):
        raise InputError(f"budget must be a number of draws above 0, got {budget}")
    count = len(law.domains)
    if not 0 <= min_weight <= 1:
        raise InputError(f"min_weight must lie between 0 and 1, got {min_weight}; the paper uses 0.05")
    if min_weight * count > 1 + 1e-12:
        raise InputError(
            f"min_weight {min_weight} for {count} domains needs {min_weight * count:.2f} of the budget; "
            f"give at most {1 / count:.4f}"
        )
    importance = _importance(law, target_weights)
    lower, upper = np.full(count, min(min_weight, 1 / count)), np.ones(count)
    landscape = Landscape(law.parameters, budget)
    found = solve(landscape, importance[None], lower=lower, upper=upper)
    weights = found.weights[0]
    mixture = Mixture(domains=law.domains, weights=weights)
    intervals = None
    if law.bootstrap is not None:
        many = resolve(law, budget, importance, lower, upper)
        tail = (1 - level) / 2
        intervals = np.quantile(many.weights, [tail, 1 - tail], axis=0).T
    notes = []
    if law.extrapolation(budget) > 1:
        notes.append(
            f"the budget lies {law.extrapolation(budget):.1f} times outside the fitted budgets "
            f"{law.budget_range[0]:g} to {law.budget_range[1]:g}; check the mixture with a run"
        )
    return Allocation(
        domains=law.domains,
        targets=law.targets,
        mixture=mixture,
        budget=float(budget),
        law=law.law,
        predicted_loss=landscape.loss(weights[None])[0],
        contributions=law.contributions(mixture, budget),
        objective=float(found.objective[0]),
        gap=float(found.gap[0]),
        min_weight=float(lower[0]),
        near_optimal=near_optimal(landscape, importance, weights, lower, upper, tolerance=tolerance),
        tolerance=tolerance,
        intervals=intervals,
        level=level,
        baselines=_baselines(law, landscape, importance, volumes),
        notes=tuple(notes),
    )


def resolve(
    law: FittedLaw,
    budget: float,
    importance: Float[np.ndarray, " target"],
    lower: Float[np.ndarray, " source"],
    upper: Float[np.ndarray, " source"],
) -> Solution:
    """Return the allocations of all bootstrap draws of a law."""
    assert law.bootstrap is not None
    return solve(Landscape(law.bootstrap, budget), importance[None], lower=lower, upper=upper, tolerance=1e-6)


def _importance(law: FittedLaw, target_weights: Mapping[str, float] | None) -> Float[np.ndarray, " target"]:
    given = dict(target_weights or {})
    unknown = [name for name in given if name not in law.targets]
    if unknown:
        raise InputError(f"target_weights names unknown targets {unknown}; the law has {list(law.targets)}")
    values = np.array([given.get(name, 1.0) for name in law.targets], dtype=np.float64)
    if not np.all(np.isfinite(values)) or np.any(values < 0) or values.sum() <= 0:
        raise InputError(f"target_weights must be at least 0 and not all 0, got {given}")
    return values / values.sum()


def _baselines(
    law: FittedLaw,
    landscape: Landscape,
    importance: Float[np.ndarray, " target"],
    volumes: Mapping[str, float] | None,
) -> dict[str, Baseline]:
    mixtures = {"uniform": Mixture.uniform(law.domains)}
    counts = dict(law.volumes if volumes is None else volumes)
    if counts and all(counts.get(name, 0) > 0 for name in law.domains):
        mixtures["data-proportional"] = Mixture.from_counts({name: counts[name] for name in law.domains})
    result = {}
    for name, mixture in mixtures.items():
        losses = landscape.loss(mixture.weights[None])[0]
        result[name] = Baseline(
            weights=mixture.weights, predicted_loss=losses, objective=float(losses @ importance)
        )
    return result


__all__ = ["Allocation", "Baseline", "allocate", "certificate"]
