"""Write the reference pages, the tables of layouts and tasks, the rooms and the picture of the layers: make reference."""

import ast
import html
import inspect
import re
import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from voxmix.settings_schema import first_paragraph, meanings

REFERENCE = Path(__file__).resolve().parent / "reference"


def study_file() -> str:
    """Return the page of every key of study.yaml."""
    from voxmix.study.config import StudyConfig
    from voxmix.volumes.recipe import Recipe

    lines = [
        "# study.yaml, key by key",
        "",
        "`voxmix init` writes every setting of a study to `study.yaml`. Edit it, then run `voxmix study run`: it makes again what",
        "the edit changes and keeps the rest. An unknown key is an error that names the nearest known one.",
        "",
        "This page is made from the code by `make reference`; a test compares the two.",
    ]
    lines += _section(StudyConfig, "")
    lines += _section(Recipe, "recipe.")
    return "\n".join(lines) + "\n"


def encoder_study_file() -> str:
    """Return the page of every key of the study.yaml of an encoder study."""
    from voxmix.backbone_rows import BACKBONES
    from voxmix.encoder_study.config import EncoderStudyConfig
    from voxmix.images.recipe import ImageRecipe
    from voxmix.objective_rows import OBJECTIVES

    lines = [
        "# study.yaml of an encoder study, key by key",
        "",
        "`voxmix init STUDY --images FILMS` writes every setting of a study of encoders to `study.yaml`. Edit it, then run",
        "`voxmix study run`: it makes again what the edit changes and keeps the rest.",
        "",
        "This page is made from the code by `make reference`; a test compares the two.",
    ]
    lines += _section(EncoderStudyConfig, "", but=("backbone", "settings"))
    lines += _section(ImageRecipe, "recipe.")
    for name, backbone in BACKBONES.rows().items():
        lines += _section(backbone.settings, f"backbone, name: {name}.")
    for kind in dict.fromkeys(row.settings for row in OBJECTIVES.rows().values()):
        names = [name for name, row in OBJECTIVES.rows().items() if row.settings is kind]
        lines += _section(kind, f"objectives.{' or '.join(names)}.settings.")
    return "\n".join(lines) + "\n"


def _section(kind: type, path: str, *, but: tuple[str, ...] = ()) -> list[str]:
    hints, texts = get_type_hints(kind), meanings(kind)
    rows: list[str] = []
    below: list[str] = []
    for item in fields(kind):
        inner = next((h for h in (hints[item.name], *get_args(hints[item.name])) if is_dataclass(h)), None)
        if item.name in ("recipe", *but):
            continue
        if inner is not None:
            key = {Mapping: "<domain>.", dict: "<name>."}.get(get_origin(hints[item.name]), "")
            below += _section(inner, f"{path}{item.name}.{key}", but=but)
            continue
        rows.append(f"| `{item.name}` | {_default(item)} | {_cell(texts.get(item.name, ''))} |")
    title = path.rstrip(".")
    head = [f"## `{title}`" if title else "## Top level", "", f"{first_paragraph(kind)}", ""]
    return ["", *head, "| key | default | meaning |", "|---|---|---|", *rows, *below]


def _default(item: Any) -> str:
    if item.default is not MISSING:
        value = item.default
    elif item.default_factory is not MISSING:
        value = item.default_factory()
    else:
        return "required"
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return f"`{text}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def command_line() -> str:
    """Return the page of every verb and its options."""
    from typer.main import get_command

    from voxmix.cli import app

    lines = [
        "# The command line, verb by verb",
        "",
        "`voxmix VERB --help` shows the same. Results go to standard output, progress and notes to standard error.",
        "",
        "| exit code | meaning |",
        "|---:|---|",
        "| 0 | success |",
        "| 1 | something failed |",
        "| 2 | the input cannot be used |",
        "| 130 | stopped by Ctrl-C |",
        "",
        "This page is made from the code by `make reference`; a test compares the two.",
    ]
    for name, command in _verbs(get_command(app), "voxmix"):
        lines += ["", f"## {name}", "", *_help(command), ""]
        lines += ["| argument or option | meaning |", "|---|---|"]
        lines += [f"| {_names(p)} | {_cell(_meaning(p))} |" for p in command.params if p.name != "help"]
        lines += _json_keys(name.removeprefix("voxmix "))
    return "\n".join(lines) + "\n"


