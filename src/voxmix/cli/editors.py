"""The verb schema: what a study file may hold, for editors."""

from pathlib import Path
from typing import Annotated

import typer

from voxmix.cli.app import emit, emit_json, verb
from voxmix.cli.arguments import JsonOption, study_around
from voxmix.cli.kinds import STUDY_KINDS, kind_row
from voxmix.errors import InputError, did_you_mean
from voxmix.study.files import MIXTURES, is_study, study_file
from voxmix.study.step import loaded


@verb
def schema(
    study: Annotated[
        Path | None,
        typer.Argument(
            metavar="STUDY",
            help="The study whose schema is written anew, beside its study.yaml. Left out: the study whose folder you are in.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Without a study: print that of mixtures or encoders; mixtures if left out."),
    ] = None,
    of_json: Annotated[
        str | None,
        typer.Option(metavar="VERB", help="Print the schema of what this verb prints with --json instead."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the schema to this file instead.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the JSON schema of study.yaml: editors then complete its keys, show what they mean and mark mistakes.

    A new study has study.schema.json beside study.yaml, whose first line names it for editors with the YAML language
    server (VS Code's YAML extension, Neovim, Emacs, JetBrains). Give this verb after an update of voxmix, or for a study
    that is older. With --kind or outside a study it prints the schema.

    Examples:

      voxmix schema mystudy

      voxmix schema --kind encoders -o study.schema.json

      voxmix schema --of-json allocate
    """
    if of_json is not None:
        if study is not None or kind is not None:
            raise InputError("--of-json is of a verb, not of a study: leave STUDY and --kind out")
        _schema_of_verb(of_json, output)
        return
    if study is not None and kind is not None:
        raise InputError(f"--kind is for no study, and {study} has its own; leave one of them out")
    root = study if study is not None or kind is not None else study_around()
    row = STUDY_KINDS[kind or MIXTURES] if root is None else kind_row(root)
    if not row.schema:
        raise InputError(f"studies of {row.about} have no schema; their package gives none")
    from voxmix.settings_schema import SCHEMA_FILE, write_schema

    found = loaded(row.schema)()
    place = output
    if place is None and root is not None and is_study(root):
        place = study_file(root).parent / SCHEMA_FILE
    if place is None:
        emit_json(found)
        return
    write_schema(found, place)
    if as_json:
        emit_json({"schema": str(place), "title": found["title"]})
    else:
        emit(f"wrote {place}: {found['title']}")


def _schema_of_verb(name: str, output: Path | None) -> None:
    from voxmix.cli.json_keys import JSON_KEYS
    from voxmix.settings_schema import whole_schema, write_schema

    if name not in JSON_KEYS:
        hint = did_you_mean(name, tuple(JSON_KEYS), what="these have one: ")
        raise InputError(f"no schema of what {name!r} prints with --json; {hint}")
    forms = [
        form.schema() | ({"description": form.when} if form.when else {}) for form in JSON_KEYS[name].forms
    ]
    found = whole_schema({"anyOf": forms}, title=f"voxmix {name} --json")
    if output is None:
        emit_json(found)
        return
    write_schema(found, output)
    emit(f"wrote {output}: {found['title']}")
