"""A verb of voxmix, run in this process."""

from typing import Any

from typer.testing import CliRunner

from voxmix.cli import app


def voxmix(*arguments: object) -> Any:
    """Return what a verb gave: exit code, output, stdout and stderr."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
