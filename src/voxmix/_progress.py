"""Progress of long work: a callback for the library, a bar on stderr for people."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

ProgressCallback = Callable[[int, int], None]
"""Called with (done, total); both count the same thing, and ``done`` never falls."""


def silent(done: int, total: int) -> None:
    """Show nothing: the default of every function of the library."""


@contextmanager
def progress_bar(label: str, *, unit: str = "") -> Iterator[ProgressCallback]:
    """Yield a callback that draws one bar on stderr with time spent and time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Show on stderr that something goes on whose steps cannot be counted, and for how long."""
    with progress_bar(label) as progress:
        yield
        progress(1, 1)
