"""The verb predict: what a law says of a mixture, or laws of scores of a number of images."""

from typing import Annotated

import typer

from voxmix.cli.app import emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption, LawArgument, LawName, load_law, pairs, whole_draws
from voxmix.cli.response_words import ResponseWords
from voxmix.errors import InputError


@verb
def predict(
    law: LawArgument,
    budget: Annotated[
        int | None,
        typer.Option(parser=whole_draws, metavar="DRAWS", help="Volume draws, as 16000, 16k or 1.6e4."),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="DOMAIN=SHARE; repeat; shares sum to 1, others get 0.")
    ] = None,
    samples: Annotated[
        list[int] | None,
        typer.Option(
            parser=whole_draws, metavar="IMAGES", help="Of laws of scores: images to learn from; repeat."
        ),
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Of laws of scores: only this task; repeat.")] = None,
    objective: Annotated[
        list[str] | None, typer.Option(help="Of laws of scores: only this objective; repeat.")
    ] = None,
    law_name: LawName = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the loss of a mixture on every target; of laws of scores, the error with so many samples.

    Of laws of scores also the change of each reference's error, such as that of open weights, and the samples that
    another objective needs for the same error.

    Examples:

      voxmix predict law.json --budget 16000 --weights ABD-CT=0.5 --weights HN-PET=0.5

      voxmix predict scores.json --samples 2000 --task findings --objective clip
    """
    from voxmix.cli.score_questions import predict_errors, refuse, score_laws_at
    from voxmix.design import check_budget
    from voxmix.mixture import Mixture

    laws = score_laws_at(law)
    if laws is not None:
        refuse({"budget": budget, "weights": weights, "law": law_name}, needed="--samples")
        if not samples:
            raise InputError(f"{law} holds laws of scores; give --samples, e.g. --samples 2000")
        predict_errors(laws, samples, tasks=task or (), objectives=objective or (), as_json=as_json)
        return
    for name, value in (("samples", samples), ("task", task), ("objective", objective)):
        if value:
            raise InputError(f"--{name} is for laws of scores (voxmix scale); give --budget and --weights")
    if budget is None or not weights:
        raise InputError(
            "--budget and --weights are missing; e.g. --budget 16000 --weights ABD-CT=0.5 --weights HN-PET=0.5"
        )
    fitted = load_law(law, law_name)
    shares = pairs(weights, option="--weights")
    unknown = sorted(set(shares) - set(fitted.domains))
    if unknown:
        raise InputError(f"the law knows no {unknown}; its domains are {list(fitted.domains)}")
    mixture = Mixture.from_dict({name: shares.get(name, 0.0) for name in fitted.domains})
    values = fitted.predict(mixture, check_budget(budget))
    interval = fitted.predicted_interval(mixture, budget)
    losses, label = fitted.response.to_loss(values), fitted.response.label
    if as_json:
        emit_json(
            {
                "budget": budget,
                "weights": mixture.as_dict(),
                "predicted_loss": dict(zip(fitted.targets, losses.tolist(), strict=True)),
                **fitted.response.predicted(fitted.targets, losses),
                "mean": float(values.mean()),
                "intervals": None
                if interval is None
                else dict(zip(fitted.targets, interval.tolist(), strict=True)),
                "seed_doubt": fitted.seed_effects.doubt(0.9, new_seed=True),
                "extrapolation": fitted.extrapolation(budget),
            }
        )
        return
    rows = [
        [name, f"{value:.4g}", "–" if interval is None else f"{interval[j, 0]:.4g} to {interval[j, 1]:.4g}"]
        for j, (name, value) in enumerate(zip(fitted.targets, values, strict=True))
    ]
    emit_table(
        f"Predicted {label} at {budget:,} {fitted.response.unit}", ["target", label, "90% interval"], rows
    )
    emit(f"\nmean {values.mean():.4g}")
    if interval is not None and fitted.seed_effects.caution:
        emit(f"- {ResponseWords(response=fitted.response)(fitted.seed_effects.caution)}")
