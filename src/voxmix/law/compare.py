"""compare_laws(): which law of the family predicts held-out runs best."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from voxmix.errors import InputError
from voxmix.law.cells import Cells
from voxmix.law.family import law_form, law_forms
from voxmix.law.holdout import Holdout, compare_cells, holdout_of
from voxmix.law.joint import measured_alone, solve_folds
from voxmix.law.twostage import FitOptions

_FOLDS = 10  # held-out groups of mixtures at most; a swarm has hundreds of mixtures
_BETTER = 0.9  # a law with more numbers must err by a tenth less than a simpler one to be chosen


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidate:
    """One law and method, and how it predicted held-out cells; ``refused`` says why it could not be tried."""

    law: str
    method: str
    loss: str
    budget: Holdout | None
    mixtures: Holdout | None
    refused: str = ""

    @property
    def score(self) -> float:
        """Mean relative error on held-out mixtures and at the held-out budget; infinite if never tried."""
        errors = []
        if self.budget is not None:
            mixed = self.budget.mixture_error
            errors.append(self.budget.mean_relative_error if np.isnan(mixed) else mixed)
        if self.mixtures is not None:
            errors.append(self.mixtures.mean_relative_error)
        return float(np.mean(errors)) if errors else float("inf")

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
    """Return how the laws of the family predict the largest budget and left-out mixtures.

    The largest budget is held out where three or more remain; each mixture in turn (every tenth together where there
    are more than ten), at all its budgets, where there are two or more. With mixture runs the score counts mixtures only, because that is what a law
    is for; without, the pure runs at the held-out budget.

    Raises:
        InputError: too few budgets to hold one out and no two mixtures.
    """
    sizes = np.unique(cells.budget)
    last = cells.budget == sizes[-1] if len(sizes) >= 4 else None
    groups = _mixtures(cells)
    mixed = bool(cells.mixed.any())
    if last is None and len(groups) < 2:
        raise InputError(
            f"auto needs four budgets or two mixtures to hold something out, got {len(sizes)} and {len(groups)}; add "
            "runs, or name a law"
        )
    forms = [form for form in law_forms() if form.auto]
    staged = [form for form in forms if form.in_two_stages and (mixed or not form.needs_mixtures)]
    if not measured_alone(cells).all():
        staged = []
    if len(sizes) < 2:
        forms = [form for form in forms if not form.by_share]
    tried = [replace(options, law=form.name, method="two-stage") for form in staged]
    if mixed:
        losses = dict.fromkeys((options.loss, "relative-huber"))
        together = [form.name for form in forms if form.transfers]
        tried += [replace(options, law=law, method="joint", loss=loss) for law in together for loss in losses]
    found = tuple(_try(cells, wanted, last, groups) for wanted in tried)
    return LawComparison(candidates=found, **_choice(found, mixed, float(sizes[-1])))


def _mixtures(cells: Cells) -> list[np.ndarray]:
    rows = np.flatnonzero(cells.mixed)
    names = {tuple(np.round(cells.weights[k], 6)) for k in rows}
    fold = {name: k % _FOLDS for k, name in enumerate(sorted(names))}
    at = np.array([fold[tuple(np.round(cells.weights[k], 6))] for k in rows], dtype=np.int64)
    return [rows[at == k] for k in range(min(len(names), _FOLDS))]


def _try(cells: Cells, wanted: FitOptions, last: np.ndarray | None, groups: list[np.ndarray]) -> Candidate:
    name = {"law": wanted.law, "method": wanted.method, "loss": wanted.loss}
    budget, left = None, None
    try:
        if last is not None:
            budget = _held(cells, wanted, [np.flatnonzero(last)])
        if len(groups) >= 2:
            left = _held(cells, wanted, groups)
    except InputError as error:
        return Candidate(**name, budget=None, mixtures=None, refused=str(error))
    return Candidate(**name, budget=budget, mixtures=left)


def _held(cells: Cells, options: FitOptions, groups: list[np.ndarray]) -> Holdout:
    keep = np.ones((len(groups), len(cells.budget)), dtype=bool)
    for k, rows in enumerate(groups):
        keep[k, rows] = False
    folds = [cells.only_cells(rows) for rows in keep]
    laws = solve_folds(cells, folds, keep, options)
    parts = [compare_cells(cells, laws.take(k), rows, folds[k].effects) for k, rows in enumerate(groups)]
    if len(parts) == 1:
        return parts[0]
    return holdout_of(
        cells.targets,
        *(
            np.concatenate([getattr(p, name) for p in parts])
            for name in ("weights", "budget", "predicted", "observed")
        ),
    )


def _choice(found: tuple[Candidate, ...], mixed: bool, largest: float) -> dict[str, Any]:
    able = [c for c in found if mixed or law_form(c.law).transfers]  # without mixtures nothing tests tau = 0
    best = min(able, key=lambda item: item.score)
    simple = next((c for c in able if c.score * _BETTER <= best.score), best)
    others = [c for c in found if c is not simple and np.isfinite(c.score)]
    reason = f"{simple.name} has {simple.score:.1%} mean error on held-out runs; " + ", ".join(
        f"{c.name} {c.score:.1%}" for c in others
    )
    if not mixed:
        reason += (
            f". No run of a mixture: the worth of variety (rho) cannot be known; a run of the uniform mixture at "
            f"{largest:,.0f} draws is the most informative"
        )
    return {"chosen": simple, "reason": reason}
