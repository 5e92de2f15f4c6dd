"""Which command comes next after each verb: what is said at its end, and after an error that names none."""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxmix._io import as_argument
from voxmix.study.files import ALLOCATIONS_FOLDER, ENCODERS, is_study, kind_of, study_file

if TYPE_CHECKING:
    from voxmix.study.step import Steps

Given = Mapping[str, Any]
"""What a verb was given, by the names of its arguments and options."""

_PLACES = ("study", "path", "law", "source", "losses", "cache", "folder")
"""Arguments that may be a study."""


def following(verb: str, given: Given, failed: str = "") -> str | None:
    """Return the command that comes next after a verb that is done; None where the verb says it itself.

    After one that ``failed``, for a reason that names no command, it is the one that helps: what the verb takes where an
    option is the matter, else the state of the study.
    """
    if not failed:
        after = AFTER.get(verb)
        return None if after is None else after(given)
    study = _study_in(given)
    if study is not None and f"{study_file(study)} cannot be used" in failed:
        return f"edit {as_argument(study_file(study))}, then: voxmix status {as_argument(study)}"
    if study is None or verb == "status" or re.search(r"(?<!\w)--\w", failed):
        return f"voxmix {verb.replace('_', ' ')} --help"
    return f"voxmix status {as_argument(study)}"


def _study_in(given: Given) -> Path | None:
    found = [given.get(name) for name in _PLACES]
    return next((path for path in found if isinstance(path, Path) and is_study(path)), None)


def _after_step(name: str) -> Callable[[Given], str | None]:
    """Return what gives the step that follows one of a study; after the last one, the verb that uses what was found.

    By their order alone: to see how far the study is, it would be read once more.
    """

    def following_of(given: Given) -> str | None:
        study = _study_in(given)
        if study is None:
            return None
        from voxmix.cli.kinds import kind_row

        steps: Steps = import_module(kind_row(study).steps).STEPS
        names = [row.name for row in steps.of_a_run()]
        after = names[names.index(name) + 1 :] if name in names else []
        return steps[after[0]].call(study) if after else _of_all_steps(given)

    return following_of


def _of_all_steps(given: Given) -> str | None:
    """Return the verb that uses what all steps have found."""
    study = _study_in(given)
    if study is None:
        return None
    return f"voxmix {'compare' if kind_of(study) == ENCODERS else 'export'} {as_argument(study)}"


def _after_report(given: Given) -> str | None:
    """Return what uses the answer, or goes on with a study that has none yet: a report may be written at any time."""
    study = _study_in(given)
    if (
        study is None
        or kind_of(study) == ENCODERS
        or (study_file(study).parent / ALLOCATIONS_FOLDER).is_dir()
    ):
        return _of_all_steps(given)
    return f"voxmix study run {as_argument(study)}"


def _of_study(verb: str) -> Callable[[Given], str | None]:
    """Return what gives a verb for the study that was given."""

    def command(given: Given) -> str | None:
        study = _study_in(given)
        return None if study is None else f"voxmix {verb} {as_argument(study)}"

    return command


def _or(
    of_study: Callable[[Given], str | None], otherwise: Callable[[Given], str]
) -> Callable[[Given], str | None]:
    """Return what gives one command where a study was given, and else another."""
    return lambda given: otherwise(given) if _study_in(given) is None else of_study(given)


def _word(given: Given, *names: str, otherwise: str = "") -> str:
    """Return the first of some arguments that was given, as it is typed."""
    found = next((given[name] for name in names if given.get(name) is not None), otherwise)
    return as_argument(found) if isinstance(found, Path) else str(found)


def _starts_from(given: Given) -> str:
    flag = "--images" if given.get("images") else "--data"
    return f"voxmix init STUDY {flag} {_word(given, 'source')}"


def _after_listing(given: Given) -> str:
    if given.get("out") is None:
        sources = " ".join(as_argument(path) for path in given["sources"])
        return f"voxmix manifest {sources} -o manifest.csv"
    return f"voxmix audit {_word(given, 'out')}"


