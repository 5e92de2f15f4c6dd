"""Progress of long work: a callback for the library, a bar on stderr for people."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ProgressCallback = Callable[[int, int], None]
"""Called with (done, total); both count the same thing, and ``done`` never falls."""


def silent(done: int, total: int) -> None:
    """Show nothing: the default of every function of the library."""


class Pace:
    """How fast work goes, of what was done since it was watched: what an earlier call had done says nothing of the rate."""

    _WINDOW = 60.0  # seconds of the past that the rate is of, once there are as many

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._total = 0

    def update(self, done: int, total: int) -> None:
        """Take note of how far the work is."""
        now = self._clock()
        self._total = total
        if not self._seen or done > self._seen[-1][1]:
            self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - self._WINDOW:
            self._seen.popleft()

    @property
    def rate(self) -> float | None:
        """Done per second; None while it cannot be known."""
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return None
        (begun, first), (last, done) = self._seen[0], self._seen[-1]
        return (done - first) / (last - begun)

    def text(self) -> str:
        """Return the rate and the time left, as people say it; "" while they are not known."""
        rate = self.rate
        if rate is None or self._seen[-1][1] >= self._total:
            return ""
        spent = self._clock() - self._seen[-1][0]
        left = max((self._total - self._seen[-1][1]) / rate - spent, 0.0)
        each = f"{rate:,.{0 if rate >= 100 else 1}f}/s" if rate >= 1 else f"{time_text(1 / rate)} each"
        return f"{each}, {time_text(left)} left"


def time_text(seconds: float | None) -> str:
    """Return a time as people say it.

    >>> time_text(3.4), time_text(250), time_text(8000), time_text(300_000)
    ('3.4 s', '4 min', '2.2 h', '3.5 days')
    """
    if seconds is None:
        return "not known"
    for size, unit, most in ((1, "s", 120), (60, "min", 7200), (3600, "h", 72 * 3600)):
        if seconds < most:
            value = seconds / size
            return f"{value:.1f} {unit}" if value < 10 and unit != "min" else f"{value:.0f} {unit}"
    return f"{seconds / 86400:,.1f} days"


@contextmanager
def progress_bar(label: str, *, unit: str = "") -> Iterator[ProgressCallback]:
    """Yield a callback that draws one bar on stderr with the time spent, the rate and the time left."""
    with _bar(label, unit, counted=True) as update:
        yield update


@contextmanager
def _bar(label: str, unit: str, *, counted: bool) -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.table import Column
    from rich.text import Text

    pace = Pace()

    class _Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            if task.total is None:
                return Text("")
            return Text(f"{int(task.completed):,}/{int(task.total):,} {unit}".rstrip())

    class _Pace(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(pace.text())

    def whole() -> Column:
        return Column(no_wrap=True)

    counts = (_Count(whole()), _Pace(whole())) if counted else ()
    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}", table_column=whole()),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
        TimeElapsedColumn(whole()),
        *counts,
    )
    with Progress(*columns, console=Console(stderr=True), transient=False, expand=True) as bar:
        task = bar.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            pace.update(done, total)
            bar.update(task, completed=done, total=total)

        yield update


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Show on stderr that something goes on whose steps cannot be counted, and for how long."""
    with _bar(label, "", counted=False) as progress:
        yield
        progress(1, 1)
