"""What was measured of the strategies of a content, and what each law had predicted of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from voxmix.mixture import Mixture
from voxmix.report.content import Check, ReportContent, draws_of, mixture_of
from voxmix.scores.forecast import Forecast, judge, judge_as_uniform
from voxmix.scores.measured import Measured


def check_budgets(checks: Sequence[Check], *, first: int | None = None) -> tuple[int, ...]:
    """Return the budgets at which strategies were measured: ``first`` if among them, then falling."""
    budgets = sorted({check.budget for check in checks}, reverse=True)
    return tuple(sorted(budgets, key=lambda budget: budget != first))


def measured(content: ReportContent, *, budget: int) -> Measured:
    """Return the measured losses of the strategies at one budget."""
    checks = [check for check in content.checks if check.budget == budget]
    order = [*content.strategies, *(check.strategy for check in checks)]
    met = {check.strategy for check in checks}
    strategies = tuple(dict.fromkeys(name for name in order if name in met))
    seeds = tuple(sorted({check.seed for check in checks}))
    targets = content.target_names
    loss = np.full((len(strategies), len(seeds), len(targets)), np.nan)
    for check in checks:
        place = (strategies.index(check.strategy), seeds.index(check.seed), targets.index(check.target))
        loss[place] = check.loss
    return Measured(budget=budget, strategies=strategies, seeds=seeds, targets=targets, loss=loss)


def forecast(content: ReportContent, *, law: str, budget: int) -> Forecast:
    """Return one law's predictions of the measured strategies that have a mixture, and how good they are."""
    found = _with_mixtures(content, budget=budget)
    mixtures = [mixture_of(content.strategies[name]) for name in found.strategies]
    predicted = np.array(
        [
            predict(content, law=law, mixture=mixture, budget=draws_of(content, mixture, budget))
            for mixture in mixtures
        ],
        dtype=np.float64,
    ).reshape(len(mixtures), len(found.targets))
    return judge(
        found,
        predicted,
        law=law,
        effects=content.laws[law].seed_effects,
        objective=content.objective,
        target_weights=content.target_weights,
        unit=content.unit,
    )


def guess_as_uniform(content: ReportContent, *, budget: int) -> Forecast | None:
    """Return how good the guess is that every strategy does what uniform does; None where uniform was not measured."""
    return judge_as_uniform(
        _with_mixtures(content, budget=budget),
        objective=content.objective,
        target_weights=content.target_weights,
        unit=content.unit,
    )


def _with_mixtures(content: ReportContent, *, budget: int) -> Measured:
    found = measured(content, budget=budget)
    return found.only(
        np.array([i for i, name in enumerate(found.strategies) if name in content.strategies], dtype=np.int64)
    )


def predict(
    content: ReportContent, *, law: str, mixture: Mixture, budget: float
) -> Float[np.ndarray, " target"]:
    """Return a law's loss for every target of the study; NaN for one that is no target of the law."""
    fitted = content.laws[law]
    values = fitted.evaluate(fitted.weights_of(mixture), budget)
    return on_targets(content, law=law, values=values)


def on_targets(
    content: ReportContent, *, law: str, values: Float[np.ndarray, "*rows target"]
) -> Float[np.ndarray, "*rows all"]:
    """Return values per target of a law as values per target of the study, NaN where there is none."""
    targets, names = content.laws[law].targets, content.target_names
    full = np.full((*values.shape[:-1], len(names)), np.nan)
    full[..., [names.index(name) for name in targets]] = values
    return full
