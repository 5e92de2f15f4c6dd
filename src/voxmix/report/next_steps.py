"""What to do next: what each step is expected to lower the answer's objective by, most first.

One scale for all: the expected fall of the objective at the study's budget when the mixture is chosen anew after the step
(the expected value of sample information), as a share of the objective. A step whose worth no number here tells comes last.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.allocation import Allocation, AllocationSettings, suggest
from voxmix.allocation.objective import OBJECTIVE_WORDS, importance_of, loss_weights, objective_value
from voxmix.allocation.suggest import LEAST_DRAWS, Suggestion
from voxmix.law.forms import predict
from voxmix.report.by_objective import judged
from voxmix.report.content import ReportContent, draws_of, mixture_of
from voxmix.report.findings import check_budgets, measured
from voxmix.report.ranking import Ranking, rank_by_objective
from voxmix.report.table import Table, columns_of, fine_text, percent_text
from voxmix.report.words import listing

_MOST_DOMAINS = 20
"""Domains up to which every candidate run is valued when a page is made; voxmix suggest does it for more."""
_DRAWN = 4000
_NEGLIGIBLE = 5e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing to do: ``worth`` is the expected fall of the objective as a share of it, None where it is not known."""

    what: str
    worth: float | None
    why: str
    draws: float | None = None
    command: str = ""


def next_steps(content: ReportContent) -> tuple[Step, ...]:
    """Return what could be done next, what is expected to change the answer most first; () without an answer."""
    item = judged(content)
    if item is None:
        return ()
    found = [*_runs(content, item), *_mixtures(content, item), *_seeds(content), *_proxy(content, item)]
    known = [step for step in found if step.worth is not None]
    return (*sorted(known, key=lambda step: -(step.worth or 0.0)), *(s for s in found if s.worth is None))


def steps_table(steps: Sequence[Step]) -> Table:
    """Return the steps with what they are worth and cost."""
    return Table(
        name="next-steps",
        title="What the next steps are worth",
        columns=columns_of(
            ("step", "text"),
            ("expected fall", "fine"),
            ("draws", "count"),
            ("why", "text"),
            ("command", "text"),
        ),
        rows=tuple((s.what, s.worth, s.draws, s.why, s.command or None) for s in steps),
        note="Expected fall: of what the study minimizes at its budget, when the mixture is chosen anew after the step.",
    )


def step_sentence(step: Step) -> str:
    """Return a step with its worth and its reason."""
    if step.worth is None:
        worth = "worth not known"
    elif step.worth < _NEGLIGIBLE:
        worth = "worth next to nothing"
    else:
        worth = f"worth {fine_text(step.worth)}"
    command = f" Next: {step.command}." if step.command else ""
    return f"{step.what} ({worth}): {step.why}.{command}"


def _runs(content: ReportContent, item: Allocation) -> list[Step]:
    """More proxy runs of three sorts, each by its best run: larger budgets, other mixtures, more seeds."""
    law = content.laws.get(item.law)
    if law is None or not item.objective > 0:
        return []
    if law.bootstrap is None or law.bootstrap.draws < LEAST_DRAWS or len(law.domains) > _MOST_DOMAINS:
        return []
    found = suggest(law, _settings(content, item), budget=item.budget)
    ran = _runs_so_far(content)
    high = law.budget_range[1]
    sorts: dict[str, list[Suggestion]] = {
        "Larger proxy budgets": [],
        "More seeds": [],
        "Other proxy mixtures": [],
    }
    for run in found:
        again = any(
            budget == run.budget and np.allclose(weights, run.mixture.weights, atol=1e-6)
            for weights, budget in ran
        )
        name = (
            "Larger proxy budgets" if run.budget > high else "More seeds" if again else "Other proxy mixtures"
        )
        sorts[name].append(run)
    command = " ".join(["voxmix suggest", *filter(None, [content.law_file])])
    return [
        _of_run(name, max(runs, key=lambda run: run.gain), item, command)
        for name, runs in sorts.items()
        if runs
    ]


def _settings(content: ReportContent, item: Allocation) -> AllocationSettings:
    """Return what the study asks of the law behind the answer; of a law alone, what its allocation says."""
    if content.asked is None:
        return AllocationSettings(min_weight=item.min_weight, objective=item.kind)
    return content.asked.on(item.targets, of=content.target_names)


def _of_run(name: str, run: Suggestion, item: Allocation, command: str) -> Step:
    return Step(
        what=name,
        worth=run.gain / item.objective,
        why=f"the best such run is {run.name} at {run.budget:,.0f} draws, which holds {run.share:.0%} of what knowing the law "
        f"{item.law} exactly would gain",
        draws=run.budget,
        command=command,
    )


def _runs_so_far(content: ReportContent) -> list[tuple[Float[np.ndarray, " source"], float]]:
    table = content.measurements
    if table is None:
        return []
    rows = {(tuple(w), float(b)) for w, b in zip(table.weights.tolist(), table.budget.tolist(), strict=True)}
    return [(np.array(weights), budget) for weights, budget in rows]


