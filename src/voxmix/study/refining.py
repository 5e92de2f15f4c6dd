"""Refining a study: train what the law chooses and what tells most about it, fit again, until the two agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.study.folder import Study
from voxmix.study.laws import fit_laws
from voxmix.study.listener import QUIET, Listener
from voxmix.study.rounds import Round, trained_as, write_rounds
from voxmix.study.training import train_runs
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.allocation import AllocationSettings
    from voxmix.law import FittedLaw

_SAME = 0.005  # shares that differ by less are the same mixture, which is not trained again
_LEVEL = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundResult:
    """One round after it was trained.

    Attributes:
        choice: the law's mixture.
        predicted: target to loss and its low and high end, before the round was trained.
        measured: target to mean loss over seeds, the seeds' own effects taken out.
        move: largest change of a share from this choice to the next one.
        agrees: whether every measured loss lies in its interval.
    """

    choice: Mixture
    law: str
    predicted: dict[str, tuple[float, float, float]]
    measured: dict[str, float]
    move: float
    agrees: bool

    @property
    def gap(self) -> float:
        """Mean measured loss over the mean predicted one, less 1."""
        told = float(np.mean([self.predicted[name][0] for name in self.measured]))
        return float(np.mean(list(self.measured.values()))) / told - 1

    def to_dict(self) -> dict[str, Any]:
        """Return the round as JSON-like data."""
        return {
            "choice": self.choice.as_dict(),
            "law": self.law,
            "predicted": {name: list(values) for name, values in self.predicted.items()},
            "measured": self.measured,
            "gap": self.gap,
            "move": self.move,
            "agrees": self.agrees,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Refinement:
    """The path of a study's rounds, and why it ended: "agreed", "settled" (nothing is left to train), "rounds" or "draws"."""

    rounds: tuple[RoundResult, ...]
    choice: Mixture
    draws: int
    stopped: str

    @property
    def sentence(self) -> str:
        """How it ended, and what to do."""
        count = f"{len(self.rounds)} round{'' if len(self.rounds) == 1 else 's'}"
        if self.stopped == "agreed":
            return f"Agreed after {count}: what the law predicted for its choice was measured within noise."
        if self.stopped == "settled":
            return (
                f"Not agreed after {count}: every mixture near the choice is measured and the law still errs there. Compare "
                "voxmix fit with other laws, or set fit: repetition where few volumes of a domain exist."
            )
        return (
            f"Not agreed after {count}: the {self.stopped} allowed are spent. Give more --{self.stopped}, or set fit: "
            "repetition where few volumes of a domain exist."
        )


