"""Settings from YAML without pitfalls and back: a dataclass with every problem in a sentence, a text with comments."""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml

from voxmix.errors import InputError, did_you_mean

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """Refuses what a settings file never needs and what hides mistakes: a key given twice, and aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="an alias (*name) is not read here; write the value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {name!r} is given twice; keep one", problem_mark=key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, *, where: str, holds: str = "hold settings (key: value)") -> dict[str, Any]:
    """Return the settings of a YAML text; ``where`` names its origin in errors, ``holds`` what it should do.

    Raises:
        InputError: not YAML, a key given twice, an alias, nested too deep, or no settings at all.
    """
    try:
        values = _Loader(text).get_single_data()
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{where} is not YAML: {error}; fix the line it names") from None
    except RecursionError:
        raise InputError(f"{where} is nested too deep; settings are key: value, two levels") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else type(values).__name__
        raise InputError(f"{where} should {holds}, found {found}; fix it, or delete it and start again")
    return values


def read_settings(path: Path, *, absent: str) -> str:
    """Return the text of a settings file; ``absent`` is what is said where there is none.

    Raises:
        InputError: no such file, one that cannot be read, or that is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(absent) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it again as UTF-8") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); make a study with: voxmix init"
        ) from None


class _Dumper(yaml.SafeDumper):
    """Mappings one key a line, lists on one line: the form people edit most easily."""

    def represent_list(self, data: Any) -> yaml.SequenceNode:
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


_Dumper.add_representer(list, _Dumper.represent_list)


def render_yaml(
    values: Mapping[str, Any], *, comments: Mapping[str, str], notes: Mapping[str, str] | None = None
) -> str:
    """Return settings as text, each part below its comment; ``notes`` adds one to the parts it names."""
    parts = []
    for key, value in values.items():
        comment = "".join(f"# {line}\n" for line in comments.get(key, "").splitlines())
        comment += "".join(f"# {line}\n" for line in textwrap.wrap((notes or {}).get(key, ""), 110))
        text = yaml.dump({key: _plain(value)}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        parts.append(comment + text)
    return "\n".join(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def checked(kind: type[T], values: dict[str, Any], *, where: str) -> T:
    """Return a settings dataclass made from plain values.

    Raises:
        InputError: lists every problem, with the nearest known key for each unknown one.
    """
    from pydantic import TypeAdapter, ValidationError

    lines = _not_finite(values)
    try:
        found = TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        lines += [_explain(kind, problem) for problem in error.errors(include_url=False)]
    else:
        lines += _taken_for_numbers(found, values)
    if lines:
        raise InputError(f"{where} cannot be used:\n" + "\n".join(f"  - {line}" for line in lines)) from None
    return found


def _not_finite(values: Any, place: str = "") -> list[str]:
    """Return a line for each number that is no number: .nan and .inf pass every comparison or none."""
    if isinstance(values, dict):
        return [line for k, v in values.items() for line in _not_finite(v, f"{place}.{k}".lstrip("."))]
    if isinstance(values, list | tuple):
        return [line for v in values for line in _not_finite(v, place)]
    bad = isinstance(values, float) and not math.isfinite(values)
    return [f"{place}: {values} is not a finite number"] if bad else []


def _taken_for_numbers(found: Any, values: Any, place: str = "") -> list[str]:
    """Return a line for each yes or no (true, false) that was read as 1 or 0."""
    if is_dataclass(found) and isinstance(values, dict):
        return [
            line
            for key, value in values.items()
            for line in _taken_for_numbers(getattr(found, key), value, f"{place}.{key}".lstrip("."))
        ]
    if isinstance(found, dict) and isinstance(values, dict):
        return [
            line
            for key, value in values.items()
            for line in _taken_for_numbers(found.get(key), value, f"{place}.{key}".lstrip("."))
        ]
    if isinstance(found, tuple) and isinstance(values, list | tuple):
        return [line for f, v in zip(found, values, strict=True) for line in _taken_for_numbers(f, v, place)]
    wrong = isinstance(values, bool) and not isinstance(found, bool)
    return [f"{place}: should be a number, got {str(values).lower()}"] if wrong else []


def _explain(kind: type, problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "settings"
    if problem["type"] == "unexpected_keyword_argument":
        known = _known_keys(kind, problem["loc"][:-1])
        hint = did_you_mean(str(problem["loc"][-1]), known, what="known keys: ")
        return f"{place}: unknown key; {hint}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{place}: missing; add it (voxmix init writes a complete file)"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "tuple_type":
        message = "should be a list, such as [1, 2]"
    given = "" if problem["type"] == "value_error" else f", got {problem['input']!r}"
    return f"{place}: {message}{given}"


def _known_keys(kind: type, location: tuple[Any, ...]) -> list[str]:
    owner: Any = kind
    parts = iter(location)
    for part in parts:
        wanted = {item.name: item.type for item in fields(owner)}.get(str(part))
        owner = next((kind for kind in (wanted, *get_args(wanted)) if is_dataclass(kind)), None)
        if owner is None:
            return []
        if get_origin(wanted) is dict:
            next(parts, None)  # the name that the user gave
    return [item.name for item in fields(owner)]
