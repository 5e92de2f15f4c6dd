"""The verb allocate: the mixtures of a study, or that of a law for one budget."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._progress import waiting
from voxmix.cli.allocation_flags import AllocationFlags, takes_allocation_flags
from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, load_law, open_study, or_here
from voxmix.cli.checks import say_fitness
from voxmix.cli.response_words import ResponseWords
from voxmix.cli.study import show
from voxmix.errors import InputError
from voxmix.study.files import ALLOCATIONS_FOLDER, is_study, study_file

if TYPE_CHECKING:
    from voxmix.allocation import Allocation
    from voxmix.allocation.beside import Beside
    from voxmix.law import FittedLaw


@verb
@takes_allocation_flags()
def allocate(
    path: Annotated[Path, or_here("STUDY|LAW", "A study, or a law that fit wrote (JSON).")],
    flags: AllocationFlags,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write the allocation.")
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option(
            metavar="LAW|STUDY",
            help="Of a law: also show what this other law would train on, such as the proxy's losses beside a score.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the best mixture for a budget, with a proof of optimality.

    For a study, finds one mixture per strategy by the settings in study.yaml and saves them. With options, shows the
    mixtures with these settings changed and saves nothing: each option is a key below allocation: in study.yaml. For a
    law, finds the mixture for one budget.

    Examples:

      voxmix allocate mystudy

      voxmix allocate mystudy --max-epochs 40 --objective relative

      voxmix allocate law.json --budget 100000 --min-weight 0.02 --max-weight ABD-CT=0.4

      voxmix allocate law.json --budget 100000 --volumes HN-PET=150 --max-epochs 40

      voxmix allocate score-law.json --budget 100000 --beside mystudy
    """
    given = flags.given
    if is_study(path):
        if beside is not None:
            raise InputError(
                f"--beside is for a law, and {path} is a study; give the law of the scores, and the study with --beside"
            )
        _allocate_as_asked(path, given, output=output, as_json=as_json)
        return
    from voxmix.allocation import allocate as allocate_law

    law = load_law(path)
    if "budget" not in given:
        raise InputError(f"the budget is missing: give --budget N, the {law.response.unit} to allocate")
    found = allocate_law(law, **_of_samples(given) if law.response.unit == "samples" else given)
    other = None if beside is None else _beside(beside, law, found, given)
    if output is not None:
        found.save(output)
    if as_json:
        value = _words_of(found).in_json(found.to_dict())
        if other is not None:  # its own words: it may be of losses
            theirs = other.as_dict()
            allocation = _words_of(other.other).in_json(theirs["allocation"])
            value["beside"] = theirs | {"allocation": allocation}
        emit_json(value)
        return
    _show_allocation(found)
    if other is not None:
        _show_beside(other)


def _of_samples(given: dict[str, Any]) -> dict[str, Any]:
    """Return settings for a budget of samples: each image is one, so the images that exist cap its domain."""
    if given.get("max_epochs", 1) != 1:
        raise InputError(
            "the law's budgets count samples, and each image is one sample: leave --max-epochs out"
        )
    return given | ({"max_epochs": 1} if "volumes" in given else {})


def _beside(path: Path, law: "FittedLaw", found: "Allocation", given: dict[str, Any]) -> "Beside":
    """Return the mixture of another law under the same limits, beside this one's.

    Its budget is the same where both count draws, or both samples; else the largest that it was fitted to.
    """
    from voxmix.allocation import allocate as allocate_law
    from voxmix.allocation.beside import beside

    other = load_law(path)
    limits = {name: value for name, value in given.items() if name != "target_weights"}
    if other.response.unit != law.response.unit:
        limits |= {"budget": other.budget_range[1]}
        limits = {name: value for name, value in limits.items() if name not in ("volumes", "max_epochs")}
        note(
            f"{path} counts {other.response.unit}, not {law.response.unit}: its mixture is that of its largest fitted budget, "
            f"{other.budget_range[1]:,.0f}"
        )
    if other.response.unit == "samples":
        limits = _of_samples(limits)
    return beside(law, found, allocate_law(other, **limits))


def _show_beside(found: "Beside") -> None:
    first, other = found.allocation, found.other
    names = [f"for the {item.response.label}" for item in (first, other)]
    if names[0] == names[1]:
        names[1] = "beside it"

    def sure(item: "Allocation", i: int) -> str:
        return "–" if item.intervals is None else f"{item.intervals[i, 0]:.1%} to {item.intervals[i, 1]:.1%}"

    rows = [
        [
            name,
            f"{first.mixture.weights[i]:.1%}",
            sure(first, i),
            f"{other.mixture.weights[i]:.1%}",
            sure(other, i),
            f"{100 * found.difference[i]:+.1f}",
            "–" if found.apart is None else "apart" if found.apart[i] else "overlap",
        ]
        for i, name in enumerate(first.domains)
    ]
    emit("")
    emit_table(
        f"Beside the law {other.law} of {other.response.as_loss} at {other.budget:,.0f} {other.response.unit}",
        ["domain", names[0], "interval", names[1], "interval", "difference, points", "intervals"],
        rows,
    )
    for sentence in found.sentences():
        emit(f"- {sentence}")


