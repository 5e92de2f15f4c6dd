"""What verbs are given: a study or a law by its path, told apart by what it is, pairs of a domain and a number, and
flags that several verbs share."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from voxmix._amounts import amount, whole_amount
from voxmix._io import as_argument
from voxmix.cli.app import note
from voxmix.errors import InputError, did_you_mean
from voxmix.study.files import STUDY_FILE, is_study

if TYPE_CHECKING:
    from voxmix.law import FittedLaw
    from voxmix.study import StudyView

_TABLES = (".csv", ".tsv", ".parquet", ".pq")


def study_around() -> Path | None:
    """Return the study whose folder one is in, or below: what a verb is for where no study is named; None elsewhere."""
    here = Path.cwd()
    found = next((folder for folder in (here, *here.parents) if (folder / STUDY_FILE).is_file()), None)
    return None if found is None else Path(os.path.relpath(found, here))


_NOWHERE = Path("no study here")


def _named_or_here(place: Path) -> Path:
    """Return what was named, or the study that :func:`study_around` found.

    Checked here and not where it is looked for: a shell that asks for completions is told no error.

    Raises:
        typer.BadParameter: nothing was named, and there is no study around.
    """
    if place == _NOWHERE:
        raise typer.BadParameter(
            f"it may be left out in a study's folder alone, and no {STUDY_FILE} lies in {Path.cwd()} or above; name it, or "
            "make a study with: voxmix init STUDY --data DIR"
        )
    return place


def or_here(metavar: str, help: str) -> Any:
    """Return an argument that is a study, or what else the verb takes; left out: the study whose folder one is in."""
    return typer.Argument(
        metavar=metavar,
        help=f"{help} Left out: the study whose folder you are in.",
        default_factory=lambda: study_around() or _NOWHERE,
        callback=_named_or_here,
        show_default=False,
    )


StudyArgument = Annotated[Path, or_here("STUDY", "The study's folder.")]
NewStudyArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of tables.")]
LawArgument = Annotated[
    Path,
    or_here("LAW|STUDY", "A law that fit wrote (JSON), or a study with fitted laws."),
]
LawName = Annotated[
    str | None,
    typer.Option("--law", help="Which law of a study; the law of its report if left out."),
]
PairOption = list[str] | None
Number = TypeVar("Number", int, float)


def whole_draws(text: str) -> int:
    """Return what a flag says as a whole number of draws or images: 16000, 16k or 1e5."""
    return _as_flag(whole_amount, text)


def draws(text: str) -> float:
    """Return what a flag says as a number of draws, or of what they cost."""
    return _as_flag(amount, text)


def _as_flag(read: Callable[[str], Number], text: str) -> Number:
    try:
        return read(str(text))
    except InputError as error:
        raise typer.BadParameter(str(error)) from None


_OTHER_KINDS = {
    "law": "a fitted law: ask it with predict, plan, path, structure, suggest, or allocate --budget",
    "allocation": "a mixture that voxmix allocate wrote",
    "manifest": "a manifest of volumes: start a study from it with voxmix init STUDY --data",
}


def check_kind(path: Path, *, wanted: str) -> None:
    """Refuse a path that cannot be what a verb wants, and say what it is.

    Raises:
        InputError: no such path, a folder, or a file of another kind.
    """
    if not path.exists():
        raise InputError(f"no such file or folder: {path}; give {wanted}")
    if path.is_dir() or not path.is_file():
        raise InputError(f"{path} is {_what(path)}; give {wanted}")


def _what(path: Path) -> str:
    """Return what a path is, in words, from its name and the first lines."""
    if not path.is_dir():
        return _what_file(path)
    from voxmix.runs.files import CARD_FILE

    if (path / CARD_FILE).is_file():
        return "the folder of a finished run or an export"
    if (path / "index.json").is_file():
        return "a folder of prepared volumes"
    return f"a folder without {STUDY_FILE}"


def _what_file(path: Path) -> str:
    from voxmix._io import read_json

    if not path.is_file():
        return "no ordinary file"
    if path.suffix.lower() in _TABLES:
        return "a table: fit a law to it with voxmix fit"
    if path.suffix.lower() == ".html":
        return "a report"
    try:
        value = read_json(path)
    except InputError:
        return "a file that is no study"
    kind = value.get("kind") if isinstance(value, dict) else None
    return _OTHER_KINDS.get(str(kind), "a JSON file of another kind")


def check_is_study(root: Path) -> None:
    """Refuse a path that is no study of any kind, and say what it is.

    Raises:
        InputError: no such path, or something else.
    """
    if not root.exists():
        raise InputError(
            f"{root} is not a study, and there is no such folder; make one with: voxmix init {as_argument(root)} --data DIR"
        )
    if not is_study(root):
        raise InputError(f"{root} is {_what(root)}; give the folder of a study (voxmix init makes one)")


def open_study(root: Path, *, check: bool = True) -> "StudyView":
    """Return a view of the study in a folder, or of a study.yaml, its settings checked against each other.

    Raises:
        InputError: it is none, which says what it is instead; or its study file cannot be used or cannot work.
    """
    from voxmix.study import Study, StudyView, check_study, study_remarks

    check_is_study(root)
    view = StudyView(Study.open(root))
    if check:
        check_study(view)
        for remark in study_remarks(view.study):
            note(remark)
    return view


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
        if path.is_file() and path.suffix.lower() in _TABLES:
            raise InputError(
                f"{path} is a table, and this asks a law; fit one to it first: voxmix fit {as_argument(path)} -o law.json"
            )
        return FittedLaw.load(path)
    from voxmix.study import law_of

    view = open_study(path)
    chosen, law = law_of(view, name)
    if name is None:
        note(f"the {chosen} law of {path}; another one of {', '.join(view.laws)}: --law")
    return law


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
            number = amount(value)
        except InputError:
            number = _number(value)
        if not math.isfinite(number):
            raise InputError(f"{option} {text!r}: {value!r} is not a number; give a finite one")
        if name in found:
            raise InputError(f"{option} names {name} twice; give every domain once")
        found[name] = number
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def but_excluded(
    known: Sequence[str], wanted: Sequence[str] | None, excluded: Sequence[str] | None, *, what: str
) -> tuple[str, ...]:
    """Return the names that are ``wanted``, or all that are known, but the ``excluded`` ones, in the order in which they are known.

    Raises:
        InputError: an excluded name that is not known, or nothing is left.
    """
    for name in excluded or ():
        if name not in known:
            raise InputError(
                f"--exclude {name}: no {what} has this name; {did_you_mean(name, known, what=f'the {what}s are ')}"
            )
    left = tuple(name for name in (wanted or known) if name not in (excluded or ()))
    if not left:
        raise InputError(f"--exclude leaves no {what}; the {what}s are {', '.join(known)}")
    return left


def takes_flags(
    kind: type, *, but: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what gives a verb the flags of a dataclass, ``but`` some: it gets them as one argument ``flags``."""
    hints = get_type_hints(kind, include_extras=True)
    options = [
        Parameter(item.name, Parameter.KEYWORD_ONLY, default=None, annotation=hints[item.name])
        for item in fields(kind)
        if item.name not in but
    ]

    def given_to(function: Callable[..., None]) -> Callable[..., None]:
        def run(**values: Any) -> None:
            flags = kind(**{option.name: values.pop(option.name) for option in options})
            function(**values, flags=flags)

        own = signature(function, eval_str=True)
        rest = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own.parameters.values() if p.name != "flags"]
        at = list(own.parameters).index("flags")
        parameters = [*rest[:at], *options, *rest[at:]]
        run.__name__, run.__doc__, run.__module__ = function.__name__, function.__doc__, function.__module__
        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return given_to
