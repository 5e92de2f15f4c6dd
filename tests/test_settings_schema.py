"""The schema of study files takes every file that voxmix writes and refuses what voxmix refuses; it is made from the settings."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.encoder_study.config_file import parse_config as parse_encoders
from voxmix.encoder_study.presets import DEMO_RADIOGRAPHS
from voxmix.encoder_study.presets import PRESETS as ENCODER_PRESETS
from voxmix.encoder_study.schema import study_schema as schema_of_encoders
from voxmix.encoder_study.starting import start_encoder_study
from voxmix.errors import InputError
from voxmix.settings_schema import SCHEMA_FILE
from voxmix.study.config import DataSettings, PhantomSettings, parse_config, render_config
from voxmix.study.presets import PRESETS
from voxmix.study.schema import study_schema

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "study_real.yaml"
KNOWN = {
    "$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "default", "description", "enum", "items",
    "maxItems", "minItems", "minProperties", "oneOf", "pattern", "prefixItems", "properties", "required", "title", "type",
}  # fmt: skip
TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: not isinstance(v, bool) and isinstance(v, int | float) and v == int(v),
    "number": lambda v: not isinstance(v, bool) and isinstance(v, int | float),
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}


def faults(value: Any, schema: Any, whole: Any, place: str = "") -> Iterator[str]:
    """Yield what JSON schema says against a value: the words of the schema that voxmix's schemas use, and no others."""
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    if "$ref" in schema:
        yield from faults(value, whole["$defs"][schema["$ref"].removeprefix("#/$defs/")], whole, place)
    for word, most in (("anyOf", 99), ("oneOf", 1)):
        if word in schema:
            good = sum(not list(faults(value, one, whole, place)) for one in schema[word])
            if not 1 <= good <= most:
                yield f"{place}: {good} of {word}"
    if "type" in schema and not TYPES[schema["type"]](value):
        yield f"{place}: no {schema['type']}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{place}: not {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: none of {schema['enum']}"
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield f"{place}: other pattern"
    if isinstance(value, list):
        yield from _of_list(value, schema, whole, place)
    if isinstance(value, dict):
        yield from _of_object(value, schema, whole, place)


def _of_list(value: list[Any], schema: Any, whole: Any, place: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9):
        yield f"{place}: {len(value)} items"
    each = schema.get("prefixItems") or [schema.get("items", {})] * len(value)
    for number, (item, one) in enumerate(zip(value, each, strict=False)):
        yield from faults(item, one, whole, f"{place}[{number}]")


def _of_object(value: dict[str, Any], schema: Any, whole: Any, place: str) -> Iterator[str]:
    if len(value) < schema.get("minProperties", 0):
        yield f"{place}: too few"
    yield from (f"{place}: lacks {name}" for name in schema.get("required", ()) if name not in value)
    known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in known:
            yield from faults(item, known[name], whole, f"{place}.{name}")
        elif rest is False:
            yield f"{place}: unknown {name}"
        elif rest is not True:
            yield from faults(item, rest, whole, f"{place}.{name}")


@pytest.fixture(scope="module")
def mixtures() -> Any:
    return study_schema()


@pytest.fixture(scope="module")
def encoders() -> Any:
    return schema_of_encoders()


