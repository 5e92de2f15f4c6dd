"""The verbs of the law: fit, allocate and predict, on a study or on a table and a law of their own."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._progress import waiting
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.study import (
    JsonOption,
    allocate_study,
    check_kind,
    fit_study,
    is_study,
    open_study,
    study_file,
)
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.law import FittedLaw

LawArgument = Annotated[
    Path,
    typer.Argument(metavar="LAW|STUDY", help="A law that fit wrote (JSON), or a study with fitted laws."),
]
LawName = Annotated[
    str | None,
    typer.Option("--law", help="Which law of a study; the law of its report if left out."),
]
PairOption = list[str] | None

_FIT_KEYS = {
    "method": "diversity_method",
    "loss": "diversity_loss",
    "max_transfer": "max_transfer",
    "max_exponent": "max_exponent",
    "rho": "rho",
    "repetition": "repetition",
    "keep_outliers": "keep_outliers",
    "bootstrap": "bootstrap",
}
"""Option of fit to the key below ``fit:`` in study.yaml; the others are not settings of a study."""


def load_law(path: Path, name: str | None = None) -> "FittedLaw":
    """Return the law of a file, or of a study: the one called ``name``, else the law of its report.

    Raises:
        InputError: neither a law nor a study with such a law; says what was given.
        StepPendingError: the study has no law yet; names the command.
    """
    from voxmix.law import FittedLaw

    if not is_study(path):
        if name is not None:
            raise InputError(
                f"--law {name} chooses among the laws of a study, and {path} is none; leave it out"
            )
        check_kind(path, wanted="a law that voxmix fit wrote (JSON), or a study")
        return FittedLaw.load(path)
    from voxmix.analysis import read_laws, report_content

    study = open_study(path)
    laws = read_laws(study)
    if name is None:
        name = report_content(study).answer_law or next(reversed(laws))
        note(f"the {name} law of {path}; another one of {', '.join(laws)}: --law")
    if name not in laws:
        raise InputError(f"{path} has no law {name!r}; its laws are {', '.join(laws)}")
    return laws[name]


def _refuse_fit_options(study: Path, given: dict[str, Any]) -> None:
    """Say where a study keeps what was given as an option of fit, or how to use it on the study's table."""
    named = {name: value for name, value in given.items() if value is not None}
    kept = [f"{_FIT_KEYS[name]}: {_yaml(value)}" for name, value in named.items() if name in _FIT_KEYS]
    others = [f"--{name}".replace("_", "-") for name in named if name not in _FIT_KEYS]
    told = []
    if kept:
        told.append(f"write {' and '.join(kept)} below fit: in {study_file(study)}")
    if others:
        table = shlex.quote(str(study_file(study).parent / "measurements.csv"))
        told.append(
            f"{', '.join(others)} is not a setting of a study: fit its table, voxmix fit {table} -o law.json "
            f"{' '.join(others)} ..."
        )
    if told:
        raise InputError(
            f"{study} is a study, whose laws are fitted as its study.yaml says: {'; '.join(told)}"
        )


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def pairs(given: Sequence[str] | None, *, option: str) -> dict[str, float]:
    """Return domain to number from texts such as ``ABD-CT=0.4``.

    Raises:
        InputError: a text without ``=``, something that is no number, or a domain twice.
    """
    found: dict[str, float] = {}
    for text in given or ():
        name, separator, value = text.rpartition("=")
        if not separator or not name:
            raise InputError(f"{option} {text!r} should be DOMAIN=NUMBER, e.g. {option} ABD-CT=0.4")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{option} {text!r}: {value!r} is not a number; give a finite one")
        if name in found:
            raise InputError(f"{option} names {name} twice; give every domain once")
        found[name] = number
    return found