def _json_keys(verb: str) -> list[str]:
    """Return what a verb prints with --json, as far as that is fixed: a line for each kind of value."""
    from voxmix.cli.json_keys import JSON_KEYS

    lines: list[str] = []
    for form in JSON_KEYS[verb].forms if verb in JSON_KEYS else ():
        what = "a list; of each" if form.each else "of each" if form.names else "keys"
        always, sometimes = (
            ", ".join(f"`{key}`" for key in text.split()) for text in (form.always, form.sometimes)
        )
        rest = f"{'; ' if always else ''}at times {sometimes}" if sometimes else ""
        lines += ["", f"With `--json`{f' ({form.when})' if form.when else ''}, {what}: {always}{rest}."]
    return lines


def _verbs(group: Any, path: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        inner = f"{path} {name}"
        found += _verbs(command, inner) if hasattr(command, "commands") else [(inner, command)]
    return found


def _help(command: Any) -> list[str]:
    shown: list[str] = []
    for part in inspect.cleandoc(command.help or "").split("\n\n"):
        line = part.strip()
        if not line.startswith("voxmix "):
            shown += [" ".join(line.split()), ""]
            continue
        code, _, remark = line.partition("  ")
        remark = remark.strip().removeprefix("(").removesuffix(")")
        example = f"{code}  # {remark}" if remark else code
        shown = (
            [*shown[:-2], example, "```", ""]
            if shown[-2:] == ["```", ""]
            else [*shown, "```", example, "```", ""]
        )
    return shown[:-1]


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = "/".join([*parameter.opts, *parameter.secondary_opts])
    return f"`{names}`"


def _meaning(parameter: Any) -> str:
    text = str(getattr(parameter, "help", "") or "")
    default = parameter.default
    if parameter.param_type_name == "argument" or default is None or default is False or default in ((), []):
        return text
    return f"{text} Default: {default}."


def layouts() -> str:
    """Return the table of layouts: what each expects and avoids."""
    from voxmix.datasets.table import data_sets

    rows = [row for row in data_sets().values() if row.read is not None]
    lines = [f"| `{row.name}` | {row.expects or row.title} | {row.traps} |" for row in rows]
    return "\n".join(["| layout | what is expected | what is taken care of |", "|---|---|---|", *lines])


def tasks() -> str:
    """Return the table of the data sets' tasks."""
    from voxmix.datasets.table import data_sets

    head = "| task | data set | domain | classes | split | crops | loss | background scored |"
    lines = [_task(row.title, task) for row in data_sets().values() for task in row.tasks]
    return "\n".join([head, "|---|---|---|---:|---|---|---|---|", *lines])


def _task(title: str, task: Any) -> str:
    cells = [f"`{task.name}`", title, task.domain, str(len(task.classes) or task.class_count)]
    cells.append(" / ".join(f"{size:g}" for size in task.split))
    if task.kind == "segmentation":
        cells += [f"{task.pos:g} : {task.neg:g} x {task.samples}"]
        cells += [f"DiceCE, {'sigmoid' if task.regions else 'softmax'}"]
        cells += ["yes" if task.score_background else "no"]
    else:
        cells += ["one view", "cross-entropy", ""]
    return re.sub(" +", " ", f"| {' | '.join(cells)} |")


def strategies() -> str:
    """Return the table of strategies that have a mixture."""
    from voxmix.allocation.strategies import all_strategies

    rows = [row for row in all_strategies() if row.trains]
    head = ["| strategy | mixture | in a new study |", "|---|---|---|"]
    lines = [f"| `{row.spelling}` | {row.label} | {'yes' if row.in_new_studies else ''} |" for row in rows]
    return "\n".join([*head, *(re.sub(" +", " ", line) for line in lines)])


SOURCE = REFERENCE.parents[1] / "src" / "voxmix"


def _layers() -> list[tuple[str, list[list[str]]]]:
    """Return (package, its layers from top to bottom) of the contracts that import-linter checks."""
    contracts = tomllib.loads((REFERENCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    return [
        (contract["containers"][0], [re.split(r"\W*\|\W*", layer) for layer in contract["layers"]])
        for contract in contracts
        if contract["type"] == "layers"
    ]


def _about(path: Path) -> str:
    """Return the first sentence of a module's or package's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def rooms() -> str:
    """Return the page of every room and module, and what each knows."""
    lines = [
        "# Rooms and modules",
        "",
        "What every module knows, from its first line. [How the code is laid out](../architecture.md) says how the rooms",
        "fit together and where a new thing goes.",
        "",
        "This page is made from the code by `make reference`; a test compares the two.",
    ]
    packages = sorted(path.parent for path in SOURCE.rglob("__init__.py"))
    inner = dict(_layers()[1:])
    for package in packages:
        name = ".".join(package.relative_to(SOURCE.parent).parts)
        modules = sorted(path for path in package.glob("*.py") if path.stem != "__init__")
        lines += ["", f"## {name}", "", _about(package / "__init__.py")]
        if name in inner:
            order = "; ".join(" , ".join(layer).replace(" ,", ",") for layer in inner[name])
            lines += ["", *textwrap.wrap(f"Layers from top to bottom: {order}.", 120)]
        if modules:
            lines += ["", "| module | what it knows |", "|---|---|"]
            lines += [f"| `{path.stem}` | {_cell(_about(path)).replace('``', '`')} |" for path in modules]
    return "\n".join(lines) + "\n"


def layers() -> str:
    """Return the picture of the layers as SVG: upper rooms may import lower ones."""
    row, gap, width = 34, 8, 760
    blocks: list[str] = []
    top = 0
    for package, stack in _layers()[:1]:
        blocks.append(
            f'<text x="{width / 2}" y="{top + 22}" class="title">{package}: a row may import the rows below it</text>'
        )
        top += 34
        for layer in stack:
            each = (width - gap * (len(layer) + 1)) / len(layer)
            for number, name in enumerate(layer):
                left = gap + number * (each + gap)
                name = name.strip("()")
                blocks.append(f'<rect x="{left:.1f}" y="{top}" width="{each:.1f}" height="{row}" rx="4"/>')
                blocks.append(
                    f'<text x="{left + each / 2:.1f}" y="{top + row / 2 + 5:.1f}">{html.escape(name)}</text>'
                )
            top += row + gap
        top += 2 * gap
    style = (
        "rect{fill:#e8f0f7;stroke:#4a7ba6} text{font:14px sans-serif;text-anchor:middle;fill:#1b2a38} "
        ".title{font-weight:bold} .page{fill:#ffffff;stroke:none}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" role="img">'
        f"<title>The layers of voxmix</title><style>{style}</style>"
        f'<rect class="page" width="{width}" height="{top}"/>' + "".join(blocks) + "</svg>\n"
    )


PAGES = {
    "study-file.md": study_file,
    "encoder-study-file.md": encoder_study_file,
    "command-line.md": command_line,
    "rooms.md": rooms,
    "../images/layers.svg": layers,
}
TABLES = {"../how-to/manifests-audits-caches.md": layouts, "tasks.md": tasks, "strategies.md": strategies}
"""Pages of which one table is made from the code: the first."""


def with_table(text: str, table: str) -> str:
    """Return a page with its first table replaced."""
    return re.sub(r"(?m)(^\|.*\n)+", lambda found: table + "\n", text, count=1)


if __name__ == "__main__":
    for page, text in PAGES.items():
        (REFERENCE / page).write_text(text(), encoding="utf-8")
    for page, table in TABLES.items():
        written = (REFERENCE / page).read_text(encoding="utf-8")
        (REFERENCE / page).write_text(with_table(written, table()), encoding="utf-8")
