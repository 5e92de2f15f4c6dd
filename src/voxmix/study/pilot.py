"""Pilot runs: which budgets let the targets of a study move, tried with the uniform mixture before the grid is paid for.

Why uniform: one run is measured on every target, so it tells as much as a pure run of each domain for a fraction of the
draws; and a doubling of the budget doubles what every target gets, whatever the mixture, so the fall per doubling is
that of the effective budgets at which mixtures live. Two seeds, because only they tell the noise. Runs whose budgets
the design has are its anchors and are never trained twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from jaxtyping import Float

from voxmix._io import naming_full_disk, write_text
from voxmix.design import RunSpec, StudyDesign, check_budget
from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.runs import measurements
from voxmix.settings import parse_yaml
from voxmix.study.config import StudyConfig, parse_config
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.plan import specs_by_kind
from voxmix.study.training import finish_runs, runs_at_once, train_runs
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.cost.estimate import CostEstimate
    from voxmix.law import Regime
    from voxmix.runs import RunResult

PILOT_SEEDS = 2
_BELOW = 2  # halvings below the smallest budget of the design
_WARM = 2  # a run must have so many times the steps of its warm-up
_LEAST_RANGE, _MOST_RANGE = 4.0, 16.0  # largest over smallest proposed budget
_MOST_BUDGETS, _LEAST_BUDGETS = 6, 3  # small budgets cost little: every one of the range that was tried


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """Budgets that pilot runs speak for, and why; without any where no budget moves the targets."""

    budgets: tuple[int, ...]
    reason: str

    @property
    def line(self) -> str:
        """The line of the study file."""
        return f"budgets: [{', '.join(map(str, self.budgets))}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pilot:
    """What pilot runs showed.

    Attributes:
        budgets: of the runs that are finished, rising, in the design's unit.
        runs: how many these are.
        falls: target to the share of its loss that is gone per doubling, from each budget to the next.
        regime: the verdict on every target over all of these budgets.
        seconds_per_draw: of one run, the held-out crops counted as a third of a draw each.
        proposal: budgets that these runs speak for.
        now, proposed: what the design's unfinished runs will cost with its own and with the proposed budgets; None where
            nothing is left to run, or nothing is proposed.
        stopped: why larger budgets were not tried; empty where all were.
    """

    budgets: tuple[int, ...]
    runs: int
    falls: Mapping[str, tuple[float, ...]]
    regime: Regime
    seconds_per_draw: float
    proposal: Proposal
    now: CostEstimate | None
    proposed: CostEstimate | None
    stopped: str = ""


def pilot_budgets(design: StudyDesign, *, up_to: int | None = None) -> tuple[int, ...]:
    """Return the budgets that are tried: those of the design, smaller ones by halves, and larger ones up to ``up_to``.

    Raises:
        InputError: ``up_to`` is no budget, or below every budget of the design.
    """
    low, high = design.budgets[0], design.budgets[-1]
    top = high if up_to is None else check_budget(up_to)
    if top < low:
        raise InputError(
            f"--up-to {top} is below the smallest budget of the design, {low}; give at least {2 * low}"
        )
    tried = {budget for budget in design.budgets if budget <= top} | {top}
    tried |= {low // 2**n for n in range(1, _BELOW + 1)}
    while high * 2 < top:
        high *= 2
        tried.add(high)
    return tuple(sorted(budget for budget in tried if budget >= 1))


def pilot_specs(
    config: StudyConfig, domains: tuple[str, ...], *, cache: str, up_to: int | None = None
) -> tuple[tuple[RunSpec, ...], ...]:
    """Return the pilot runs, budget by budget; budgets that warm-up nearly fills are left out."""
    found = []
    training = config.training
    for budget in pilot_budgets(config.design, up_to=up_to):
        if (
            config.design.budget_unit == "draws"
            and budget not in config.design.budgets
            and training.steps(budget) < _WARM * training.warmup_steps
        ):
            continue
        try:
            stage = tuple(
                RunSpec(
                    mixture=Mixture.uniform(domains),
                    budget=budget,
                    seed=seed,
                    model=config.model,
                    training=training,
                    evaluation=config.evaluation,
                    cache=cache,
                    budget_unit=config.design.budget_unit,
                )
                for seed in range(PILOT_SEEDS)
            )
        except InputError:  # its cooldown would begin before warm-up ends
            if budget in config.design.budgets:
                raise
            continue
        found.append(stage)
    return tuple(found)


def run_pilot(
    study: Study | StudyView,
    hear: Listener = QUIET,
    *,
    up_to: int | None = None,
    minutes: float | None = None,
) -> Pilot:
    """Train the pilot runs that are pending and say which budgets they speak for.

    ``minutes`` limits the training: the smallest budget tells how long a draw takes, and larger ones that would take
    longer are not begun. The caller holds the study's lock. Finished runs are kept, whatever stops it.

    Raises:
        InputError: a limit that cannot be used, or that leaves fewer than two budgets.
        StepPendingError: no volumes are prepared.
        VoxmixError: a run failed; the others are kept.
    """
    view = StudyView.of(study)
    if minutes is not None and not minutes > 0:
        raise InputError(f"--minutes must be above 0, got {minutes:g}; e.g. --minutes 10")
    stages = pilot_specs(view.config, view.domains, cache=view.cache_digest, up_to=up_to)
    kept: Sequence[tuple[RunSpec, ...]] = stages
    stopped = ""
    if minutes is not None:
        began = time.monotonic()
        train_runs(view, stages[0], "pilot runs, the smallest", hear)
        kept, stopped = _that_fit(view, stages, seconds=60 * minutes - (time.monotonic() - began))
    if len(kept) < 2:
        raise InputError(f"one budget says nothing of a fall; {stopped or 'give a larger --up-to'}")
    train = train_runs if minutes is None else finish_runs
    train(view, tuple(spec for stage in kept for spec in stage), "pilot runs", hear)
    return _what_it_showed(view, kept, stopped)


def _that_fit(
    view: StudyView, stages: Sequence[tuple[RunSpec, ...]], *, seconds: float
) -> tuple[Sequence[tuple[RunSpec, ...]], str]:
    """Return the smallest budgets whose runs fit into so many seconds, at the speed of the finished ones; why no more."""
    from voxmix.cost.estimate import draws_to_make

    finished = [stage for stage in stages if not view.study.pending(stage)]
    each = _seconds_per_draw(view.results(finished[-1]))
    made = [spec for stage in finished for spec in stage]
    unit = stages[0][0].budget_unit
    for place in range(len(stages)):
        specs = tuple(spec for stage in stages[: place + 1] for spec in stage)
        pending = view.study.pending(specs)
        crops = len(pending) * len(view.targets) * specs[0].evaluation.crops_per_domain
        if unit == "seconds":
            needed = float(sum(spec.budget for spec in pending))
        else:
            needed = (draws_to_make([*made, *pending]) - draws_to_make(made) + crops / 3) * each
        needed /= runs_at_once(view.study, specs)
        if pending and needed > seconds:
            return stages[:place], (
                f"with {specs[-1].budget:,} {unit} the pilot would take about {needed / 60:.1f} min more, and "
                f"{max(seconds, 0) / 60:.1f} are left: give more --minutes; what is finished is kept"
            )
    return stages, ""


def _seconds_per_draw(results: Sequence[RunResult]) -> float:
    """Return the time of a draw in the median run, a held-out crop counted as a third of one (only forward)."""
    return float(
        np.median(
            [
                item.seconds / (item.budget + len(item.losses) * item.spec.evaluation.crops_per_domain / 3)
                for item in results
            ]
        )
    )


def _what_it_showed(view: StudyView, done: Sequence[tuple[RunSpec, ...]], stopped: str) -> Pilot:
    from voxmix.law import regime_check

    results = [view.results(stage) for stage in done]
    budgets = tuple(stage[0].budget for stage in done)
    table = measurements([item for some in results for item in some], view.domains, view.targets)
    regime = regime_check(table, keep_outliers=True)
    names = tuple(item.target for item in regime.targets)
    losses = _mean_logs(results, names)
    doublings = np.diff(np.log2([np.mean([item.budget for item in some]) for some in results]))
    falls = -np.diff(losses, axis=0) / doublings[:, None]  # log, per doubling
    proposal = propose(budgets, falls)
    each = _seconds_per_draw(results[-1])
    return Pilot(
        budgets=budgets,
        runs=sum(len(some) for some in results),
        falls={name: tuple((-np.expm1(-falls[:, j])).tolist()) for j, name in enumerate(names)},
        regime=regime,
        seconds_per_draw=each,
        proposal=proposal,
        now=_cost(view, view.config.design.budgets, each),
        proposed=_cost(view, proposal.budgets, each) if proposal.budgets else None,
        stopped=stopped,
    )


def _mean_logs(
    results: Sequence[Sequence[RunResult]], targets: Sequence[str]
) -> Float[np.ndarray, "budget target"]:
    """Return the mean log losses over the seeds; NaN where a target was not measured."""

    def log(item: RunResult, name: str) -> float:
        loss = item.losses.get(name, {}).get("loss")
        return float(np.log(loss)) if loss else float("nan")

    return np.array([[np.mean([log(item, name) for item in some]) for name in targets] for some in results])


def propose(budgets: Sequence[int], falls: Float[np.ndarray, "step target"]) -> Proposal:
    """Return the budgets over which at least half of the targets fall by more than the error of a law per doubling.

    ``falls`` are falls of the log loss per doubling, from each budget to the next. The range is the longest one of such steps, the largest budgets of several
    as long, widened to a factor of 4 and cut to a factor of 16 at its lower end: a law is used beyond the largest.
    """
    from voxmix.law.regime_lines import LAW_ERROR

    known = np.isfinite(falls)
    share = np.where(known, falls > -np.log1p(-LAW_ERROR), 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    useful = [bool(value >= 0.5) for value in share]
    if not any(useful):
        return Proposal(
            budgets=(),
            reason=f"from no budget to the next do half of the targets fall by {LAW_ERROR:.0%} per doubling: try larger "
            "budgets (--up-to), smaller patches, another spacing or augmentation",
        )
    begin, end = _longest(useful)
    low, high = begin, end
    while budgets[high] < _LEAST_RANGE * budgets[low] and (high < len(budgets) - 1 or low > 0):
        low, high = (low, high + 1) if high < len(budgets) - 1 else (low - 1, high)
    while budgets[high] > _MOST_RANGE * budgets[low] and high - low >= _LEAST_BUDGETS:
        low += 1
    found = _spread(budgets[low : high + 1], _MOST_BUDGETS)
    reason = (
        f"at least half of the targets fall by {LAW_ERROR:.0%} or more per doubling from {budgets[begin]:,} to "
        f"{budgets[end]:,}"
    )
    if end == len(budgets) - 1:
        reason += ", the largest that was tried: larger ones may tell more yet"
    else:
        reason += "; beyond that most of them level off"
    return Proposal(budgets=found, reason=reason)


def _longest(useful: Sequence[bool]) -> tuple[int, int]:
    """Return first and last place of the longest run of useful steps, the last of several, as places of budgets."""
    best, begin = (0, 0), 0
    for place, value in enumerate([*useful, False]):
        if value:
            continue
        if place > begin and place - begin >= best[1] - best[0]:
            best = (begin, place)
        begin = place + 1
    return best


def _spread(budgets: Sequence[int], wanted: int) -> tuple[int, ...]:
    """Return at most so many of the budgets, with both ends, evenly apart on a log scale."""
    if len(budgets) <= wanted:
        return tuple(budgets)
    aims = np.geomspace(budgets[0], budgets[-1], wanted)
    return tuple(sorted({min(budgets, key=lambda b: abs(np.log(b / aim))) for aim in aims}))


def _cost(view: StudyView, budgets: Sequence[int], each: float) -> CostEstimate | None:
    """Return what the design's unfinished runs will cost with these budgets, at the speed of the pilot runs."""
    from voxmix.cost.estimate import estimate
    from voxmix.encoders.networks import flops_per_draw

    design = replace(view.config.design, budgets=tuple(budgets))
    config = replace(view.config, design=design)
    kinds = specs_by_kind(config, view.domains, cache=view.cache_digest)
    left = {kind: view.study.pending(specs) for kind, specs in kinds.items()}
    specs = [spec for some in left.values() for spec in some]
    if not specs:
        return None
    return estimate(
        left,
        targets=len(view.targets),
        compute=config.compute,
        at_once=runs_at_once(view.study, specs),
        rate=flops_per_draw(config.model) / each,
    )


