"""Settings classes as JSON schema, for editors: types and defaults from the classes, texts from the words beside the fields."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from voxmix._io import json_text, write_text

SCHEMA_FILE = "study.schema.json"
"""The schema beside a study file, which the file's first line names."""
MODELINE = f"yaml-language-server: $schema={SCHEMA_FILE}"
"""What tells an editor where the schema lies."""
_DIALECT = "http://json-schema.org/draft-07/schema#"  # what editors of YAML know


def meanings(kind: type) -> dict[str, str]:
    """Return field to its text: the one below it in the class's source, else that of the docstring's list."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    base = kind.__base__
    found = meanings(base) if isinstance(base, type) and is_dataclass(base) else {}
    for line, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(line, ast.AnnAssign)
            and isinstance(line.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[line.target.id] = " ".join(below.value.value.split())
    listed = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2].split("\n\n")[0]
    for entry in re.split(r"\n(?=    \w)", listed.rstrip()):
        name, _, text = entry.partition(": ")
        if text:
            plain = " ".join(text.split()).replace("``", "`").replace("None", "null")
            found.setdefault(name.strip(), plain[0].upper() + plain[1:])
    return found


def first_paragraph(kind: type) -> str:
    """Return what a class says of itself first."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def schema_of(kind: type) -> dict[str, Any]:
    """Return the schema of a settings class: of its own keys, with those of the classes in it under ``$defs``."""
    from pydantic import TypeAdapter

    found = TypeAdapter(kind).json_schema()
    parts = found.pop("$defs", {})
    for inner in _classes(kind):
        own = parts.get(inner.__name__, found if inner is kind else None)
        if own is not None:
            _explain(own, inner)
    found = {name: _plain(value) for name, value in found.items()}
    return found | ({"$defs": {name: _plain(value) for name, value in parts.items()}} if parts else {})


def whole_schema(found: dict[str, Any], *, title: str) -> dict[str, Any]:
    """Return a schema as a file of its own."""
    return {"$schema": _DIALECT, **found, "title": title}


def write_schema(schema: dict[str, Any], path: Path) -> None:
    """Write a schema atomically."""
    write_text(path, json_text(schema))


def _classes(kind: type) -> Iterator[type]:
    """Yield a settings class and all that its fields hold."""
    yield kind
    for hint in get_type_hints(kind).values():
        for inner in (hint, *get_args(hint)):
            if isinstance(inner, type) and is_dataclass(inner):
                yield from _classes(inner)


def _explain(schema: dict[str, Any], kind: type) -> None:
    schema["description"] = first_paragraph(kind)
    texts, names = meanings(kind), {item.name for item in fields(kind)}
    for name, value in schema.get("properties", {}).items():
        if name in names and texts.get(name):
            value["description"] = texts[name]


def _plain(value: Any) -> Any:
    """Take away what pydantic adds for forms: titles, which repeat the keys."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: {key: _plain(item) for key, item in inner.items()} if name == "properties" else _plain(inner)
        for name, inner in value.items()
        if not (name == "title" and isinstance(inner, str))
    }