def _mixtures(content: ReportContent, item: Allocation) -> list[Step]:
    """Training the mixtures that were not: what it gains to know which of them is best, over all laws and their draws."""
    budget = content.budget
    if budget is None or content.law_file or len(content.strategies) < 2:
        return []
    met = {check.strategy for check in content.checks if check.budget == budget}
    left = [name for name in content.strategies if name not in met]
    if not left:
        return []
    value = _predicted(content, item, float(budget))
    if value is None:
        return []
    gain = float(value.mean(axis=0).min() - value.min(axis=1).mean())
    who = "the mixtures" if not met else listing(left) if len(left) <= 4 else f"{len(left)} mixtures"
    return [
        Step(
            what=f"Train {who}",
            worth=gain / float(value.mean(axis=0).min()),
            why=f"the {len(content.laws)} laws and their resamples differ on which of the {len(content.strategies)} mixtures is "
            "best; a measurement decides",
            draws=float(budget * len(left)),
            command="voxmix pretrain",
        )
    ]


def _predicted(
    content: ReportContent, item: Allocation, budget: float
) -> Float[np.ndarray, "draw strategy"] | None:
    """Return the objective of each strategy by every law of transfer, each with its resamples and all with the same weight."""
    laws = [law for law in content.laws.values() if law.targets == item.targets]
    laws = [law for law in laws if law.form.transfers] or laws
    if not laws or "uniform" not in item.baselines:
        return None
    mixtures = [mixture_of(strategy) for strategy in content.strategies.values()]
    draws = np.array([draws_of(content, mixture, budget) for mixture in mixtures])
    importance = importance_of(item.targets, _settings(content, item).target_weights)
    weights = loss_weights(item.kind, importance, item.baselines["uniform"].predicted_loss)
    rows = []
    for law in laws:
        shares = np.array([law.weights_of(mixture) for mixture in mixtures])
        losses = predict(law.parameters if law.bootstrap is None else law.bootstrap, shares, draws)
        values = objective_value(item.kind, weights, losses)
        rows.append(values[np.isfinite(values).all(axis=1)])
    most = max(map(len, rows))
    return np.concatenate([own[np.arange(most) % len(own)] for own in rows if len(own)]) if most else None


def _seeds(content: ReportContent) -> list[Step]:
    """One more seed of every trained mixture: what choosing by the means of one more seed gains."""
    for budget in check_budgets(content.checks, first=content.budget)[:1]:
        ranking = rank_by_objective(content, measured(content, budget=budget))
        if len(ranking.strategies) < 2:
            return []
        what = "One more seed of every mixture"
        draws = float(budget * len(ranking.strategies))
        if not np.isfinite(ranking.noise):
            why = "with one seed the noise is not known, so no difference between mixtures is shown"
            return [Step(what=what, worth=None, why=why, draws=draws, command="voxmix pretrain")]
        tied = len(ranking.tied)
        why = (
            f"{tied} mixtures are tied at the top; it would bring the noise of a difference down by {percent_text(_fall(ranking))}"
            if tied > 1
            else "the best mixture is told apart from every other already"
        )
        return [
            Step(what=what, worth=worth_of_a_seed(ranking), why=why, draws=draws, command="voxmix pretrain")
        ]
    return []


def _fall(ranking: Ranking) -> float:
    seeds = float(np.median(ranking.seeds))
    return 1 - float(np.sqrt(seeds / (seeds + 1)))


def worth_of_a_seed(ranking: Ranking) -> float:
    """Return by what share the measure of the chosen mixture falls when each is trained with one more seed.

    The logarithms of the means have normal errors of ``noise / sqrt(seeds)``; one more seed moves each by a normal step of
    variance ``noise**2 / (n * (n + 1))``, and the least of them is chosen then (value of sample information).
    """
    seeds = np.array(ranking.seeds, dtype=np.float64)
    steps = np.random.default_rng(0).standard_normal((_DRAWN, len(seeds)))
    moved = np.log(ranking.values) + ranking.noise / np.sqrt(seeds * (seeds + 1)) * steps
    now = moved[:, 0].mean()
    return float(max(-np.expm1(moved.min(axis=1).mean() - now), 0.0))


def _proxy(content: ReportContent, item: Allocation) -> list[Step]:
    """Another proxy for targets that do not move, and the clinical task: whether the proxy means anything."""
    found = []
    blind = [one.target for one in content.regime.undecided if one.fall is not None] if content.regime else []
    worth = _worth_of_moving(item, blind)
    if blind and worth is not None:
        found.append(
            Step(
                what="Another proxy",
                worth=worth,
                why=f"the loss on {listing(blind)} hardly moves, so the answer is blind there; if it moved as elsewhere, the mixture "
                "would gain on it what it gains elsewhere. Try larger budgets, smaller patches or another spacing",
            )
        )
    if content.law_file:
        return found
    against = [one for one in content.agreements if one.decidable and one.mean <= 0]
    if against:
        why = f"proxy losses order the encoders against their scores (mean rank correlation {against[0].mean:.2f})"
        return [Step(what="Another proxy", worth=None, why=why), *found]
    if not content.agreements and content.comparison is None:
        why = f"all of this is in the {OBJECTIVE_WORDS[item.kind]} of a proxy; what it means for a task was not measured"
        found.append(Step(what="Finetune on a clinical task", worth=None, why=why, command="voxmix finetune"))
    return found


def _worth_of_moving(item: Allocation, blind: Sequence[str]) -> float | None:
    """Return the share of the objective that blind targets hold, times what the others gain over the uniform mixture."""
    even = item.baselines.get("uniform")
    if even is None or item.parts is None or not item.parts.sum() > 0:
        return None
    out = np.isin(item.targets, blind)
    if out.all() or not out.any():
        return None
    uniform = (item.parts * even.predicted_loss / item.predicted_loss)[~out].sum()
    gain = max(1 - float(item.parts[~out].sum() / uniform), 0.0)
    return float(item.parts[out].sum() / item.parts.sum()) * gain
