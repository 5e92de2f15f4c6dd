"""What every verb shares: errors as sentences, results on stdout, notes and progress on stderr."""

import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import typer

from voxmix._io import json_text, printable
from voxmix._progress import progress_bar
from voxmix.errors import VoxmixError, VoxmixWarning
from voxmix.study.listener import Listener

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of a verb into one message on stderr and an exit code (2 usage, 1 failure)."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with warnings.catch_warnings():
            warnings.simplefilter("always", VoxmixWarning)
            warnings.showwarning = _show_warning
            try:
                return function(*args, **kwargs)
            except VoxmixError as error:
                typer.secho(printable(f"error: {error}"), err=True, fg=typer.colors.RED)
                raise typer.Exit(error.exit_code) from None
            except KeyboardInterrupt:
                typer.secho(
                    "stopped; give the same command again to continue", err=True, fg=typer.colors.YELLOW
                )
                raise typer.Exit(INTERRUPTED) from None

    return run


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    if issubclass(category, VoxmixWarning):
        note(str(message))


def note(message: str) -> None:
    """Say something on stderr that is not the result."""
    typer.secho(printable(f"note: {message}"), err=True, fg=typer.colors.YELLOW)


TERMINAL = Listener(bar=progress_bar, tell=note, inform=note)
"""What the steps of a study say: bars and notes on stderr."""


def emit_json(value: Any) -> None:
    """Print one JSON value on stdout."""
    sys.stdout.write(json_text(value))


def emit_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout: the first column left, the others right; nothing is cut where it is narrow."""
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    unbounded = console.options.update_width(10_000)

    def build(headers: Sequence[str], *, narrow: bool) -> tuple[Table, Measurement]:
        table = Table(
            title=escape(printable(title)),
            title_justify="left",
            title_style="bold",
            show_edge=False,
            pad_edge=not narrow,
        )
        for index, header in enumerate(headers):
            table.add_column(escape(header), justify="left" if index == 0 else "right", no_wrap=index == 0)
        for row in rows:
            table.add_row(*(escape(printable(cell)) for cell in row))
        return table, Measurement.get(console, unbounded, table)

    table, measured = build(headers, narrow=False)
    if measured.maximum > console.width:
        table, measured = build([header.replace(" ", "\n") for header in headers], narrow=True)
        console.width = max(console.width, measured.minimum)
    console.print(table)


def emit(message: str) -> None:
    """Print a line on stdout."""
    typer.echo(printable(message))
