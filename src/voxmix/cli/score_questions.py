"""What predict and plan say of laws of scores."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxmix._io import as_argument
from voxmix.cli.app import emit, emit_json, emit_table
from voxmix.errors import InputError
from voxmix.study.files import ENCODERS, SCORES_FILE, is_study, kind_of, study_file

if TYPE_CHECKING:
    from voxmix.scaling import Number, ScoreLaws, Series


def score_laws_at(path: Path) -> "ScoreLaws | None":
    """Return the laws of scores of a file that scale wrote, or of a study of encoders; None where it is another law.

    Raises:
        InputError: a study of encoders whose laws are not fitted yet; a damaged file.
    """
    from voxmix._io import read_json
    from voxmix.scaling import ScoreLaws
    from voxmix.scaling.results import KIND

    if is_study(path):
        if kind_of(path) != ENCODERS:
            return None
        path = study_file(path).parent / SCORES_FILE
        if not path.is_file():
            raise InputError(
                f"{path.parent} has no laws of scores yet; next: voxmix scale {as_argument(path.parent)}"
            )
        return ScoreLaws.load(path)
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    value = read_json(path)
    return ScoreLaws.load(path) if isinstance(value, dict) and value.get("kind") == KIND else None


def refuse(given: dict[str, Any], *, needed: str) -> None:
    """Refuse options that a law of scores has no use for.

    Raises:
        InputError: names the first, and what to give instead.
    """
    other = next((name for name, value in given.items() if value), None)
    if other is not None:
        raise InputError(f"--{other.replace('_', '-')} has no meaning for laws of scores; give {needed}")


def predict_errors(
    laws: "ScoreLaws",
    samples: Sequence[int],
    *,
    tasks: Sequence[str],
    objectives: Sequence[str],
    as_json: bool,
) -> None:
    """Print the error of each series with so many samples, against each reference, and the samples of others that are worth as much."""
    from voxmix.scaling.ask import changes_with, equivalents_with, error_with, series_of

    asked = [(s, n) for s in series_of(laws, tasks=tasks, objectives=objectives) for n in samples]
    errors = [error_with(s, n) for s, n in asked]
    changes = [list(changes_with(laws, s, n)) for s, n in asked]
    others = [list(equivalents_with(laws, s, n)) for s, n in asked]
    if as_json:
        told = [
            _value(s, error, samples=n)
            | {
                "changes": [{"reference": one.reference, **_plain(number)} for one, number in change],
                "equivalents": [
                    {"objective": one.objective, "start": one.start, **_plain(number)}
                    for one, number in other
                ],
            }
            for (s, n), error, change, other in zip(asked, errors, changes, others, strict=True)
        ]
        emit_json({"level": laws.level, "predicted": told})
        return
    head, interval = ["task", "objective", "start", "samples"], f"{laws.level:.0%} interval"
    names = [[*_names(s), f"{n:,}"] for s, n in asked]
    emit_table(
        "Predicted errors of frozen encoders",
        [*head, "error", interval, "note"],
        [[*name, *_cells(error, _error)] for name, error in zip(names, errors, strict=True)],
    )
    rows = [
        [*name, one.reference, *_cells(number, _change)]
        for name, change in zip(names, changes, strict=True)
        for one, number in change
    ]
    if rows:
        emit("")
        emit_table(
            "Change of the error of a reference", [*head, "reference", "change", interval, "note"], rows
        )
    rows = [
        [*name, one.name, *_cells(number, _samples)[:2], _place(number)]
        for name, other in zip(names, others, strict=True)
        for one, number in other
    ]
    if rows:
        emit("")
        emit_table(
            "Samples of another that are worth as much",
            [*head, "other", "samples of it", interval, "note"],
            rows,
        )


def plan_samples(
    laws: "ScoreLaws", errors: dict[str, float], *, objectives: Sequence[str], as_json: bool
) -> None:
    """Print the samples that each series of a task needs for an error."""
    from voxmix.scaling.ask import samples_for, series_of

    found = [
        (s, error, samples_for(s, error))
        for task, error in errors.items()
        for s in series_of(laws, tasks=(task,), objectives=objectives)
    ]
    if as_json:
        emit_json({"level": laws.level, "needed": [_value(s, number, error=e) for s, e, number in found]})
        return
    rows = [[*_names(s), f"{error:g}", *_cells(number, _samples)] for s, error, number in found]
    emit_table(
        "Samples that an error needs",
        ["task", "objective", "start", "error", "samples", f"{laws.level:.0%} interval", "note"],
        rows,
    )


def _names(series: "Series") -> list[str]:
    return [series.task, series.objective, series.start]


def _value(series: "Series", number: "Number", **asked: float) -> dict[str, Any]:
    named = {"task": series.task, "objective": series.objective, "start": series.start}
    return {**named, **asked, **_plain(number)}


def _plain(number: "Number") -> dict[str, Any]:
    from voxmix.scaling.parts import plain

    told: dict[str, Any] = plain(number)
    return told


def _cells(number: "Number", text: Callable[[float], str]) -> list[str]:
    value = text(number.value) if number.value == number.value else "–"
    ends = [number.low] if number.low == number.high else [number.low, number.high]  # both beyond: said once
    interval = " to ".join(map(text, ends)) if number.low == number.low else "–"
    return [value, interval, number.status]


def _place(number: "Number") -> str:
    """Return where a number lies, without the names of what lies there, which its row has."""
    for verb in (" may lie ", " lies "):
        if verb in number.status:
            return number.status.rpartition(verb)[2]
    return number.status


def _error(value: float) -> str:
    return f"{value:.4g}"


def _change(value: float) -> str:
    return f"{value:+.1%}"


def _samples(value: float) -> str:
    if value == 0:
        return "few"
    return f"{float(f'{value:.3g}'):,.0f}" if value < float("inf") else "more"
