"""Progress tells the rate of what was done while it was watched, and the time that the rest takes at that rate."""

import pytest

from voxmix._progress import Pace, progress_bar, time_text, waiting


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_rate_and_the_time_left_of_even_work(clock: Clock) -> None:
    pace = Pace(clock)
    for done in range(0, 50, 10):
        pace.update(done, 1000)
        clock.now += 1
    clock.now -= 1
    assert pace.rate == pytest.approx(10)
    assert pace.text() == "10.0/s, 96 s left"
    clock.now += 6  # nothing new came: the time left falls all the same
    assert pace.text() == "10.0/s, 90 s left"


def test_what_an_earlier_call_did_is_not_its_rate(clock: Clock) -> None:
    pace = Pace(clock)
    pace.update(990_000, 1_000_000)
    assert pace.text() == ""
    clock.now = 10.0
    pace.update(990_100, 1_000_000)
    assert pace.rate == pytest.approx(10)


def test_slow_work_says_how_long_each_takes(clock: Clock) -> None:
    pace = Pace(clock)
    for done in range(3):
        pace.update(done, 10)
        clock.now += 240
    clock.now -= 240
    assert pace.text() == "4 min each, 32 min left"


def test_the_rate_is_that_of_the_last_minute(clock: Clock) -> None:
    pace = Pace(clock)
    for second in range(301):
        clock.now = float(second)
        pace.update(second if second <= 200 else 200 + 5 * (second - 200), 10_000)
    assert pace.rate == pytest.approx(5, rel=0.01)


def test_finished_work_says_no_rate(clock: Clock) -> None:
    pace = Pace(clock)
    pace.update(0, 10)
    clock.now = 1
    pace.update(10, 10)
    assert pace.text() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "not known"),
        (0.04, "0.0 s"),
        (3.4, "3.4 s"),
        (90, "90 s"),
        (250, "4 min"),
        (8000, "2.2 h"),
        (3e5, "3.5 days"),
    ],
)
def test_times(seconds: float | None, text: str) -> None:
    assert time_text(seconds) == text


def test_a_bar_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("preparing", unit="films") as progress:
        for done in range(3):
            progress(done, 2)
    with waiting("collecting"):
        pass
    told = capsys.readouterr()
    assert told.out == ""
    assert "2/2 films" in told.err
    assert "collecting" in told.err
