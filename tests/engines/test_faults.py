"""Whatever kills or freezes workers: every run has one result, the right one, and nothing of a finished run changes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LIB = Path(__file__).parents[1] / "lib"


def happened(kind: str, root: Path, number: int) -> dict[str, Any]:
    """Return what came of workers that were killed, frozen or left in peace."""
    command = [sys.executable, str(LIB / "faults.py"), kind, str(root), str(number)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_workers_that_are_killed_and_frozen_at_random(tmp_path: Path) -> None:
    found = happened("random", tmp_path, 60)
    assert found["kills"] + found["freezes"] >= 60
    assert found["right"] == 48
    assert (found["changed"], found["left"]) == ([], [])


def test_no_run_is_made_twice_and_one_that_kills_its_worker_is_named(tmp_path: Path) -> None:
    found = happened("calm", tmp_path, 0)
    assert found["twice"] == []
    assert found["begun"] == {"kills": 4, "breaks": 4, "fails": 1}, "the first attempts came further"
    assert sorted(code for code in found["codes"] if code) == [-9, -9, -9, -9, 1, 1, 1, 1]
    assert found["exit_code"] == 1
    assert found["left"] == ["count-breaks", "count-fails", "count-kills"]


@pytest.mark.parametrize(("kind", "stride"), [("killed", 3), ("frozen", 8)])
def test_a_worker_that_is_stopped_before_it_touches_the_disk(tmp_path: Path, kind: str, stride: int) -> None:
    found = happened(kind, tmp_path, stride)
    assert found["done"] > 50 // stride
    assert found["changed"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["killed", "frozen"])
def test_a_worker_that_is_stopped_before_every_touch_of_the_disk(tmp_path: Path, kind: str) -> None:
    found = happened(kind, tmp_path, 1)
    assert found["done"] > 50
    assert found["changed"] == 0
