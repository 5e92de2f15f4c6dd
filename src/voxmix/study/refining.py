"""Refining a study: train what the law chooses and what tells most about it, fit again, until the two agree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from voxmix.allocation.refinement import Refinement, RoundResult, Told
from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.study.folder import Study
from voxmix.study.laws import fitted
from voxmix.study.listener import QUIET, Listener
from voxmix.study.rounds import Record, Round, changed_words, write_record
from voxmix.study.training import train_runs
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.allocation import AllocationSettings
    from voxmix.law import FittedLaw

_SAME = 0.005  # shares that differ by less are the same mixture, which is not trained again
_LEVEL = 0.9


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

    Rounds are kept in the study and counted over all calls: the same call after an interruption goes on. A round agrees
    where the measured mean loss of its choice lies in the 90% interval that the law gave before it was trained, and within 5% of the prediction. The next
    choice is the law's, unless that is measured already and another mixture was measured better by more than noise: then it
    is that one.

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
    if other := _of_other_settings(view):
        hear.tell(other)
    view = _hearing(view)
    while True:
        if begun := _begun(view):
            train_runs(view, begun[-1].specs(view.config, view.cache_digest), "refining", hear)
            view = StudyView(view.study)
        name, law = _law(view, hear)
        asked = _asked(view, law)
        choice = _better(view, law, asked, _snapped(view, _choice(law, asked, at)), at, tolerance)
        path = _path(view, law, asked, choice)
        spent = sum(sum(item.draws) * item.seeds for item in _begun(view))
        seeds = max(
            view.config.design.anchor_seeds, view.config.design.vertex_seeds, view.config.design.seeds
        )
        agreed = bool(path) and path[-1].budget == at and path[-1].agrees and path[-1].move <= tolerance
        stopped = ""
        if agreed:
            choice, stopped = path[-1].choice, "agreed"
        elif len(path) >= rounds:
            stopped = "rounds"
        elif draws is not None and spent + at * seeds > draws:
            stopped = "draws"
        whole = view.config.allocation.budget
        told = (whole, _predicted(law, asked, choice, whole)[0])
        later = _choice(law, asked, whole)
        found = Refinement(rounds=path, choice=choice, told=told, later=later, draws=spent, stopped=stopped)
        if stopped:
            return _kept(view, found)
        most = neighbours if draws is None else min(neighbours, (draws - spent) // (at * seeds) - 1)
        mixtures = (choice, *_neighbours(view, law, asked, choice, at)[:most])
        mean, predicted = _predicted(law, asked, choice, at)
        proposed = Round(
            basis=view.refine_basis,
            mixtures=mixtures,
            draws=(at,) * len(mixtures),
            seeds=seeds,
            law=name,
            mean=mean,
            predicted=predicted,
        )
        if path and not view.study.pending(proposed.specs(view.config, view.cache_digest)):
            return _kept(view, replace(found, stopped="settled"))
        _kept(view, found, proposed)
        view = StudyView(view.study)


def _of_other_settings(view: StudyView) -> str:
    """Return what is not used of the rounds of other settings, in words; "" where all are of today's."""
    now = view.refine_basis
    others = [item.basis for item in view.refine_record.rounds if item.basis != now]
    if not others:
        return ""
    lost = sum(basis["runs"] != now["runs"] for basis in others)
    fitted = len(others) - lost
    words = f"{len(others)} round(s) of refine are of another {changed_words(others[-1], now)}"
    if lost:
        words += f"; {lost} of them, whose runs are not the study's, are kept and not used"
    if fitted:
        words += f"; {fitted} of them, whose runs are, are fitted and do not count as rounds: the path begins again"
    return words


def _hearing(view: StudyView) -> StudyView:
    """Return the study with its laws fitted to the runs of refine too."""
    config = view.config
    return StudyView(replace(view.study, config=replace(config, fit=replace(config.fit, refine_runs=True))))


def _kept(view: StudyView, path: Refinement, *proposed: Round) -> Refinement:
    """Write the path as it is judged now, and the round that is proposed; return the path."""
    rounds = (*view.refine_record.rounds, *proposed)
    if rounds:
        write_record(view.study.refine_path, Record(rounds=rounds, path=path, basis=view.refine_basis))
    return path


def _begun(view: StudyView) -> tuple[Round, ...]:
    """Return the rounds that were made from the study's settings of now, finished or not."""
    return tuple(item for item in view.refine_record.rounds if item.basis == view.refine_basis)


def _law(view: StudyView, hear: Listener) -> tuple[str, FittedLaw]:
    """Return the law that chooses, fitted to every run: of those with transfer the most general one of the study."""
    from voxmix.law.family import preferred_forms

    wanted = view.laws_wanted
    name = next(form.name for form in preferred_forms() if form.name in wanted)
    return name, fitted(view, (name,), hear)[name]


def _asked(view: StudyView, law: FittedLaw) -> AllocationSettings:
    """Return what is asked of a mixture, with limits that hold at the study's budget, where the mixture is to be used."""
    asked = view.asked.on(law.targets, of=view.targets)
    if asked.max_epochs is None:
        return asked
    most = {
        name: min(asked.max_weight.get(name, 1.0), asked.max_epochs * count / view.config.allocation.budget)
        for name, count in asked.volumes.items()
    }
    return replace(asked, max_weight=most, max_epochs=None)


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