@pytest.fixture(scope="module")
def encoder_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of studies of made radiographs, by preset."""
    found = {}
    for name in ENCODER_PRESETS.names():
        found[name] = tmp_path_factory.mktemp("encoders") / name
        start_encoder_study(found[name], radiographs=DEMO_RADIOGRAPHS, preset=name)
    return found


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_file_of_mixtures_is_valid(name: str, mixtures: Any) -> None:
    for data in (
        DataSettings(path="volumes"),
        DataSettings(phantoms=PhantomSettings(counts={"A": 3, "B": 4})),
    ):
        text = render_config(PRESETS[name].study(name="x", data=data))
        assert text.startswith(f"# yaml-language-server: $schema={SCHEMA_FILE}\n")
        assert list(faults(yaml.safe_load(text), mixtures, mixtures)) == []


def test_the_file_of_the_flagship_study_is_valid(mixtures: Any) -> None:
    assert list(faults(yaml.safe_load(BENCHMARK.read_text(encoding="utf-8")), mixtures, mixtures)) == []


def test_every_file_of_encoders_is_valid_and_its_schema_lies_beside_it(
    encoder_files: dict[str, Path], encoders: Any
) -> None:
    for root in encoder_files.values():
        value = yaml.safe_load((root / "study.yaml").read_text(encoding="utf-8"))
        assert list(faults(value, encoders, encoders)) == []
        assert json.loads((root / SCHEMA_FILE).read_text(encoding="utf-8")) == encoders


def changed(value: Any, path: tuple[str, ...], new: Any) -> Any:
    found = copy.deepcopy(value)
    inner = found
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = new
    return found


@pytest.mark.parametrize(
    ("path", "new", "good"),
    [
        (("design", "budgets"), ["1k", 2000, "4e3"], True),
        (("allocation", "budget"), "100k", True),
        (("allocation", "budget"), "8q", False),
        (("allocation", "budgt"), 8, False),
        (("allocation", "cost"), {"A": 2}, True),
        (("allocation", "cost"), {"A": "dear"}, False),
        (("recipe", "spacng_mm"), 2, False),
        (("recipe", "spacing_mm"), "wide", False),
        (("fit", "repetition"), "fitted", True),
        (("fit", "repetition"), "sometimes", False),
        (("fit", "rho"), "per-target", True),
        (("model", "crop"), 1.5, False),
        (("data", "codec"), "zip", False),
        (("compute", "strategy"), "ddp", True),
        (("workers",), None, True),
        (("kind",), "mixtures", True),
        (("extra",), 1, False),
    ],
)
def test_it_refuses_what_voxmix_refuses(path: tuple[str, ...], new: Any, good: bool, mixtures: Any) -> None:
    value = yaml.safe_load(render_config(PRESETS["small"].study(name="x", data=DataSettings(path="volumes"))))
    if path == ("compute", "strategy"):
        del value["compute"]["sharing"]
    value = changed(value, path, new)
    assert (list(faults(value, mixtures, mixtures)) == []) == good
    if path[0] == "recipe":  # read where volumes are prepared
        return
    if good:
        parse_config(value, where="x")
    else:
        with pytest.raises(InputError):
            parse_config(value, where="x")


@pytest.mark.parametrize(
    ("path", "new", "good"),
    [
        (("design", "samples"), ["64", "1k", "all"], True),
        (("design", "samples"), ["few"], False),
        (("objectives", "dino", "settings"), None, True),
        (("objectives", "dino", "settings", "prototyps"), 4, False),
        (("objectives", "dyno"), {}, False),
        (("objectives",), {}, False),
        (("backbone", "name"), "vot", False),
        (("backbone", "width"), "wide", False),
        (("tasks", "findings", "kind"), "label", False),
        (("kind",), "mixtures", False),
    ],
)
def test_it_refuses_what_voxmix_refuses_of_encoders(
    path: tuple[str, ...], new: Any, good: bool, encoder_files: dict[str, Path], encoders: Any
) -> None:
    value = yaml.safe_load((encoder_files["small"] / "study.yaml").read_text(encoding="utf-8"))
    value = changed(value, path, new)
    assert (list(faults(value, encoders, encoders)) == []) == good
    if good:
        parse_encoders(value, where="x")
    else:
        with pytest.raises(InputError):
            parse_encoders(value, where="x")


def test_every_key_says_what_it_means(mixtures: Any, encoders: Any) -> None:
    for whole in (mixtures, encoders):
        silent = [
            f"{part}.{key}"
            for part, schema in whole["$defs"].items()
            for key, value in schema.get("properties", {}).items()
            if "description" not in value and "$ref" not in json.dumps(value)
        ]
        assert silent == []


def test_the_verb_writes_it(encoder_files: dict[str, Path], encoders: Any, tmp_path: Path) -> None:
    root = encoder_files["demo"]
    (root / SCHEMA_FILE).write_text("old", encoding="utf-8")
    assert CliRunner().invoke(app, ["schema", str(root)]).exit_code == 0
    assert json.loads((root / SCHEMA_FILE).read_text(encoding="utf-8")) == encoders
    done = CliRunner().invoke(app, ["schema", "--kind", "encoders"])
    assert json.loads(done.stdout) == encoders
    out = tmp_path / "s.json"
    assert CliRunner().invoke(app, ["schema", "--kind", "mixtures", "-o", str(out)]).exit_code == 0
    assert json.loads(out.read_text(encoding="utf-8")) == study_schema()
    done = CliRunner().invoke(app, ["schema", "--kind", "mixturs"])
    assert done.exit_code == 2
    assert "did you mean 'mixtures'" in done.stderr
