"""The verb fit: the laws of a study, or the law of a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._amounts import amount
from voxmix._io import as_argument
from voxmix._progress import progress_bar, waiting
from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, but_excluded, check_kind, open_study, or_here
from voxmix.cli.checks import say_fitness, show_regime
from voxmix.cli.response_words import ResponseWords
from voxmix.errors import InputError
from voxmix.study.files import MEASUREMENTS_FILE, is_study, study_file

if TYPE_CHECKING:
    from voxmix.measurement import MeasurementTable

_FIT_KEYS = {
    "method": "diversity_method",
    "loss": "diversity_loss",
    "max_transfer": "max_transfer",
    "max_exponent": "max_exponent",
    "rho": "rho",
    "foreign_weight": "foreign_weight",
    "repetition": "repetition",
    "keep_outliers": "keep_outliers",
    "bootstrap": "bootstrap",
}
"""Option of fit to the key below ``fit:`` in study.yaml; the others are not settings of a study."""


_EVERY = "--json lists every one, with what would help"


def _refuse_fit_options(study: Path, given: dict[str, Any]) -> None:
    """Say where a study keeps what was given as an option of fit, or how to use it on the study's table."""
    named = {name: value for name, value in given.items() if value is not None}
    kept = [f"{_FIT_KEYS[name]}: {_yaml(value)}" for name, value in named.items() if name in _FIT_KEYS]
    others = [f"--{name}".replace("_", "-") for name in named if name not in _FIT_KEYS]
    told = []
    if kept:
        told.append(f"write {' and '.join(kept)} below fit: in {study_file(study)}")
    if others:
        table = as_argument(study_file(study).parent / MEASUREMENTS_FILE)
        told.append(
            f"{', '.join(others)} is not a setting of a study: fit its table, voxmix fit {table} -o law.json "
            f"{' '.join(others)} ..."
        )
    if told:
        raise InputError(
            f"{study} is a study, and its study.yaml sets how its laws are fitted: {'; '.join(told)}"
        )


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@verb
def fit(
    path: Annotated[Path, or_here("STUDY|TABLE", "A study, or a CSV or parquet table of losses.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write the law of a table.")
    ] = None,
    law: Annotated[
        str | None,
        typer.Option(
            help="transfer (the paper's), naive, shared-exponent, diversity, budget, budget-diversity, offset, "
            "offset-diversity; auto."
        ),
    ] = None,
    method: Annotated[str | None, typer.Option(help="two-stage or joint.")] = None,
    loss: Annotated[str | None, typer.Option(help="mse, relative-huber or log.")] = None,
    max_transfer: Annotated[float | None, typer.Option(help="Upper bound of tau; the paper's is 1.")] = None,
    max_exponent: Annotated[
        float | None, typer.Option(help="Upper bound of the exponent; default 2.")
    ] = None,
    rho: Annotated[str | None, typer.Option(help="shared or per-target, for the diversity laws.")] = None,
    foreign_weight: Annotated[
        float | None,
        typer.Option(
            help="What pure runs of other domains count in joint fits, 0 to 1, where mixtures hold the target."
        ),
    ] = None,
    holdout_budget: Annotated[
        str | None, typer.Option(help="Hold a budget (a number, or largest) out of the fit and predict it.")
    ] = None,
    repetition: Annotated[
        str | None,
        typer.Option(help="Count repeated draws of a volume less: a rate R, fitted or per-domain."),
    ] = None,
    keep_outliers: Annotated[
        bool, typer.Option("--keep-outliers", help="Also fit losses that no noise explains; they are named.")
    ] = False,
    response: Annotated[
        str | None, typer.Option(help="Column of the table that holds what was measured; default loss.")
    ] = None,
    direction: Annotated[
        str | None, typer.Option(help="max where more of it is better (AUC, Dice); default min.")
    ] = None,
    best: Annotated[
        float | None, typer.Option(help="Largest value possible, for --direction max; default 1.")
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(
            help="A table of scores over mixtures: a column of scores in 0 to 1, or a pattern (auc_* is task *); the law is of "
            "1 - score; repeat."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave this run of the table out; repeat for more.")
    ] = None,
    bootstrap: Annotated[int | None, typer.Option(help="Resamples for the intervals; 0 for none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the bootstrap.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the laws: how each domain scales and which domain helps which.

    On a study, fits every law it asks for to its proxy runs. On a table (columns run, seed, budget, target, loss,
    and source or weight:<domain>), fits one law and writes it. With --score the table holds downstream scores, a row
    for each run, and may give samples:<domain> in place of weights and budget.

    Examples:

      voxmix fit mystudy

      voxmix fit runs.csv -o law.json --law diversity --bootstrap 1000

      voxmix fit swarm.csv -o law.json --method joint --response auc --direction max

      voxmix fit scores.csv -o score-law.json --score 'auc_*'
    """
    measured = {"response": response, "direction": direction, "best": best, "score": score or None}
    options = {
        "law": law,
        "method": method,
        "loss": loss,
        "max_transfer": max_transfer,
        "max_exponent": max_exponent,
        "rho": rho,
        "foreign_weight": foreign_weight,
        "holdout_budget": _number_or_word(holdout_budget),
        "repetition": _number_or_word(repetition),
        "keep_outliers": keep_outliers or None,
        "bootstrap": bootstrap,
        "seed": seed,
    }
    if is_study(path):
        _refuse_fit_options(path, {"output": output, "exclude": exclude, **measured, **options})
        _fit_study(path, as_json=as_json)
        return
    check_kind(path, wanted="a study, or a table of losses (CSV or Parquet)")
    import numpy as np

    from voxmix.law import fit as fit_table
    from voxmix.law import regime_check

    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    given.setdefault("bootstrap", 200)
    table = _measured(path, {k: v for k, v in measured.items() if v is not None})
    if exclude:
        left = set(but_excluded(tuple(dict.fromkeys(table.run)), None, exclude, what="run"))
        table = table.select(np.array([run in left for run in table.run]))
    if repetition is not None and table.response.unit == "samples":
        raise InputError("budgets count samples, and no image is counted twice: leave --repetition out")
    if score and "method" not in given and not _has_pure_runs(table):
        note(
            "tasks are no sources, or lack pure runs: the law is fitted jointly to all runs (--method joint)"
        )
        given["method"] = "joint"
    with progress_bar("fitting", unit="resamples") as progress:
        fitted = fit_table(table, **given, progress=progress)
    if output is not None:
        fitted.save(output)
    regime = regime_check(table, keep_outliers=keep_outliers)
    said = ResponseWords(response=fitted.response, names=(*fitted.domains, *fitted.targets))
    if as_json:
        value = fitted.to_dict() | fitted.response.named_error() | {"regime": regime.to_dict()}
        emit_json(said.in_json(value))
        return
    show_regime(regime, said=said)
    _show_law(fitted, said)
    emit(f"\nwrote {output}" if output else "\nnot written: give -o law.json to keep it")


def _measured(path: Path, given: dict[str, Any]) -> "MeasurementTable":
    """Return the table of a file, of losses or of scores."""
    from voxmix.measurement import MeasurementTable
    from voxmix.mixture_scores import read_scores

    score = given.pop("score", None)
    if score is None:
        return MeasurementTable.read(path, **given)
    if "response" in given:
        raise InputError("--score and --response both name what was measured; give one of them")
    return read_scores(path, score, **given)


def _has_pure_runs(table: "MeasurementTable") -> bool:
    """Return whether every target is a source of which some run drew alone."""
    alone = {table.domains[i] for i in table.source if i >= 0}
    return set(table.targets) <= alone


def _number_or_word(text: str | None) -> float | str | None:
    try:
        return None if text is None else amount(text)
    except InputError:
        return text


def _show_law(law: Any, said: ResponseWords) -> None:
    sure, numbers = law.intervals(), law.parameters.by_draw()

    def cell(name: str, place: tuple[int, ...]) -> str:
        value = f"{numbers[name][place]:.3g}"
        if sure is None or (name == "transfer" and law.domains[place[0]] == law.targets[place[1]]):
            return value
        low, high = sure[name][place]
        return f"{value}\n{low:.3g} to {high:.3g}"

    names = ("irreducible_loss", "amplitude", "exponent")
    more = (*(("rho",) if law.form.variety else ()), *law.parameters.formula_numbers)
    rows = [
        [target, *(cell(name, (j,)) for name in (*names, *more)), f"{law.r2_target[j]:.4g}"]
        for j, target in enumerate(law.targets)
    ]
    of = f" of {law.response.as_loss}" if law.response.rises else ""
    title = f"Law {law.law}{of}, {law.method}" + ("" if sure is None else ", with 90% intervals")
    emit_table(title, ["target", said("irreducible loss"), "amplitude", "exponent", *more, "R2"], rows)
    matrix = [
        [source, *(cell("transfer", (i, j)) for j in range(len(law.targets)))]
        for i, source in enumerate(law.domains)
    ]
    emit_table("Transfer [source, target]", ["source", *(f"to {name}" for name in law.targets)], matrix)
    emit(f"- {said(_quality(law))}")
    for role, domains in _by_role(law).items():
        emit(f"- {role}: {', '.join(domains)}")
    if law.holdout is not None:
        emit(f"- held out: mean relative error {law.holdout.mean_relative_error:.1%}")
    for line in _few_lines(law):
        emit(f"- {said(line)}")


def _quality(law: Any) -> str:
    """Return how well a law fits what it was fitted to."""
    import numpy as np

    found = law.quality
    error = float(np.nanmean(np.abs(found.predicted / found.observed - 1)))
    known = np.flatnonzero(~np.isnan(found.r2_target))
    if not len(known):
        return f"law {law.law}: {error:.1%} from the measured losses in the mean"
    least = known[np.argmin(found.r2_target[known])]
    return (
        f"law {law.law}: {error:.1%} from the measured losses in the mean; least R2 {found.r2_target[least]:.3g} "
        f"({law.targets[least]})"
    )


def _by_role(law: Any) -> dict[str, list[str]]:
    """Return hub, island and easy to the domains that are."""
    from voxmix.allocation import structure

    found: dict[str, list[str]] = {}
    for name, role in structure(law).roles.items():
        if role:
            found.setdefault(role, []).append(name)
    return found


def _few_lines(law: Any) -> tuple[str, ...]:
    """Return what matters most of a fit: the seeds' effects, its remarks, and what the runs do not tell."""
    from voxmix.law.status_lines import few_lines

    effects = law.seed_effects
    seeds = (effects.sentence, effects.caution if law.bootstrap is not None else "")
    return few_lines((*(text for text in seeds if text), *law.notes), law.status, where=_EVERY)


def _fit_study(root: Path, *, as_json: bool) -> None:
    """Fit the laws of a study to its proxy runs."""
    from voxmix.study import law_of, run_step

    view = open_study(root)
    laws = run_step("fit", view, TERMINAL)
    say_fitness(view.fitness)
    if as_json:
        judged = None if view.regime is None else view.regime.to_dict()
        emit_json({"laws": {name: law.to_dict() for name, law in laws.items()}, "regime": judged})
        return
    show_regime(view.regime)
    with waiting("collecting results"):
        chosen, law = law_of(view)
    _show_law(law, ResponseWords(response=law.response, names=(*law.domains, *law.targets)))
    for name, other in laws.items():
        if name != chosen:
            emit(f"- {_quality(other)}")
