"""The verb refine."""

from typing import Annotated

import typer

from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, open_study, whole_draws


@verb
def refine(
    study: StudyArgument,
    budget: Annotated[
        int | None,
        typer.Option(
            parser=whole_draws,
            metavar="DRAWS",
            help="Draws of every run, as 4000 or 4k; the largest proxy budget if left out.",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Most rounds, those of former calls included.")] = 5,
    draws: Annotated[
        int | None,
        typer.Option(parser=whole_draws, metavar="DRAWS", help="Most draws of all rounds together."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest change of a share that counts as no move.")
    ] = 0.05,
    as_json: JsonOption = False,
) -> None:
    """Train the law's own choice and its neighbours, fit again, until prediction and measurement agree.

    A round agrees where the measured mean loss of its choice lies in the 90% interval that the law gave before it was
    trained, and within 5% of the prediction. The next choice is the law's, unless that is measured already and another mixture was measured better by
    more than noise: then it is that one. Rounds are kept in refine.json: stop at any moment, the same command goes on. The study's own laws stay as
    they were, unless study.yaml says fit: refine_runs: true. The strategy refined is the mixture that the rounds ended in:
    add it to allocation.strategies to train it at the study's budget.

    Examples:

      voxmix refine mystudy

      voxmix refine mystudy --budget 4000 --rounds 3 --draws 50000
    """
    from voxmix.allocation.strategies import REFINED
    from voxmix.study import run_step

    view = open_study(study)
    found = run_step("refine", view, TERMINAL, budget=budget, rounds=rounds, draws=draws, tolerance=tolerance)
    if as_json:
        emit_json(found.to_dict() | {"sentence": found.sentence, "of_budget": found.budget_words})
        return
    rows = []
    for number, item in enumerate(found.rounds, 1):
        mean, low, high = item.mean
        shares = ", ".join(f"{name} {share:.0%}" for name, share in item.choice.as_dict().items())
        rows.append(
            [
                str(number),
                shares,
                f"{mean:.4g} ({low:.4g} to {high:.4g})",
                f"{item.measured_mean:.4g}",
                f"{item.gap:+.1%}",
                f"{item.move:.1%}",
                "yes" if item.agrees else "no",
            ]
        )
    emit_table("Rounds", ["round", "choice", "predicted mean", "measured", "gap", "move", "agrees"], rows)
    for number, item in enumerate(found.rounds, 1):
        if item.outside:
            emit(
                f"- round {number}: losses on {', '.join(item.outside)} were outside of the intervals of their own (90% that all "
                "targets are inside)"
            )
    emit(f"\n{found.sentence}")
    shares = ", ".join(f"{name} {share:.1%}" for name, share in found.choice.as_dict().items())
    budget, (mean, low, high) = found.told
    emit(f"It ended in {shares}: {mean:.4g} ({low:.4g} to {high:.4g}) predicted at {budget:,} draws.")
    if found.budget_words:
        emit(found.budget_words)
    if found.rounds and REFINED not in view.config.allocation.strategies:
        emit(
            f"To train this mixture at the study's budget, add {REFINED} to allocation.strategies in study.yaml, then: "
            f"{view.steps['pretrain'].call(view.root)}"
        )