def refine_study(
    study: Study | StudyView,
    hear: Listener = QUIET,
    *,
    budget: int | None = None,
    rounds: int = 5,
    draws: int | None = None,
    tolerance: float = 0.05,
    neighbours: int = 2,
) -> Refinement:
    """Propose, train, measure and fit again until the law agrees with its own choice and the choice stays.

    Rounds are kept in the study and counted over all calls: the same call after an interruption goes on.

    Args:
        budget: volume draws of every run; the largest proxy budget if left out.
        rounds: most rounds.
        draws: most volume draws of all rounds together.
        tolerance: largest change of a share that counts as no move.
        neighbours: mixtures beside the choice in each round.

    Raises:
        StepPendingError: proxy runs are pending.
        InputError: a number that is not possible, or a budget that is not in draws.
        VoxmixError: a run failed; the others are kept.
    """
    view = StudyView.of(study)
    if rounds < 1 or not 0 < tolerance <= 1 or (budget is not None and budget < 1):
        raise InputError(
            f"refine needs rounds and a budget of at least 1 and a tolerance above 0 up to 1, got {rounds}, {budget} and "
            f"{tolerance}"
        )
    if view.config.design.budget_unit != "draws" or view.config.allocation.cost:
        raise InputError("refine needs budgets in draws and no costs; set design.budget_unit: draws")
    at = budget or view.config.design.budgets[-1]
    if stale := len(view.all_rounds) - len(view.rounds):
        hear.tell(
            f"{stale} round(s) of refine are of other volumes or settings of the runs; they are kept and not used"
        )
    while True:
        if view.rounds:
            train_runs(view, view.rounds[-1].specs(view.config, view.cache_digest), "refining", hear)
            view = StudyView(view.study)
        name, law = _law(view, hear)
        asked = view.asked.on(law.targets, of=view.targets)
        choice = _snapped(view, _choice(law, asked, at))
        path = _path(view, law, choice)
        spent = sum(sum(item.draws) * item.seeds for item in view.rounds)
        if path and view.rounds[-1].draws[0] == at and path[-1].agrees and path[-1].move <= tolerance:
            return Refinement(rounds=path, choice=path[-1].choice, draws=spent, stopped="agreed")
        if len(path) >= rounds:
            return Refinement(rounds=path, choice=choice, draws=spent, stopped="rounds")
        seeds = max(
            view.config.design.anchor_seeds, view.config.design.vertex_seeds, view.config.design.seeds
        )
        if draws is not None and spent + at * seeds > draws:
            return Refinement(rounds=path, choice=choice, draws=spent, stopped="draws")
        most = neighbours if draws is None else min(neighbours, (draws - spent) // (at * seeds) - 1)
        mixtures = (choice, *_neighbours(view, law, asked, choice, at)[:most])
        proposed = Round(
            trained_as=trained_as(view.config, view.cache_digest),
            mixtures=mixtures,
            draws=(at,) * len(mixtures),
            seeds=seeds,
            law=name,
            predicted=_predicted(law, choice, at, seeds),
        )
        if path and not view.study.pending(proposed.specs(view.config, view.cache_digest)):
            return Refinement(rounds=path, choice=choice, draws=spent, stopped="settled")
        write_rounds(view.study.refine_path, (*view.all_rounds, proposed))
        view = StudyView(view.study)


def _law(view: StudyView, hear: Listener) -> tuple[str, FittedLaw]:
    """Return the law that chooses: of those with transfer the most general one that the study fits."""
    from voxmix.law.family import preferred_forms

    laws = fit_laws(view, hear)
    name = next(form.name for form in preferred_forms() if form.name in laws)
    return name, laws[name]


def _choice(law: FittedLaw, asked: AllocationSettings, budget: int) -> Mixture:
    from voxmix.allocation import allocate

    return allocate(law, asked, budget=budget).mixture


def _snapped(view: StudyView, mixture: Mixture) -> Mixture:
    """Return a mixture of an earlier round where that is nearly the same, so that it is not trained again."""
    for item in view.rounds:
        for known in item.mixtures:
            if float(np.abs(known.weights - mixture.weights).max()) < _SAME:
                return known
    return mixture


def _neighbours(
    view: StudyView, law: FittedLaw, asked: AllocationSettings, choice: Mixture, budget: int
) -> tuple[Mixture, ...]:
    """Return mixtures half-way from the choice to the corners and to uniform, the most informative first."""
    from voxmix.allocation import suggest
    from voxmix.allocation.limits import limits

    bounds = limits(law.domains, replace(asked, budget=float(budget)))
    corners = [Mixture.vertex(law.domains, name, min_weight=asked.min_weight) for name in law.domains]
    halves = [
        Mixture(domains=law.domains, weights=(choice.weights + other.weights) / 2)
        for other in (*corners, Mixture.uniform(law.domains))
    ]
    known = [mixture for item in view.rounds for mixture in item.mixtures]
    able = [
        mixture
        for mixture in halves
        if np.all(mixture.weights <= bounds.upper + 1e-9)
        and np.all(mixture.weights >= bounds.lower - 1e-9)
        and all(float(np.abs(mixture.weights - other.weights).max()) >= _SAME for other in (choice, *known))
    ]
    if not able or law.bootstrap is None or law.bootstrap.draws < 50:
        return tuple(able)
    found = suggest(law, asked, budget=budget, budgets=[float(budget)], mixtures=able)
    return tuple(item.mixture for item in found)


def _predicted(
    law: FittedLaw, choice: Mixture, budget: int, seeds: int
) -> dict[str, tuple[float, float, float]]:
    """Return target to the loss of the choice and its interval, all targets at once (Bonferroni).

    Standard deviations of the log loss: of the law over its bootstrap, and of a cell's mean as the fit judged it.
    """
    from scipy.special import ndtri

    from voxmix.law.forms import predict

    told = law.evaluate(law.weights_of(choice), budget)
    variance = np.asarray(law.noise, dtype=np.float64) ** 2
    if law.bootstrap is not None:
        drawn = predict(law.bootstrap, law.weights_of(choice)[None], np.array([float(budget)]))[:, 0]
        variance = variance + np.log(np.maximum(drawn, 1e-300)).var(axis=0)
    half = float(ndtri(1 - (1 - _LEVEL) / 2 / len(law.targets))) * np.sqrt(variance)
    return {
        name: (float(loss), float(loss * np.exp(-h)), float(loss * np.exp(h)))
        for name, loss, h in zip(law.targets, told, half, strict=True)
    }


def _path(view: StudyView, law: FittedLaw, following: Mixture) -> tuple[RoundResult, ...]:
    """Return every round with what was measured, each with the move to the next choice."""
    choices = [*(item.mixtures[0] for item in view.rounds), following]
    found = []
    for item, after in zip(view.rounds, choices[1:], strict=True):
        runs = view.results(item.specs(view.config, view.cache_digest)[: item.seeds])
        effects = law.seed_effects.of(np.array([run.spec.seed for run in runs], dtype=np.int64))
        measured = {}
        for name in item.predicted:
            values = [run.losses.get(name, {}).get("loss") for run in runs]
            if values and None not in values:
                measured[name] = float(np.mean(np.array(values, dtype=np.float64) * np.exp(-effects)))
        found.append(
            RoundResult(
                choice=item.mixtures[0],
                law=item.law,
                predicted=item.predicted,
                measured=measured,
                move=float(np.abs(after.weights - item.mixtures[0].weights).max()),
                agrees=bool(measured)
                and all(item.predicted[n][1] <= loss <= item.predicted[n][2] for n, loss in measured.items()),
            )
        )
    return tuple(found)