def _better(
    view: StudyView, law: FittedLaw, asked: AllocationSettings, choice: Mixture, budget: int, tolerance: float
) -> Mixture:
    """Return the choice, or where it is measured already the mixture that was measured better by more than noise (95%)."""
    told: list[tuple[float, Mixture]] = []
    for item in view.rounds:
        for place, mixture in enumerate(item.mixtures):
            mean = _mean(asked, _measured(view, law, item, place), law.targets)
            if item.draws[place] == budget and np.isfinite(mean):
                told.append((mean, mixture))
    near = [mean for mean, known in told if float(np.abs(known.weights - choice.weights).max()) <= tolerance]
    if not near:
        return choice
    least, best = min(told, key=lambda pair: pair[0])
    noise = _mean_noise(law, asked, law.evaluate(law.weights_of(choice), budget))
    return best if np.log(min(near) / least) > 1.645 * np.sqrt(2) * noise else choice


def _measured(view: StudyView, law: FittedLaw, item: Round, place: int) -> dict[str, float]:
    """Return target to the mean loss of one mixture of a round over its seeds, the seeds' own effects taken out."""
    specs = item.specs(view.config, view.cache_digest)[place * item.seeds : (place + 1) * item.seeds]
    runs = view.results(specs)
    effects = law.seed_effects.of(np.array([run.spec.seed for run in runs], dtype=np.int64))
    found = {}
    for name in law.targets:
        values = [run.losses.get(name, {}).get("loss") for run in runs]
        if values and None not in values:
            found[name] = float(np.mean(np.array(values, dtype=np.float64) * np.exp(-effects)))
    return found


def _mean(asked: AllocationSettings, losses: dict[str, float], targets: tuple[str, ...]) -> float:
    """Return the mean loss over the targets that count, by their weights; NaN where one is missing."""
    importance = _importance(asked, targets)
    values = np.array([losses.get(name, np.nan) for name in targets])
    return float(importance[importance > 0] @ values[importance > 0])


def _importance(asked: AllocationSettings, targets: tuple[str, ...]) -> Float[np.ndarray, " target"]:
    from voxmix.allocation.objective import importance_of

    return importance_of(targets, asked.target_weights)


def _mean_noise(law: FittedLaw, asked: AllocationSettings, losses: Float[np.ndarray, " target"]) -> float:
    """Return the standard deviation of the log of a mean loss; targets share ``noise_common`` of the variance."""
    parts = _importance(asked, law.targets) * losses * np.asarray(law.noise, dtype=np.float64)
    parts = parts / float(_importance(asked, law.targets) @ losses)
    return float(np.sqrt(law.noise_common * parts.sum() ** 2 + (1 - law.noise_common) * np.sum(parts**2)))


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
    law: FittedLaw, asked: AllocationSettings, choice: Mixture, budget: int
) -> tuple[Told, dict[str, Told]]:
    """Return the mean loss of the choice with its 90% interval, and target to its loss and interval (Bonferroni over targets).

    The variance of a log loss is that of the law over its bootstrap and that of a cell's mean as the fit judged it; in
    the mean, targets share ``noise_common`` of the latter.
    """
    from scipy.special import ndtri

    from voxmix.law.forms import predict

    told = law.evaluate(law.weights_of(choice), budget)
    importance = _importance(asked, law.targets)
    mean = float(importance @ told)
    variance = np.append(np.asarray(law.noise, dtype=np.float64), _mean_noise(law, asked, told)) ** 2
    if law.bootstrap is not None:
        drawn = predict(law.bootstrap, law.weights_of(choice)[None], np.array([float(budget)]))[:, 0]
        every = np.column_stack([drawn, drawn @ importance])
        variance = variance + np.log(np.maximum(every, 1e-300)).var(axis=0)
    levels = np.append(np.full(len(law.targets), 1 - (1 - _LEVEL) / len(law.targets)), _LEVEL)
    half = ndtri((1 + levels) / 2) * np.sqrt(variance)
    losses = np.append(told, mean)
    ends = zip(
        losses.tolist(), (losses * np.exp(-half)).tolist(), (losses * np.exp(half)).tolist(), strict=True
    )
    *targets, whole = ends
    return whole, dict(zip(law.targets, targets, strict=True))


def _path(
    view: StudyView, law: FittedLaw, asked: AllocationSettings, following: Mixture
) -> tuple[RoundResult, ...]:
    """Return every round with what was measured, each with the move to the next choice."""
    rounds = _begun(view)
    choices = [*(item.mixtures[0] for item in rounds), following]
    found = []
    for item, after in zip(rounds, choices[1:], strict=True):
        measured = _measured(view, law, item, 0)
        found.append(
            RoundResult(
                choice=item.mixtures[0],
                law=item.law,
                budget=item.draws[0],
                mean=item.mean,
                predicted=item.predicted,
                measured_mean=_mean(asked, measured, law.targets),
                measured={name: loss for name, loss in measured.items() if name in item.predicted},
                move=float(np.abs(after.weights - item.mixtures[0].weights).max()),
            )
        )
    return tuple(found)
