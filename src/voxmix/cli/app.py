"""What every verb shares: errors as sentences, results on stdout, notes and progress on stderr."""

import functools
import shutil
import sys
import textwrap
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
FILE_WIDTH = 160
"""Columns of a table that is no terminal's; one that needs more takes more."""


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
                typer.secho(
                    _wrapped(printable(f"error: {error}"), is_terminal=sys.stderr.isatty()),
                    err=True,
                    fg=typer.colors.RED,
                )
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
    typer.secho(
        _wrapped(printable(f"note: {message}"), is_terminal=sys.stderr.isatty()),
        err=True,
        fg=typer.colors.YELLOW,
    )


TERMINAL = Listener(bar=progress_bar, tell=note, inform=note)
"""What the steps of a study say: bars and notes on stderr."""


def emit_json(value: Any) -> None:
    """Print one JSON value on stdout."""
    sys.stdout.write(json_text(value))


def emit_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout: names and words left, numbers right.

    In a file nothing is cut. In a terminal it fits: headers and cells break between words, long names lose their middle, what
    is the same in every row is said once, and columns that do not fit even so follow below, beside the names of the rows again.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else FILE_WIDTH)
    told = [
        [printable(text).replace("_", " ") for text in headers],
        *([printable(text) for text in row] for row in rows),
    ]
    layout = laid_out(told, console.width, split=terminal)
    for number, part in enumerate(layout.parts):
        table = Table(show_edge=False, pad_edge=part.fits)
        for place, column in enumerate(part.columns):
            justify: Literal["left", "right"] = "right" if layout.numeric(column) else "left"
            table.add_column(escape(layout.cells[0][column]), justify=justify, width=part.widths[place])
        for row in layout.cells[1:]:
            table.add_row(*(escape(row[column]) for column in part.columns))
        if number:
            console.print()
        else:
            console.print(escape(printable(title)), style="bold italic", highlight=False)
        console.width = max(console.width, part.width)
        console.print(table)
    for line in layout.said_once:
        emit(line)


def emit(message: str) -> None:
    """Print a line on stdout; in a terminal it breaks between words."""
    typer.echo(_wrapped(printable(message), is_terminal=sys.stdout.isatty()))


def _wrapped(text: str, *, is_terminal: bool) -> str:
    """Return lines that break between words where the terminal is narrow; commands stay on one line, to be copied."""
    if not is_terminal:
        return text
    width = max(shutil.get_terminal_size().columns, 20)
    return "\n".join(_wrapped_line(line, width) for line in text.split("\n"))


def _wrapped_line(line: str, width: int) -> str:
    if len(line) <= width or line.startswith(("next: ", "  voxmix ")):
        return line
    indent = line[: len(line) - len(line.lstrip())] + ("  " if line.lstrip().startswith("- ") else "")
    return textwrap.fill(
        line,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