def _allocate_as_asked(path: Path, given: dict[str, Any], *, output: Path | None, as_json: bool) -> None:
    """Allocate as the study says and keep it; with options, show what its laws would give with these changed."""
    if output is not None:
        raise InputError(
            f"-o is for a law: {path} is a study and keeps its mixtures in {study_file(path).parent / ALLOCATIONS_FOLDER}; leave it out"
        )
    if not given:
        _allocate_study(path, as_json=as_json)
        return
    from voxmix.study import allocations_if

    with waiting("allocating"):
        found = allocations_if(open_study(path), **given)
    if as_json:
        emit_json({name: item.to_dict() for name, item in found.items()})
    else:
        for name, item in found.items():
            emit(f"{name}:")
            _show_allocation(item)
            emit("")
    note(
        f"not saved: the study's runs and report do not use it; to keep {' and '.join(given)}, write it below "
        f"allocation: in {study_file(path)}"
    )


def _words_of(found: "Allocation") -> ResponseWords:
    return ResponseWords(response=found.response, names=(*found.domains, *found.targets))


def _show_allocation(found: "Allocation") -> None:
    from voxmix.report.words import interval_sentence

    rows = []
    for i, name in enumerate(found.domains):
        sure = (
            "–" if found.intervals is None else f"{found.intervals[i, 0]:.1%} to {found.intervals[i, 1]:.1%}"
        )
        low, high = found.near_optimal[i]
        rows.append([name, f"{found.mixture.weights[i]:.1%}", sure, f"{low:.1%} to {high:.1%}"])
    emit_table(
        f"Mixture for {found.budget:,.0f} {found.response.unit} under the law {found.law}",
        [
            "domain",
            "share",
            f"{found.level:.0%} interval",
            f"near-optimal (within {100 * found.tolerance:g}%)",
        ],
        rows,
    )
    if found.intervals is not None:
        emit(interval_sentence(found.together))
    _say_found(found)


def _say_found(found: "Allocation") -> None:
    """Print what a mixture is predicted to give, its certificate, the baselines, and what another objective would change."""
    from voxmix.report.by_objective import change_sentence, objective_sentence

    said = _words_of(found)
    emit(
        f"\npredicted {said(found.said(found.objective))}, proven within {found.gap:.2g} of the best possible"
    )
    for name, baseline in found.baselines.items():
        emit(f"  {name}: {found.said(baseline.objective).split()[-1]}")
    _show_predicted(found)
    for line in (objective_sentence(found), *(change_sentence(found, kind) for kind in found.by_objective)):
        emit(f"- {said(line)}")
    for remark in found.notes:
        emit(f"- {said(remark)}")


def _show_predicted(found: "Allocation") -> None:
    """Print what each target is predicted to come to, beside the baselines."""
    label = "loss" if not found.response.rises else found.response.label
    names = list(found.baselines)
    values = [
        found.predicted,
        *(found.response.from_loss(found.baselines[name].predicted_loss) for name in names),
    ]
    rows = [
        [target, *(f"{float(column[place]):.4g}" for column in values)]
        for place, target in enumerate(found.targets)
    ]
    emit_table(f"Predicted {label}", ["target", "this mixture", *names], rows)


def _allocate_study(root: Path, *, as_json: bool) -> None:
    """Find the mixture of every strategy of a study at its budget."""
    from voxmix.mixture import Mixture
    from voxmix.report.by_objective import judged
    from voxmix.study import answer_content, run_step

    view = open_study(root)
    found = run_step("allocate", view, TERMINAL)
    say_fitness(view.fitness)
    if as_json:
        emit_json(
            {
                name: {"weights": item.as_dict()} if isinstance(item, Mixture) else item.to_dict()
                for name, item in found.items()
            }
        )
        return
    with waiting("collecting results"):
        content = answer_content(view)
    show(content, ("answer",), as_json=False)
    answer = judged(content)
    if answer is not None:
        _say_found(answer)
    for name, item in found.items():
        if not isinstance(item, Mixture) and (answer is None or item.law != answer.law):
            emit(
                f"- {name}: predicted {item.said(item.objective)} by its law {item.law}, proven within {item.gap:.2g} of the best "
                "possible"
            )
