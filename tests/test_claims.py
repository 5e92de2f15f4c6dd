"""Claims: one process holds a name; a silent one is taken over by the contender's own clock; a frozen one learns of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from voxmix import _claims
from voxmix._claims import Claims


@dataclass
class Clock:
    """Seconds that pass when they are told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every process be one of another machine: nothing is known of it but its files."""
    monkeypatch.setattr(_claims, "this_kernel", lambda: "")


def contender(folder: Path, *, lease: float = 100.0) -> tuple[Claims, Clock]:
    clock = Clock()
    return Claims(folder, lease_seconds=lease, clock=clock, wall=Clock(2000.0), beating=False), clock


def test_one_holds_a_name_until_it_gives_it_back(tmp_path: Path) -> None:
    (mine, _), (theirs, _) = contender(tmp_path / "claims"), contender(tmp_path / "claims")
    assert not (tmp_path / "claims").exists()
    held = mine.take("a.b")
    assert held is not None
    assert theirs.take("a.b") is None
    other = theirs.take("a")
    assert other is not None, "another name"
    holder = theirs.holder("a.b")
    assert holder is not None
    assert (holder.process, holder.token) == (os.getpid(), held.token)
    assert f"pid {os.getpid()} on " in holder.words
    assert theirs.holders().keys() == {"a", "a.b"}
    held.release()
    assert held.lost
    again = theirs.take("a.b")
    assert again is not None
    assert mine.take("a.b") is None
    held.beat()
    held.release()
    assert not again.lost, "who gave it back does not touch it any more"
    again.release()
    other.release()
    assert not (tmp_path / "claims").exists()


def test_a_silent_holder_is_taken_over_after_a_lease_of_ones_own_clock(
    tmp_path: Path, elsewhere: None
) -> None:
    (mine, my_clock), (theirs, their_clock) = contender(tmp_path), contender(tmp_path, lease=7)
    my_clock.now, held = 5.0, mine.take("run")
    assert held is not None
    for passed in range(0, 101, 20):  # the holder's lease counts, of 100 seconds
        their_clock.now = 1000.0 + passed
        assert theirs.take("run") is None, passed
    held.beat()
    their_clock.now += 20
    assert theirs.take("run") is None, "a beat begins a new lease"
    for _ in range(5):
        their_clock.now += 20
        assert theirs.take("run") is None
    their_clock.now += 20
    taken = theirs.take("run")
    assert taken is not None
    my_clock.now += 1
    assert not held.lost, "it has not looked"
    held.beat()
    assert held.lost
    held.release()
    assert not taken.lost
    assert [path.name for path in tmp_path.iterdir()] == ["run.2"]


def test_a_contender_that_did_not_look_counts_from_anew(tmp_path: Path, elsewhere: None) -> None:
    (mine, _), (theirs, clock) = contender(tmp_path), contender(tmp_path)
    assert mine.take("run") is not None
    assert theirs.take("run") is None
    clock.now += 1000  # it was frozen, or trained: the holder may have lived and the file be an old copy
    assert theirs.take("run") is None
    for _ in range(2):
        clock.now += 40
        assert theirs.take("run") is None
    clock.now += 40
    assert theirs.take("run") is not None


@pytest.mark.parametrize("clock", ["clock", "wall"])
def test_a_frozen_holder_looks_before_it_goes_on(tmp_path: Path, elsewhere: None, clock: str) -> None:
    mine, _ = contender(tmp_path)
    held = mine.take("run")
    assert held is not None
    (tmp_path / "run.2").write_text("another's", encoding="utf-8")
    assert not held.lost
    getattr(mine, clock).now += 101
    assert held.lost
    alone = mine.take("other")
    assert alone is not None
    getattr(mine, clock).now += 101
    assert not alone.lost, "nobody took it over"


def test_a_file_that_says_nothing_is_taken_over_too(tmp_path: Path) -> None:
    claims, clock = contender(tmp_path, lease=10)
    for number, text in enumerate(("", "{", "[]", '{"token": 1}', json.dumps({"token": "x"}))):
        (tmp_path / f"{number}.1").write_text(text, encoding="utf-8")
        taken = None
        for passed in range(4):
            assert taken is None, "not before its lease"
            clock.now += 4 if passed else 0
            taken = claims.take(str(number))
        assert taken is not None


def test_what_is_seen_of_the_folder_may_be_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims, _ = contender(tmp_path)
    held = claims.take("run")
    assert held is not None
    seen = {"old": True}
    now = Claims.numbers

    def numbers(self: Claims, name: str) -> list[int]:
        return [] if seen.pop("old", False) else now(self, name)

    monkeypatch.setattr(Claims, "numbers", numbers)
    other, _ = contender(tmp_path)
    assert other.take("run") is None, "the file is there, whatever the listing says"
    (tmp_path / "run.1").rename(tmp_path / "run.7")
    seen["old"] = True
    assert other.take("run") is None, "made number 1, and gave it up when 7 came to sight"
    assert [path.name for path in tmp_path.iterdir()] == ["run.7"]


def test_a_disk_that_takes_nothing_loses_no_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims, clock = contender(tmp_path)
    held = claims.take("run")
    assert held is not None

    def full(self: Path, text: str, encoding: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        held.beat()
        clock.now += 200
        assert not held.lost
    held.beat()
    assert claims.read("run", 1).beat == 1  # type: ignore[union-attr]


HOLD = """
import sys, time
from pathlib import Path
from voxmix._claims import Claims
claims = Claims(Path(sys.argv[1]), lease_seconds=float(sys.argv[2]))
while (claim := claims.take("it")) is None:
    time.sleep(0.02)
print("held", flush=True)
while not claim.lost:
    time.sleep(0.02)
print("lost", flush=True)
"""


def started(folder: Path, lease: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder), str(lease)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_killed_process_of_this_machine_is_taken_over_at_once(tmp_path: Path) -> None:
    process = started(tmp_path, 1000)
    claims = Claims(tmp_path)
    assert claims.take("it") is None
    process.kill()  # not asked how it ended: it stays in the table of processes
    deadline = time.monotonic() + 10
    while (taken := claims.take("it")) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.communicate()
    taken.release()


def test_a_stopped_process_is_taken_over_and_learns_of_it(tmp_path: Path) -> None:
    process = started(tmp_path, 0.5)
    process.send_signal(signal.SIGSTOP)
    claims, deadline = Claims(tmp_path, lease_seconds=60), time.monotonic() + 10
    while (taken := claims.take("it")) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=10)[0] == "lost\n"
    assert not taken.lost
    taken.release()


RACE = """
import sys, time
from pathlib import Path
from voxmix._claims import Claims
claims, mine = Claims(Path(sys.argv[1])), []
print("ready", flush=True)
sys.stdin.readline()
held = [claims.take(str(n)) for n in range(60)]
print(*(n for n, claim in enumerate(held) if claim is not None), flush=True)
sys.stdin.readline()
"""


def test_of_processes_that_race_one_gets_each_name(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    racing = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in racing:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in racing:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    got: Counter[str] = Counter()
    for process in racing:
        assert process.stdout is not None
        got.update(process.stdout.readline().split())
    for process in racing:
        process.communicate("\n")
    assert got == {str(n): 1 for n in range(60)}
