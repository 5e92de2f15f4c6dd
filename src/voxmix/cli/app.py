"""What every verb shares: errors as sentences, results on stdout, notes and progress on stderr."""

import functools
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

import typer

from voxmix._io import json_text, printable
from voxmix._progress import progress_bar
from voxmix._stopping import EndedBySignal, signals_raise
from voxmix.cli.columns import laid_out
from voxmix.errors import HandedOver, VoxmixError, VoxmixWarning
from voxmix.study.listener import Listener

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130
FILE_WIDTH = 160
"""Columns of a table that is no terminal's; one that needs more takes more."""


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of a verb into one message on stderr and an exit code (2 usage, 1 failure), and say what comes next."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with warnings.catch_warnings(), signals_raise():
            warnings.simplefilter("always", VoxmixWarning)
            warnings.showwarning = _show_warning
            try:
                found = function(*args, **kwargs)
            except VoxmixError as error:
                _say(f"error: {error}", typer.colors.RED)
                if "voxmix " not in str(error):
                    _say_next(function.__name__, kwargs, failed=str(error))
                raise typer.Exit(error.exit_code) from None
            except typer.Exit as stop:  # it did what was asked, and found what must not be
                if stop.exit_code == VoxmixError.exit_code:
                    _say_next(function.__name__, kwargs)
                raise
            except HandedOver as told:
                if kwargs.get("as_json"):
                    emit_json(told.value)
                else:
                    emit(str(told))
                raise typer.Exit from None
            except KeyboardInterrupt:
                _say("stopped; give the same command again to continue", typer.colors.YELLOW)
                raise typer.Exit(INTERRUPTED) from None
            except EndedBySignal as ended:
                _say(str(ended), typer.colors.YELLOW)
                raise typer.Exit(128 + ended.number) from None
            _say_next(function.__name__, kwargs)
            return found

    return run


Next = Callable[[str, Mapping[str, Any], str], str | None]
"""Called with a verb, what it was given and why it failed ("" where it did not); returns the command that comes next, if any."""

_NEXT: list[Next] = []


def say_next_by(following: Next) -> None:
    """Let every verb say the command that comes next."""
    _NEXT[:] = [following]


def _say_next(verb: str, given: Mapping[str, Any], *, failed: str = "") -> None:
    for following in _NEXT if failed or not given.get("as_json") else ():
        command = following(verb, given, failed)
        if command is not None:
            sys.stdout.flush()
            _say(f"next: {command}", None)


def _say(text: str, color: str | None) -> None:
    """Say something on stderr."""
    typer.secho(_wrapped(printable(text), is_terminal=sys.stderr.isatty()), err=True, fg=color)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    if issubclass(category, VoxmixWarning):
        note(str(message))


def note(message: str) -> None:
    """Say something on stderr that is not the result."""
    _say(f"note: {message}", typer.colors.YELLOW)


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
