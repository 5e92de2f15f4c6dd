"""What every verb shares: errors as sentences, results on stdout, notes and progress on stderr."""

import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

import typer

from voxmix._io import json_text, printable
from voxmix._progress import progress_bar
from voxmix.cli.columns import laid_out
from voxmix.errors import HandedOver, VoxmixError, VoxmixWarning
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
            except HandedOver as told:
                emit(str(told))
                raise typer.Exit from None
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
    """Print a table on stdout: the first column left, the others right.

    Nothing is cut. In a terminal that is too narrow headers and cells break between words, and columns that do not fit even
    so follow below, beside the names of the rows again.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 160)
    told = [[printable(text) for text in row] for row in (headers, *rows)]
    cells, parts = laid_out(told, console.width, split=terminal)
    for number, part in enumerate(parts):
        table = Table(
            title=None if number else escape(printable(title)),
            title_justify="left",
            title_style="bold",
            show_edge=False,
            pad_edge=part.fits,
        )
        for place, column in enumerate(part.columns):
            justify: Literal["left", "right"] = "right" if place else "left"
            table.add_column(escape(cells[0][column]), justify=justify, width=part.widths[place])
        for row in cells[1:]:
            table.add_row(*(escape(row[column]) for column in part.columns))
        console.width = max(console.width, part.width)
        if number:
            console.print()
        console.print(table)


def emit(message: str) -> None:
    """Print a line on stdout."""
    typer.echo(printable(message))