def write_budgets(study: Study, budgets: Sequence[int]) -> None:
    """Write the budgets of the design into the study file; every other letter of it stays as it is.

    Raises:
        InputError: the file has no line for them, with the line to add.
    """
    text = study.path.read_text(encoding="utf-8-sig")
    line = Proposal(budgets=tuple(budgets), reason="").line
    place = _place_of(yaml.compose(text, Loader=yaml.SafeLoader), ("design", "budgets"))
    if place is None:
        raise InputError(f"{study.path} has no budgets below design; write there: {line}")
    begin, end = place
    kept = text[begin:end]
    tail = kept[len(kept.rstrip()) :]  # a list of one item a line ends where the next key begins
    changed = text[:begin] + line.removeprefix("budgets: ") + tail + text[end:]
    before = parse_config(parse_yaml(text, where=str(study.path)), where=str(study.path))
    after = parse_config(parse_yaml(changed, where=str(study.path)), where=str(study.path))
    if after != replace(before, design=replace(before.design, budgets=tuple(budgets))):
        raise InputError(
            f"the budgets of {study.path} cannot be changed without more; write below design: {line}"
        )
    with naming_full_disk(study.path):
        write_text(study.path, changed)


def _place_of(node: Any, keys: Sequence[str]) -> tuple[int, int] | None:
    """Return where the value below nested keys stands in the text."""
    for key in keys:
        pairs = getattr(node, "value", None)
        if not isinstance(node, yaml.MappingNode) or not isinstance(pairs, list):
            return None
        node = next((value for name, value in pairs if name.value == key), None)
    return None if node is None else (node.start_mark.index, node.end_mark.index)
