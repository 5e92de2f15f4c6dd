"""Settings from plain values: YAML without pitfalls, and a dataclass from it, with every problem in a sentence."""

import math
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args

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
    given = "" if problem["type"] == "value_error" else f", got {problem['input']!r}"
    return f"{place}: {message}{given}"


def _known_keys(kind: type, location: tuple[Any, ...]) -> list[str]:
    owner: Any = kind
    for part in location:
        kinds = {item.name: item.type for item in fields(owner)}
        options = (kinds.get(str(part)), *get_args(kinds.get(str(part))))
        owner = next((kind for kind in options if is_dataclass(kind)), None)
        if owner is None:
            return []
    return [item.name for item in fields(owner)]
