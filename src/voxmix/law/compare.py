"""compare_laws(): which law of the family predicts held-out runs best."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.errors import InputError
from voxmix.law.cells import Cells
from voxmix.law.family import law_form, law_forms
from voxmix.law.holdout import Holdout, compare_cells, holdout_of
from voxmix.law.joint import solve_folds
from voxmix.law.joint_starts import measured_alone
from voxmix.law.twostage import FitOptions

_FOLDS = 10  # held-out groups of mixtures at most; a swarm has hundreds of mixtures
_NOTHING = 1e-6  # relative error below which no law is better than another
_TOLD = 4  # candidates beside the chosen one that its reason names
_BETTER = 0.9  # a law must err by a tenth less than one that comes before it to be chosen


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidate:
    """One law and method, and how it predicted held-out cells; ``refused`` says why it could not be tried."""

    law: str
    method: str
    loss: str
    budget: Holdout | None = None
    mixtures: Holdout | None = None
    both: Holdout | None = None
    refused: str = ""

    @property
    def score(self) -> float:
        """Geometric mean of the relative errors of what was held out; infinite if never tried."""
        errors = []
        if self.budget is not None:
            mixed = self.budget.mixture_error
            errors.append(self.budget.mean_relative_error if np.isnan(mixed) else mixed)
        errors += [held.mean_relative_error for held in (self.mixtures, self.both) if held is not None]
        if not errors or np.isnan(errors).any():
            return float("inf")
        return float(np.exp(np.mean(np.log(np.maximum(errors, _NOTHING)))))

    @property
    def name(self) -> str:
        """Law, method and loss in words."""
        return f"{self.law} ({self.method}{'' if self.loss == 'mse' else ', ' + self.loss})"

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as JSON-like data."""
        return {
            "law": self.law,
            "method": self.method,
            "loss": self.loss,
            "score": self.score if np.isfinite(self.score) else None,
            "refused": self.refused,
            "budget": None if self.budget is None else self.budget.to_dict(),
            "mixtures": None if self.mixtures is None else self.mixtures.to_dict(),
            "both": None if self.both is None else self.both.to_dict(),
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LawComparison:
    """Candidates in the order they were tried, the chosen one, and why."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-like data."""
        return {
            "chosen": {"law": self.chosen.law, "method": self.chosen.method, "loss": self.chosen.loss},
            "reason": self.reason,
            "candidates": [item.to_dict() for item in self.candidates],
        }


def compare_laws(cells: Cells, options: FitOptions) -> LawComparison:
    """Return how the laws of the family predict the largest budget, left-out mixtures, and both at once.

    The largest budget is held out where three or more remain. Mixtures are held out in turn, at all their budgets, where
    there are two or more (every tenth together where there are more than ten): those inside the convex hull of the other
    runs, as what allocation asks is, or all where none is. Where both can be, each is left out together with the largest
    budget, and predicted there. With mixture runs the score counts mixtures only, because that is what a law is for;
    without, the pure runs at the held-out budget. Of laws that err within a tenth of the best, the simplest is chosen;
    where mixtures tell all sources apart, as vertex runs do, the one that the family prefers (docs/concepts/law.md).

    Raises:
        InputError: too few budgets to hold one out and no two mixtures.
    """
    sizes = np.unique(cells.budget)
    last = cells.budget == sizes[-1] if len(sizes) >= 4 else None
    groups = _mixtures(cells)
    mixed = bool(cells.mixed.any())
    if last is None and not groups:
        raise InputError(
            f"auto needs four budgets or two mixtures to hold something out, got {len(sizes)} and {int(mixed)}; add "
            "runs, or name a law"
        )
    forms = law_forms()
    staged = [form for form in forms if form.in_two_stages and (mixed or not form.needs_mixtures)]
    if not measured_alone(cells).all():
        staged = []
    if len(sizes) < 2:
        forms = tuple(form for form in forms if not form.by_share)
    tried = [replace(options, law=form.name, method="two-stage") for form in staged]
    if mixed:
        losses = dict.fromkeys(("relative-huber", options.loss))
        together = [form.name for form in forms if form.transfers or np.all(cells.own >= 0)]
        tried += [replace(options, law=law, method="joint", loss=loss) for law in together for loss in losses]
    folds = _folds(cells, last, groups)
    found = tuple(_try(cells, wanted, folds) for wanted in tried)
    return LawComparison(candidates=found, **_choice(found, cells))


def _mixtures(cells: Cells) -> list[np.ndarray]:
    rows = np.flatnonzero(cells.mixed)
    names = {tuple(np.round(cells.weights[k], 6)) for k in rows}
    if len(names) < 2:
        return []
    around = sorted(name for name in names if _inside(cells, np.array(name)))
    chosen = around or sorted(names)
    fold = {name: k % _FOLDS for k, name in enumerate(chosen)}
    at = np.array([fold.get(tuple(np.round(cells.weights[k], 6)), -1) for k in rows], dtype=np.int64)
    return [rows[at == k] for k in range(min(len(chosen), _FOLDS))]


def _inside(cells: Cells, weights: Float[np.ndarray, " source"]) -> bool:
    """Return whether a mixture lies in the convex hull of the other runs."""
    from scipy.optimize import nnls

    others = cells.weights[np.abs(cells.weights - weights).max(axis=1) > 1e-5]
    if not len(others):
        return False
    left = nnls(np.vstack([others.T, np.ones(len(others))]), np.append(weights, 1.0))[1]
    return bool(left < 1e-4)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Folds:
    """What is held out: by kind, which cells each fold keeps and which it predicts."""

    kinds: tuple[str, ...]
    keep: Bool[np.ndarray, "fold cell"]
    asked: tuple[Int[np.ndarray, " _"], ...]
    cells: tuple[Cells, ...]


def _folds(cells: Cells, last: Bool[np.ndarray, " cell"] | None, groups: list[np.ndarray]) -> Folds:
    kinds, keep, asked = [], [], []

    def hold_out(kind: str, gone: np.ndarray, rows: np.ndarray) -> None:
        kinds.append(kind)
        keep.append(~gone)
        asked.append(np.flatnonzero(rows))

    if last is not None:
        hold_out("budget", last, last)
    for rows in groups:
        out = np.isin(np.arange(len(cells.budget)), rows)
        hold_out("mixtures", out, out)
        if last is not None and (out & last).any():
            hold_out("both", out | last, out & last)
    return Folds(
        kinds=tuple(kinds),
        keep=np.array(keep),
        asked=tuple(asked),
        cells=tuple(cells.only_cells(rows) for rows in keep),
    )


def _try(cells: Cells, wanted: FitOptions, folds: Folds) -> Candidate:
    tried = Candidate(law=wanted.law, method=wanted.method, loss=wanted.loss)
    try:
        laws = solve_folds(cells, folds.cells, folds.keep, wanted)
    except InputError as error:
        return replace(tried, refused=str(error))
    parts = [
        compare_cells(cells, laws.take(k), rows, folds.cells[k].effects) for k, rows in enumerate(folds.asked)
    ]
    held = {
        kind: _joined([part for part, of in zip(parts, folds.kinds, strict=True) if of == kind])
        for kind in dict.fromkeys(folds.kinds)
    }
    return replace(tried, budget=held.get("budget"), mixtures=held.get("mixtures"), both=held.get("both"))


def _joined(parts: list[Holdout]) -> Holdout:
    if len(parts) == 1:
        return parts[0]
    return holdout_of(
        parts[0].targets,
        *(
            np.concatenate([getattr(p, name) for p in parts])
            for name in ("weights", "budget", "predicted", "observed")
        ),
    )


def _choice(found: tuple[Candidate, ...], cells: Cells) -> dict[str, Any]:
    mixed, largest = bool(cells.mixed.any()), float(cells.budget.max())
    able = [c for c in found if mixed or law_form(c.law).transfers]  # without mixtures nothing tests tau = 0
    best = min(able, key=lambda item: item.score)
    tied = [c for c in able if c.score * _BETTER <= best.score] or [best]
    simple = tied[0]
    if mixed and np.linalg.matrix_rank(cells.weights[cells.mixed]) == len(cells.domains):
        simple = min(tied, key=lambda item: law_form(item.law).preference)
    others = sorted(
        (c for c in found if c is not simple and np.isfinite(c.score)), key=lambda item: item.score
    )
    told = [f"{c.name} {c.score:.1%}" for c in others[:_TOLD]]
    if len(others) > _TOLD:
        told.append(f"{len(others) - _TOLD} others up to {others[-1].score:.1%}")
    reason = f"{simple.name} has {simple.score:.1%} mean error on held-out runs; " + ", ".join(told)
    if not mixed:
        reason += (
            f". No run of a mixture: the worth of variety (rho) cannot be known; a run of the uniform mixture at "
            f"{largest:,.0f} draws is the most informative"
        )
    return {"chosen": simple, "reason": reason}