@verb
def fit(
    path: Annotated[
        Path, typer.Argument(metavar="STUDY|TABLE", help="A study, or a CSV or parquet table of losses.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write the law of a table.")
    ] = None,
    law: Annotated[
        str | None,
        typer.Option(
            help="transfer (the paper's), naive, shared-exponent, diversity, budget, budget-diversity; auto."
        ),
    ] = None,
    method: Annotated[str | None, typer.Option(help="two-stage or joint.")] = None,
    loss: Annotated[str | None, typer.Option(help="mse, relative-huber or log.")] = None,
    max_transfer: Annotated[float | None, typer.Option(help="Upper bound of tau; the paper's is 1.")] = None,
    max_exponent: Annotated[
        float | None, typer.Option(help="Upper bound of the exponent; default 2.")
    ] = None,
    rho: Annotated[str | None, typer.Option(help="shared or per-target, for the diversity laws.")] = None,
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
    bootstrap: Annotated[int | None, typer.Option(help="Resamples for the intervals; 0 for none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the bootstrap.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the laws: how each domain scales and which domain helps which.

    On a study, fits every law it asks for to its proxy runs. On a table (columns run, seed, budget, target, loss,
    and source or weight:<domain>), fits one law and writes it.

    Examples:

      voxmix fit mystudy

      voxmix fit runs.csv -o law.json --law diversity --bootstrap 1000
    """
    options = {
        "law": law,
        "method": method,
        "loss": loss,
        "max_transfer": max_transfer,
        "max_exponent": max_exponent,
        "rho": rho,
        "holdout_budget": _number_or_word(holdout_budget),
        "repetition": _number_or_word(repetition),
        "keep_outliers": keep_outliers or None,
        "bootstrap": bootstrap,
        "seed": seed,
    }
    if is_study(path):
        _refuse_fit_options(path, {"output": output, **options})
        fit_study(path, as_json=as_json)
        return
    check_kind(path, wanted="a study, or a table of losses (CSV or Parquet)")
    from voxmix._progress import progress_bar
    from voxmix.law import fit as fit_table
    from voxmix.measurement import MeasurementTable

    table = MeasurementTable.read(path)
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    given.setdefault("bootstrap", 200)
    with progress_bar("fitting", unit="resamples") as progress:
        fitted = fit_table(table, **given, progress=progress)
    if output is not None:
        fitted.save(output)
    if as_json:
        emit_json(fitted.to_dict())
        return
    _show_law(fitted)
    emit(f"\nwrote {output}" if output else "\nnot written: give -o law.json to keep it")


def _number_or_word(text: str | None) -> float | str | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _show_law(law: Any) -> None:
    from voxmix.law.doubt import doubts_of

    sure = law.intervals()

    def cell(name: str, place: tuple[int, ...]) -> str:
        value = f"{getattr(law, name)[place]:.3g}"
        if sure is None or (name == "transfer" and law.domains[place[0]] == law.targets[place[1]]):
            return value
        low, high = sure[name][place]
        return f"{value}\n{low:.3g} to {high:.3g}"

    names = ("irreducible_loss", "amplitude", "exponent")
    variety = ("rho",) if law.law.endswith("diversity") else ()
    rows = [
        [target, *(cell(name, (j,)) for name in (*names, *variety)), f"{law.r2_target[j]:.4g}"]
        for j, target in enumerate(law.targets)
    ]
    title = f"Law {law.law}, {law.method}" + ("" if sure is None else ", with 90% intervals")
    emit_table(title, ["target", "irreducible loss", "amplitude", "exponent", *variety, "R2"], rows)
    matrix = [
        [source, *(cell("transfer", (i, j)) for j in range(len(law.targets)))]
        for i, source in enumerate(law.domains)
    ]
    emit_table("Transfer [source, target]", ["source", *(f"to {name}" for name in law.targets)], matrix)
    if law.holdout is not None:
        emit(f"- held out: mean relative error {law.holdout.mean_relative_error:.1%}")
    for message in law.notes:
        emit(f"- {message}")
    for message in doubts_of(law.problems()):
        emit(f"- {message}")


@verb
def allocate(
    path: Annotated[
        Path, typer.Argument(metavar="STUDY|LAW", help="A study, or a law that fit wrote (JSON).")
    ],
    budget: Annotated[int | None, typer.Option(help="Volume draws to allocate.")] = None,
    min_weight: Annotated[float | None, typer.Option(help="Least share of any domain; default 0.05.")] = None,
    max_weight: Annotated[PairOption, typer.Option(help="DOMAIN=SHARE at most; repeat.")] = None,
    fix: Annotated[PairOption, typer.Option("--fix", "--fixed", help="DOMAIN=SHARE exactly; repeat.")] = None,
    volumes: Annotated[PairOption, typer.Option(help="DOMAIN=N volumes that exist; repeat.")] = None,
    max_epochs: Annotated[float | None, typer.Option(help="Most draws of each volume.")] = None,
    cost: Annotated[PairOption, typer.Option(help="DOMAIN=PRICE of a draw, 1 elsewhere; repeat.")] = None,
    target_weight: Annotated[
        PairOption, typer.Option(help="DOMAIN=W importance of a target; repeat.")
    ] = None,
    objective: Annotated[str | None, typer.Option(help="mean (default), relative or minimax.")] = None,
    no_worse_than: Annotated[
        str | None, typer.Option(help="No target worse than under uniform or data-proportional.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Near-optimal means within this; default 0.01.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write the allocation.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the best mixture for a budget, with a proof of optimality.

    A study: one mixture per strategy by the settings in study.yaml, saved; with options, the mixtures under these
    options, shown but not saved. A law: the mixture for one budget.

    Examples:

      voxmix allocate mystudy

      voxmix allocate mystudy --max-epochs 40

      voxmix allocate law.json --budget 100000 --min-weight 0.02 --max-weight ABD-CT=0.4

      voxmix allocate law.json --budget 100000 --volumes HN-PET=150 --max-epochs 40
    """
    single = {
        "budget": budget,
        "min_weight": min_weight,
        "max_epochs": max_epochs,
        "objective": objective,
        "no_worse_than": no_worse_than,
        "tolerance": tolerance,
    }
    by_domain = {
        "max_weight": max_weight,
        "fixed": fix,
        "volumes": volumes,
        "cost": cost,
        "target_weights": target_weight,
    }
    given: dict[str, Any] = {name: value for name, value in single.items() if value is not None}
    for name, texts in by_domain.items():
        if texts is not None:
            given[name] = pairs(texts, option=f"--{_OPTION.get(name, name)}".replace("_", "-"))
    if is_study(path):
        _allocate_study(path, given, output=output, as_json=as_json)
        return
    from voxmix.allocation import allocate as allocate_law

    law = load_law(path)
    if budget is None:
        raise InputError("the budget is missing: give --budget N, the volume draws to allocate")
    found = allocate_law(law, **given)
    if output is not None:
        found.save(output)
    if as_json:
        emit_json(found.to_dict())
        return
    _show_allocation(found)


def _allocate_study(path: Path, given: dict[str, Any], *, output: Path | None, as_json: bool) -> None:
    """Allocate as the study says and keep it; with options, show what its laws would give with these changed."""
    if output is not None:
        raise InputError(
            f"-o is for a law: {path} is a study and keeps its mixtures in {path / 'allocations'}; leave it out"
        )
    if not given:
        allocate_study(path, as_json=as_json)
        return
    from voxmix.analysis import allocations_if

    with waiting("allocating"):
        found = allocations_if(open_study(path), **given)
    if as_json:
        emit_json({name: item.to_dict() for name, item in found.items()})
    else:
        for name, item in found.items():
            emit(f"{name}:")
            _show_allocation(item)
            emit("")
    keys = [name for name in given if name in _KEPT]
    where = (
        f"; to keep {' and '.join(keys)}, write it below allocation: in {study_file(path)}" if keys else ""
    )
    note(f"not saved: the study's runs and report do not use it{where}")


_OPTION = {"fixed": "fix", "target_weights": "target_weight"}
_KEPT = ("budget", "min_weight", "max_weight", "fixed", "max_epochs", "no_worse_than", "tolerance")
"""Options of allocate that are keys below ``allocation:`` in study.yaml."""


def _show_allocation(found: Any) -> None:
    rows = []
    for i, name in enumerate(found.domains):
        sure = (
            "–" if found.intervals is None else f"{found.intervals[i, 0]:.1%} to {found.intervals[i, 1]:.1%}"
        )
        low, high = found.near_optimal[i]
        rows.append([name, f"{found.mixture.weights[i]:.1%}", sure, f"{low:.1%} to {high:.1%}"])
    emit_table(
        f"Mixture for {found.budget:,.0f} draws under the law {found.law}",
        ["domain", "share", f"{found.level:.0%} interval", f"near-optimal ({found.tolerance:.1%})"],
        rows,
    )
    emit(f"\npredicted objective {found.objective:.5g}, proven within {found.gap:.2g} of the best possible")
    for name, baseline in found.baselines.items():
        emit(f"  {name}: {baseline.objective:.5g}")
    for remark in found.notes:
        emit(f"- {remark}")


@verb
def predict(
    law: LawArgument,
    budget: Annotated[int, typer.Option(help="Volume draws.")],
    weights: Annotated[list[str], typer.Option(help="DOMAIN=SHARE; repeat; shares sum to 1, others get 0.")],
    law_name: LawName = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the loss of a mixture on every target.

    Example:

      voxmix predict law.json --budget 16000 --weights ABD-CT=0.5 --weights HN-PET=0.5
    """
    from voxmix.design import check_budget
    from voxmix.mixture import Mixture

    fitted = load_law(law, law_name)
    shares = pairs(weights, option="--weights")
    unknown = sorted(set(shares) - set(fitted.domains))
    if unknown:
        raise InputError(f"the law knows no {unknown}; its domains are {list(fitted.domains)}")
    mixture = Mixture.from_dict({name: shares.get(name, 0.0) for name in fitted.domains})
    losses = fitted.predict(mixture, check_budget(budget))
    interval = fitted.predicted_interval(mixture, budget)
    if as_json:
        emit_json(
            {
                "budget": budget,
                "weights": mixture.as_dict(),
                "predicted_loss": dict(zip(fitted.targets, losses.tolist(), strict=True)),
                "mean": float(losses.mean()),
                "intervals": None
                if interval is None
                else dict(zip(fitted.targets, interval.tolist(), strict=True)),
                "extrapolation": fitted.extrapolation(budget),
            }
        )
        return
    rows = [
        [name, f"{loss:.4g}", "–" if interval is None else f"{interval[j, 0]:.4g} to {interval[j, 1]:.4g}"]
        for j, (name, loss) in enumerate(zip(fitted.targets, losses, strict=True))
    ]
    emit_table(f"Predicted loss at {budget:,} draws", ["target", "loss", "90% interval"], rows)
    emit(f"\nmean {losses.mean():.4g}")
