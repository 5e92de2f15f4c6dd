"""The command line: thin verbs over the steps of a study, the law and the allocation. ``main`` is the entry point."""

from typing import Annotated

import typer

from voxmix.cli import (
    allocation,
    audit,
    cache,
    decision,
    doctor,
    downstream,
    editors,
    estimate,
    export,
    label,
    law,
    predicting,
    preparation,
    probing,
    refining,
    scale,
    scores,
    starting,
    study,
    table,
    training,
    volumes,
    whole,
    working,
)
from voxmix.cli.app import say_next_by
from voxmix.cli.following import following
from voxmix.cli.help_texts import help_text
from voxmix.cli.plain_terminals import spell_for_plain_terminals

app = typer.Typer(
    name="voxmix",
    help="Measure how much of each 3D medical imaging domain belongs in a pretraining budget.\n\n"
    "Start with: voxmix demo   Your own volumes: voxmix init STUDY --data DIR, then voxmix study run STUDY\n\n"
    "A study of encoders (which objective, how many images): voxmix demo --radiographs, voxmix init STUDY --images TABLE",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
study_app = typer.Typer(help="All steps of a study in one go.", no_args_is_help=True)
app.add_typer(study_app, name="study")

cache_app = typer.Typer(help="What prepare made: list, verify, prune, restore.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")

_VERBS = (
    volumes.manifest,
    audit.audit,
    whole.demo,
    label.label,
    starting.init,
    preparation.prepare,
    estimate.estimate,
    training.run,
    working.work,
    table.table,
    law.fit,
    allocation.allocate,
    refining.refine,
    training.pretrain,
    downstream.finetune,
    probing.probe,
    scale.scale,
    scores.compare,
    study.report,
    study.status,
    export.export,
    predicting.predict,
    decision.plan,
    decision.path,
    decision.structure,
    decision.suggest,
    doctor.doctor,
    editors.schema,
)
for function in _VERBS:
    app.command(help=help_text(function))(function)
say_next_by(following)
study_app.command("run", help=help_text(whole.study_run))(whole.study_run)
cache_app.command("list", help=help_text(cache.cache_list))(cache.cache_list)
cache_app.command("verify", help=help_text(cache.cache_verify))(cache.cache_verify)
cache_app.command("prune", help=help_text(cache.cache_prune))(cache.cache_prune)
cache_app.command("restore", help=help_text(cache.cache_restore))(cache.cache_restore)


def _version(wanted: bool) -> bool:
    if wanted:
        from voxmix.cli.version import version_text

        typer.echo(version_text())
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Show the version, and the commit of a checkout.",
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    spell_for_plain_terminals()
    app()