def _after_labels(given: Given) -> str:
    if given.get("output") is None:
        return f"voxmix label {_word(given, 'source')} -o labelled.csv"
    return f"voxmix init STUDY --images {_word(given, 'output')}"


def _after_table(given: Given) -> str:
    if given.get("output") is None:
        return f"voxmix table {_word(given, 'losses')} -o runs.csv"
    score = " --score score" if _study_in(given) is not None else ""
    return f"voxmix fit {_word(given, 'output')} -o law.json{score}"


def _after_fit(given: Given) -> str:
    if given.get("output") is None:
        return f"voxmix fit {_word(given, 'path')} -o law.json"
    return f"voxmix allocate {_word(given, 'output')} --budget N"


def _after_score_laws(given: Given) -> str:
    if given.get("output") is None:
        return f"voxmix scale {_word(given, 'path')} -o laws.json"
    return f"voxmix plan {_word(given, 'output')} --error TASK=ERROR"


def _after_prediction(given: Given) -> str:
    law = _word(given, "law")
    return (
        f"voxmix plan {law} --error TASK=ERROR"
        if given.get("samples")
        else f"voxmix allocate {law} --budget N"
    )


def _after_plan(given: Given) -> str:
    law = _word(given, "law")
    return f"voxmix predict {law} --samples N" if given.get("error") else f"voxmix path {law}"


def _after_suggestions(given: Given) -> str:
    study = _study_in(given)
    return "voxmix fit TABLE -o law.json" if study is None else f"voxmix refine {as_argument(study)}"


def _after_verifying(given: Given) -> str:
    cache = _word(given, "cache")
    if given.get("remove"):
        return (
            f"voxmix prepare {cache}"
            if _study_in(given) is not None
            else "voxmix prepare SOURCE --out " + cache
        )
    return f"voxmix cache prune {cache} --dry-run"


AFTER: dict[str, Callable[[Given], str | None]] = {
    "manifest": _after_listing,
    "audit": _or(_of_study("prepare"), _starts_from),
    "label": _after_labels,
    "init": lambda given: f"voxmix study run {_word(given, 'study')}",
    "demo": lambda given: (
        "voxmix init STUDY " + ("--images TABLE" if given.get("radiographs") else "--data DIR")
    ),
    "prepare": _or(
        _after_step("prepare"), lambda given: f"voxmix init STUDY --volumes {_word(given, 'out')}"
    ),
    "estimate": _of_study("study run"),
    "run": _after_step("run"),
    "study_run": _of_all_steps,
    "table": _after_table,
    "fit": _or(_after_step("fit"), _after_fit),
    "allocate": _or(_after_step("allocate"), lambda given: f"voxmix path {_word(given, 'path')}"),
    "refine": _of_study("report"),
    "pretrain": _after_step("pretrain"),
    "finetune": lambda given: f"voxmix compare {_word(given, 'study')}",
    "probe": _or(
        _after_step("probe"),
        lambda given: f"voxmix init STUDY --images {_word(given, 'images', otherwise='TABLE')}",
    ),
    "scale": _or(_after_step("scale"), _after_score_laws),
    "compare": lambda given: f"voxmix report {_word(given, 'study')}",
    "report": _after_report,
    "predict": _after_prediction,
    "plan": _after_plan,
    "path": lambda given: f"voxmix structure {_word(given, 'law')}",
    "structure": lambda given: f"voxmix suggest {_word(given, 'law')}",
    "suggest": _after_suggestions,
    "doctor": lambda given: (
        "voxmix demo" if _study_in(given) is None else f"voxmix estimate {_word(given, 'folder')}"
    ),
    "schema": lambda given: f"voxmix status {_word(given, 'study', otherwise='STUDY')}",
    "cache_list": lambda given: f"voxmix cache verify {_word(given, 'cache')}",
    "cache_verify": _after_verifying,
    "cache_prune": lambda given: (
        f"voxmix cache {'prune' if given.get('dry_run') else 'list'} {_word(given, 'cache')}"
    ),
    "cache_restore": lambda given: f"voxmix cache list {_word(given, 'cache')}",
}
"""Verb to the command after it. status says its own, and export which page to read."""
