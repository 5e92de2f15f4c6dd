"""The verbs that ask a fitted law for a decision: plan, path, structure, suggest."""

from typing import TYPE_CHECKING, Annotated

import typer

from voxmix.cli.allocation_flags import AllocationFlags, law_and_settings, takes_allocation_flags
from voxmix.cli.app import emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption, LawArgument, LawName, PairOption, draws, load_law, pairs
from voxmix.cli.response_words import ResponseWords
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.allocation import AllocationPath

_SHOWN_POINTS = 12


@verb
@takes_allocation_flags(but=("budget", "objective", "target_weights", "no_worse_than", "tolerance", "level"))
def plan(
    law: LawArgument,
    flags: AllocationFlags,
    loss: Annotated[
        list[str] | None,
        typer.Option(help="TARGET=LOSS to reach (of a law of mixtures fitted to scores, the score); repeat."),
    ] = None,
    error: Annotated[
        list[str] | None, typer.Option(help="Of laws of scores: TASK=ERROR (1 - score) to reach; repeat.")
    ] = None,
    learned_by: Annotated[
        list[str] | None,
        typer.Option(help="Of laws of scores: only encoders that learned by this objective; repeat."),
    ] = None,
    law_name: LawName = None,
    as_json: JsonOption = False,
) -> None:
    """Find the smallest budget, and its mixture, that is predicted to reach given losses.

    Of laws of scores (voxmix scale): the samples that each objective needs for an error.

    Examples:

      voxmix plan law.json --loss ABD-CT=0.05 --loss HN-PET=0.004

      voxmix plan scores.json --error findings=0.2
    """
    from voxmix.allocation import plan as plan_budget
    from voxmix.cli.score_questions import plan_samples, refuse, score_laws_at

    laws = score_laws_at(law)
    if laws is not None:
        refuse({"loss": loss, "law": law_name, **flags.given}, needed="--error TASK=ERROR")
        if not error:
            raise InputError(f"{law} holds laws of scores; give --error, e.g. --error findings=0.2")
        plan_samples(laws, pairs(error, option="--error"), objectives=learned_by or (), as_json=as_json)
        return
    if error or learned_by:
        raise InputError(
            "--error and --learned-by are for laws of scores (voxmix scale); give --loss TARGET=LOSS"
        )
    if not loss:
        raise InputError("--loss is missing: what to reach; e.g. --loss ABD-CT=0.05")
    fitted, asked = law_and_settings(law, law_name, flags.given)
    found = plan_budget(fitted, asked, loss=pairs(loss, option="--loss"))
    said = ResponseWords(response=found.response, names=(*found.mixture.domains, *found.targets))
    if as_json:
        emit_json(said.in_json(found.to_dict()))
        return
    rows = [[name, f"{weight:.1%}"] for name, weight in found.mixture.as_dict().items()]
    emit_table(f"Smallest budget: {found.budget:,.0f} {found.response.unit}", ["domain", "share"], rows)
    reached = [
        [name, "–" if name not in found.wanted else f"{found.wanted[name]:.4g}", f"{predicted:.4g}"]
        for name, predicted in zip(found.targets, found.response.from_loss(found.predicted_loss), strict=True)
    ]
    emit_table(
        "Losses" if not found.response.rises else f"Values of {found.response.label}",
        ["target", "wanted", "predicted"],
        reached,
    )
    even = (
        "never gets there"
        if found.uniform_budget is None
        else f"would need {found.uniform_budget:,.0f} {found.response.unit}"
    )
    emit(f"\nthe uniform mixture {even}")
    for remark in found.notes:
        emit(f"- {said(remark)}")


