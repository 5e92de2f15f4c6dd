"""Allocation: a mixture with its proof, its doubts and what other mixtures would give."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix import __version__, _frames, _html, _io
from voxmix.allocation.objective import OBJECTIVE_WORDS
from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.response import LOSS, Response

FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Baseline:
    """What another mixture is predicted to give."""

    weights: Float[np.ndarray, " source"]
    predicted_loss: Float[np.ndarray, " target"]
    objective: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OtherObjective:
    """The best mixture by an objective that was not asked for, under the same limits.

    Attributes:
        objective: what was minimized instead, of this mixture.
        own, own_here: this objective, of this mixture and of the allocation's.
    """

    weights: Float[np.ndarray, " source"]
    predicted_loss: Float[np.ndarray, " target"]
    objective: float
    own: float
    own_here: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Allocation:
    """The best mixture of a law at a budget.

    Attributes:
        mixture, budget, law: the answer, for what budget, and by which law.
        draws: volume draws that the budget buys; the budget itself unless draws have costs.
        predicted_loss: per target.
        response: what the law predicts; of scores, ``predicted`` gives them and losses are ``best - score``.
        contributions: tau_ij g_i(lambda_i N) per source and target, in draws of the target.
        kind: what was minimized: "mean", "relative" or "minimax".
        objective: its value: mean loss, mean of losses over those of uniform, or the worst of these ratios.
        gap: proven bound on how much lower the objective can be.
        shadow_price: fall of the objective per one more allowed draw of each source: above 0 where a cap
            holds it back, below 0 where a least weight or a fixed weight forces it, 0 where it is free.
        intervals: low and high weight per source over the bootstrap draws at ``level``, each source by itself;
            None without draws.
        together: share of the bootstrap draws in which every weight lies inside its interval at once; None
            without draws.
        near_optimal: per source, the least and largest weight among feasible mixtures whose objective is
            within ``tolerance`` of the best.
        baselines: name to what that mixture is predicted to give for the same budget.
        told_apart: per baseline, the share of bootstrap draws in which this mixture beats it; empty without
            draws. Between 0.05 and 0.95 the runs cannot tell the two apart.
        parts: what each target adds to the objective; under minimax its ratio, of which the largest counts. None
            where not known.
        by_objective: the other objectives, each with its best mixture.
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
    shadow_price: Float[np.ndarray, " source"]
    draws: float
    kind: str = "mean"
    told_apart: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    together: float | None = None
    response: Response = LOSS
    parts: Float[np.ndarray, " target"] | None = None
    by_objective: dict[str, OtherObjective] = field(default_factory=dict)

    def change(self, kind: str) -> tuple[str, float, float]:
        """Return the domain whose share another objective changes most, with its share here and there."""
        there = self.by_objective[kind].weights
        i = int(np.argmax(np.abs(there - self.mixture.weights)))
        return self.domains[i], float(self.mixture.weights[i]), float(there[i])

    @property
    def loudest(self) -> dict[str, float]:
        """Target to share of the objective, for the one or two that hold over half of it; empty where no two do.

        Of three or four targets, only one that holds over half is loud: two always do, or nearly.
        """
        if self.parts is None or self.kind == "minimax" or not self.parts.sum() > 0:
            return {}
        share = self.parts / self.parts.sum()
        order = np.argsort(-share, kind="stable")
        count = int(np.searchsorted(np.cumsum(share[order]), 0.5, side="right")) + 1
        if count > 2 or 2 * count >= int(np.count_nonzero(self.parts)):
            return {}
        return {self.targets[i]: float(share[i]) for i in order[:count]}

    @property
    def effective_budget(self) -> Float[np.ndarray, "target source"]:
        """Draws each target gets from each source: the transpose of ``contributions``."""
        return self.contributions.T

    @property
    def predicted(self) -> Float[np.ndarray, " target"]:
        """The predicted response per target: the losses, or the scores of a law of scores."""
        return self.response.from_loss(self.predicted_loss)

    def said(self, objective: float) -> str:
        """Return a value of the objective in words, as the mean score where a mean of scores is meant."""
        if self.response.rises and self.kind == "mean":
            return f"mean {self.response.label} {self.response.from_loss(objective):.5g}"
        return f"{OBJECTIVE_WORDS[self.kind]} {objective:.5g}"

    def __repr__(self) -> str:
        return (
            f"Allocation({self.mixture!r}, budget {self.budget:g}, law {self.law}, objective "
            f"{self.objective:.5g}, at most {self.gap:.1g} from the optimum)"
        )

    def _repr_html_(self) -> str:
        def ends(pair: tuple[float | None, float | None]) -> str:
            return "" if pair[0] is None else f"{pair[0]:.1%} to {pair[1]:.1%}"

        shares = _html.table(
            ("domain", "share", f"{self.level:.0%} interval", "near-optimal"),
            (
                (
                    row["domain"],
                    f"{row['share']:.1%}",
                    ends((row["low"], row["high"])),
                    ends((row["near_low"], row["near_high"])),
                )
                for row in self.to_rows()
            ),
        )
        predicted = _html.table(
            ("target", f"predicted {self.response.label}"),
            ((name, f"{value:.4g}") for name, value in zip(self.targets, self.predicted, strict=True)),
        )
        return _html.paragraph(repr(self)) + shares + predicted + _html.items(self.notes)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one record per domain: its share, draws, the ends of the interval (None without) and of the near-optimal range."""
        ends = [(None, None)] * len(self.domains) if self.intervals is None else self.intervals.tolist()
        near, price = self.near_optimal.tolist(), self.shadow_price.tolist()
        return [
            {
                "domain": name,
                "share": share,
                "draws": share * self.draws,
                "low": ends[i][0],
                "high": ends[i][1],
                "near_low": near[i][0],
                "near_high": near[i][1],
                "shadow_price": price[i],
            }
            for i, (name, share) in enumerate(self.mixture.as_dict().items())
        ]

    def to_frame(self, *, library: str | None = None) -> Any:
        """Return :meth:`to_rows` as a DataFrame of pandas, Polars or PyArrow: the first that is installed, without ``library``."""
        return _frames.frame_of(self.to_rows(), library=library, index="domain")

    def to_dict(self) -> dict[str, Any]:
        """Return the allocation as JSON-like data; :meth:`from_dict` is its inverse."""
        by_domain = {
            "weights": self.mixture.weights.tolist(),
            "near_optimal": self.near_optimal.tolist(),
            "intervals": None if self.intervals is None else self.intervals.tolist(),
            "shadow_price": self.shadow_price.tolist(),
        }
        return {
            "kind": "allocation",
            "format": FORMAT,
            "code": __version__,
            "domains": list(self.domains),
            "targets": list(self.targets),
            "budget": self.budget,
            "draws": self.draws,
            "law": self.law,
            **{
                name: None if values is None else dict(zip(self.domains, values, strict=True))
                for name, values in by_domain.items()
            },
            "level": self.level,
            "together": self.together,
            "tolerance": self.tolerance,
            "min_weight": self.min_weight,
            "predicted_loss": dict(zip(self.targets, self.predicted_loss.tolist(), strict=True)),
            **self.response.predicted(self.targets, self.predicted_loss),
            "minimized": self.kind,
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
            "told_apart": dict(self.told_apart),
            "parts": None
            if self.parts is None
            else dict(zip(self.targets, self.parts.tolist(), strict=True)),
            "loudest_targets": self.loudest,
            "by_objective": {
                kind: {
                    "weights": dict(zip(self.domains, item.weights.tolist(), strict=True)),
                    "predicted_loss": dict(zip(self.targets, item.predicted_loss.tolist(), strict=True)),
                    "objective": item.objective,
                    "own": item.own,
                    "own_here": item.own_here,
                    "largest_change": dict(zip(("domain", "here", "there"), self.change(kind), strict=True)),
                }
                for kind, item in self.by_objective.items()
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
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"the allocation is damaged ({type(error).__name__}: {error}); allocate again"
            ) from None

    def save(self, path: str | Path) -> None:
        """Write the allocation as JSON (kind "allocation")."""
        _io.write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "Allocation":
        """Return the allocation of a JSON file."""
        value = _io.read_versioned(Path(path), kind="allocation", version=FORMAT)
        with _io.naming_damage(Path(path), remedy="allocate again"):
            return cls.from_dict(value)


def _read(value: dict[str, Any]) -> Allocation:
    domains, targets = tuple(value["domains"]), tuple(value["targets"])

    def by_domain(item: dict[str, Any]) -> np.ndarray:
        return np.array([item[d] for d in domains], dtype=np.float64)

    def by_target(item: dict[str, Any]) -> np.ndarray:
        return np.array([item[t] for t in targets], dtype=np.float64)

    # Allocations made before 2026-11-28 know none of these.
    together, parts, others = value.get("together"), value.get("parts"), value.get("by_objective") or {}
    return Allocation(
        domains=domains,
        targets=targets,
        mixture=Mixture(domains=domains, weights=by_domain(value["weights"])),
        budget=value["budget"],
        draws=value["draws"],
        law=value["law"],
        predicted_loss=by_target(value["predicted_loss"]),
        contributions=np.array([by_domain(value["effective_budget"][t]) for t in targets]).T,
        kind=value["minimized"],
        objective=value["objective"],
        gap=value["gap"],
        shadow_price=by_domain(value["shadow_price"]),
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
        told_apart=dict(value["told_apart"]),
        notes=tuple(value["notes"]),
        together=None if together is None else float(together),
        parts=None if parts is None else by_target(parts),
        by_objective={
            kind: OtherObjective(
                weights=by_domain(item["weights"]),
                predicted_loss=by_target(item["predicted_loss"]),
                objective=item["objective"],
                own=item["own"],
                own_here=item["own_here"],
            )
            for kind, item in others.items()
        },
        response=Response.from_dict(value.get("response")),
    )
