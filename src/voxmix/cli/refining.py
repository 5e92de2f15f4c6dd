"""The verb refine."""

from typing import Annotated

import typer

from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, open_study


@verb
def refine(
    study: StudyArgument,
    budget: Annotated[
        int | None, typer.Option(help="Draws of every run; the largest proxy budget if left out.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Most rounds, those of former calls included.")] = 5,
    draws: Annotated[int | None, typer.Option(help="Most draws of all rounds together.")] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest change of a share that counts as no move.")
    ] = 0.05,
    as_json: JsonOption = False,
) -> None:
    """Train the law's own choice and its neighbours, fit again, until prediction and measurement agree.

    Rounds are kept in refine.json: stop at any moment, the same command goes on. Their runs count in fit, allocate
    and report from then on.

    Examples:

      voxmix refine mystudy

      voxmix refine mystudy --budget 4000 --rounds 3 --draws 50000
    """
    from voxmix.study.pipeline import run_refine

    found = run_refine(
        open_study(study), TERMINAL, budget=budget, rounds=rounds, draws=draws, tolerance=tolerance
    )
    if as_json:
        emit_json(
            {
                "rounds": [item.to_dict() for item in found.rounds],
                "choice": found.choice.as_dict(),
                "draws": found.draws,
                "stopped": found.stopped,
                "sentence": found.sentence,
            }
        )
        return
    rows = []
    for number, item in enumerate(found.rounds, 1):
        low, mean, high = (
            sum(values[k] for values in item.predicted.values()) / len(item.predicted) for k in (1, 0, 2)
        )
        measured = sum(item.measured.values()) / max(len(item.measured), 1)
        shares = ", ".join(f"{name} {share:.0%}" for name, share in item.choice.as_dict().items())
        rows.append(
            [
                str(number),
                shares,
                f"{mean:.4g} ({low:.4g} to {high:.4g})",
                f"{measured:.4g}",
                f"{item.gap:+.1%}",
                f"{item.move:.1%}",
                "yes" if item.agrees else "no",
            ]
        )
    emit_table("Rounds", ["round", "choice", "predicted mean", "measured", "gap", "move", "agrees"], rows)
    emit(f"\n{found.sentence}")