@verb
@takes_allocation_flags(but=("budget", "min_weight", "tolerance", "level"))
def path(
    law: LawArgument,
    flags: AllocationFlags,
    budget: Annotated[
        list[float] | None,
        typer.Option(parser=draws, metavar="DRAWS", help="Budgets along the path, as 100k or 1e5; repeat."),
    ] = None,
    min_weight: Annotated[
        list[float] | None, typer.Option(help="Values of min_weight along the path, at one --budget; repeat.")
    ] = None,
    law_name: LawName = None,
    as_json: JsonOption = False,
) -> None:
    """Follow the best mixture over a range of budgets, or of min_weight at one budget.

    With several --budget the path runs over budgets; with one --budget and several --min-weight, over min_weight;
    with neither, over budgets from the smallest fitted to a hundred times the largest.

    Examples:

      voxmix path law.json

      voxmix path law.json --budget 100000 --min-weight 0 --min-weight 0.05 --min-weight 0.1 --json
    """
    from voxmix.allocation import path as follow

    given = flags.given
    if min_weight and len(min_weight) == 1:
        given["min_weight"] = min_weight[0]
    fitted, asked = law_and_settings(law, law_name, given)
    if min_weight and len(min_weight) > 1:
        if not budget or len(budget) != 1:
            raise InputError("a path over min_weight is at one budget: give --budget once")
        found = follow(fitted, asked, min_weights=min_weight, budget=budget[0])
    else:
        found = follow(fitted, asked, budgets=budget)
    if as_json:
        emit_json(found.to_dict())
        return
    step = max(1, -(-len(found.values) // _SHOWN_POINTS))
    rows = [
        [
            _axis_text(float(found.values[k])),
            *(f"{weight:.1%}" for weight in found.weights[k]),
            f"{found.objective[k]:.4g}",
        ]
        for k in range(0, len(found.values), step)
    ]
    what = f"objective (of {found.response.as_loss})" if found.response.rises else "objective"
    emit_table(f"Best mixture over {found.axis}", [found.axis, *found.domains, what], rows)
    if found.axis == "budget" and (beyond := fitted.beyond(float(found.values[-1]))):
        emit(f"- the last {beyond}")
    for at, name in found.kinks:
        how = "rises above" if _leaves(found, at, name) else "reaches"
        emit(f"- {name} {how} the least share at {found.axis} {_axis_text(at)}")


def _leaves(found: "AllocationPath", at: float, name: str) -> bool:
    """Return whether a domain's weight is above min_weight after a kink, rather than before it."""
    k = min(max(int(found.values.searchsorted(at, side="right")), 1), len(found.values) - 1)
    before, after = found.weights[k - 1 : k + 1, found.domains.index(name)].tolist()
    if found.axis == "min_weight":
        before, after = before - float(found.values[k - 1]), after - float(found.values[k])
    return bool(after > before)


def _axis_text(value: float) -> str:
    return f"{value:,.0f}" if value > 1 else f"{value:.4g}"


@verb
def structure(
    law: LawArgument,
    budget: Annotated[
        float | None,
        typer.Option(
            parser=draws,
            metavar="DRAWS",
            help="Volume draws, as 100k or 1e5; the largest fitted if not given.",
        ),
    ] = None,
    weights: Annotated[
        PairOption, typer.Option(help="DOMAIN=SHARE of a mixture; uniform if not given.")
    ] = None,
    law_name: LawName = None,
    as_json: JsonOption = False,
) -> None:
    """Show which domains are hubs, islands or easy, and how far the others amplify each target's budget.

    Example:

      voxmix structure law.json --budget 100000
    """
    from voxmix.allocation import structure as structure_of
    from voxmix.allocation.structure import RULES
    from voxmix.mixture import Mixture

    fitted = load_law(law, law_name)
    shares = pairs(weights, option="--weights")
    unknown = sorted(set(shares) - set(fitted.domains))
    if unknown:
        raise InputError(f"the law knows no {unknown}; its domains are {list(fitted.domains)}")
    mixture = Mixture.from_dict({name: shares.get(name, 0.0) for name in fitted.domains}) if shares else None
    found = structure_of(fitted, mixture=mixture, budget=budget)
    if as_json:
        emit_json(found.to_dict())
        return
    incoming = dict(zip(found.targets, found.incoming, strict=True))
    boost = dict(zip(found.targets, found.amplification, strict=True))
    rows = [
        [
            name,
            found.roles.get(name) or "–",
            f"{out:.2f}",
            f"{incoming[name]:.2f}" if name in incoming else "–",
            f"{boost[name]:.1f}" if name in boost else "–",
        ]
        for name, out in zip(found.domains, found.outgoing, strict=True)
    ]
    emit_table(
        f"Structure at {found.budget:,.0f} {fitted.response.unit}",
        ["domain", "role", "mean outgoing", "mean incoming", "amplification"],
        rows,
    )
    emit(ResponseWords(response=fitted.response)(RULES))


@verb
@takes_allocation_flags(but=("tolerance", "level"))
def suggest(
    law: LawArgument,
    flags: AllocationFlags,
    law_name: LawName = None,
    as_json: JsonOption = False,
) -> None:
    """List the next proxy runs that would improve the decision most per draw.

    The law must have been fitted with --bootstrap 50 or more. The budget is that of the decision: the study's, or 4
    times the largest fitted one.

    Example:

      voxmix suggest law.json --budget 100000
    """
    from voxmix.allocation import suggest as suggest_runs

    found = suggest_runs(*law_and_settings(law, law_name, flags.given))
    if as_json:
        emit_json([item.to_dict() for item in found])
        return
    rows = [
        [
            item.name,
            f"{item.budget:,.0f}",
            f"{item.gain:.2g}",
            f"{item.gain_per_draw:.2g}",
            f"{item.share:.0%}",
        ]
        for item in found[:_SHOWN_POINTS]
    ]
    headers = ["train on", "draws", "expected gain", "gain per draw", "share of the possible gain"]
    emit_table("Most informative next runs", headers, rows)
