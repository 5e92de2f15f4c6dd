"""A signal to a command, to all of its processes, or to a job: the state is kept, the exit code says which, words say what next."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import voxmix
from voxmix.compute import ComputeSettings
from voxmix.engines.base import run_jobs
from voxmix.engines.job import run_job
from voxmix.engines.job_file import Job, write_job
from voxmix.objectives.mae import train
from voxmix.training.checkpoint import load_state
from voxmix.training.interrupt import Stopped, stop_when

NEVER = 1e6  # seconds between states: what is there was written at the signal

SELDOM = ComputeSettings(checkpoint_seconds=NEVER, trackers=())

PARENT = """
import pickle, signal, sys
from voxmix._stopping import signals_raise
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    with signals_raise(), open(sys.argv[1], "rb") as stream:
        from voxmix.engines.base import run_jobs
        run_jobs(pickle.load(stream), workers=2)
"""


@pytest.fixture
def spec(spec, stored):
    return replace(spec, cache=stored[0].digest, budget=40_000)


def started(command: list[str]) -> subprocess.Popen[str]:
    """Start a process in a group of its own, with one thread, and its errors kept."""
    known = {"PYTHONPATH": str(Path(voxmix.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=os.environ | known, start_new_session=True, stderr=subprocess.PIPE, text=True
    )


def until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def begun(root: Path) -> set[str]:
    """Return the runs below a folder that have made steps."""
    return {
        json.loads(path.with_name("spec.json").read_text(encoding="utf-8"))["seed"]
        for path in root.rglob("metrics.jsonl")
        if path.stat().st_size
    }


def check_states(root: Path, *, runs: int) -> None:
    """Check that so many runs have a state after all the steps that were noted."""
    states = list(root.rglob("state.pt"))
    assert len(states) == runs
    for path in states:
        state = load_state(path.parent)
        assert state is not None
        assert state["steps"] == len((path.parent / "metrics.jsonl").read_bytes().splitlines()) > 0


def gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def jobs(job_of, spec) -> list[Job]:
    """Return four long jobs, two of which go on at a time."""
    return [job_of(replace(spec, seed=seed), checkpoint_seconds=NEVER) for seed in range(4)]


@pytest.mark.parametrize(
    ("number", "to_all", "code"),
    [
        (signal.SIGTERM, False, 143),
        pytest.param(signal.SIGTERM, True, 143, marks=pytest.mark.slow),
        (signal.SIGUSR1, True, 138),
        pytest.param(signal.SIGINT, True, -signal.SIGINT, marks=pytest.mark.slow),
        (signal.SIGKILL, False, -signal.SIGKILL),
    ],
)
def test_a_signal_to_a_command_or_to_all_of_its_processes_keeps_every_state(
    jobs, tmp_path, number, to_all, code
):
    (tmp_path / "parent.py").write_text(PARENT, encoding="utf-8")
    (tmp_path / "jobs").write_bytes(pickle.dumps(jobs))
    parent = started([sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "jobs")])
    until(lambda: len(begun(tmp_path / "runs")) == 2, parent)
    (os.killpg if to_all else os.kill)(parent.pid, number)
    said = parent.communicate(timeout=60)[1]
    assert parent.returncode == code
    assert "Traceback" not in said or number == signal.SIGINT, said
    deadline = time.monotonic() + 30
    while not gone(parent.pid):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)
    check_states(tmp_path / "runs", runs=2)


def test_a_run_that_was_told_to_stop_goes_on_to_the_same_bits(stored, spec, job_of, tmp_path, same_run):
    cache, evaluation = stored
    short = replace(spec, budget=1200)
    job = job_of(short, checkpoint_seconds=NEVER)
    write_job(job)
    asked: list[None] = []

    def later() -> str | None:
        asked.append(None)
        return "save" if len(asked) == 30 else None

    with stop_when(later), pytest.raises(Stopped, match="the state is kept") as stopped:
        run_job(job.folder)
    assert stopped.value.saved
    check_states(tmp_path / "runs", runs=1)
    assert run_jobs([job]) == ()
    train(short, cache=cache, evaluation=evaluation, folder=tmp_path / "alone" / short.run_id, threads=1)
    assert same_run(job.folder, tmp_path / "alone" / short.run_id)


@pytest.mark.parametrize("at", [30, 151])  # 150 steps: in the middle, and before the result is published
def test_a_run_that_is_left_to_another_process_writes_nothing_more(spec, stored, tmp_path, at):
    cache, evaluation = stored
    short, folder = replace(spec, budget=1200), tmp_path / "left"
    asked: list[None] = []

    def lost() -> str | None:
        asked.append(None)
        return "leave" if len(asked) >= at else None

    with stop_when(lost), pytest.raises(Stopped, match="left to another process") as stopped:
        train(short, cache=cache, evaluation=evaluation, folder=folder, threads=1, compute=SELDOM)
    assert not stopped.value.saved
    names = {path.name for path in folder.iterdir()}
    assert not names & {"result.json", "weights.safetensors", "card.json"}
    assert at > 30 or "state.pt" not in names


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(
            pytest.param(number, marks=pytest.mark.slow)
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT)
        ),
    ],
)
def test_a_job_that_is_told_to_end_says_how_it_goes_on(job_of, spec, tmp_path, number):
    job = job_of(spec, checkpoint_seconds=NEVER)
    write_job(job)
    process = started([sys.executable, "-m", "voxmix.engines.job", str(job.folder)])
    until(lambda: bool(begun(tmp_path / "runs")), process)
    process.send_signal(number)
    process.send_signal(number)  # a scheduler to all, and a launcher to its own
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    name = "" if number == signal.SIGINT else f" by {number.name}"
    assert said == f"stopped{name}; give the same command again to continue\n"
    check_states(tmp_path / "runs", runs=1)


def test_a_handler_of_the_surroundings_is_called_when_the_state_is_written(
    spec, stored, tmp_path, monkeypatch
):
    """As that of submitit, which then puts the job into the queue again."""
    cache, evaluation = stored
    folder, called = tmp_path / spec.run_id, []

    def requeue(number, frame):
        state = load_state(folder)
        called.append((number, state and state["steps"]))

    before = signal.signal(signal.SIGUSR2, requeue)
    ignored = signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def pressing(done, total):
        if done and not called:
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR2)

    try:
        with pytest.raises(SystemExit) as ended:
            train(
                spec,
                cache=cache,
                evaluation=evaluation,
                folder=folder,
                threads=1,
                compute=SELDOM,
                progress=pressing,
            )
        assert signal.getsignal(signal.SIGUSR2) is requeue
    finally:
        signal.signal(signal.SIGUSR2, before)
        signal.signal(signal.SIGUSR1, ignored)
    assert ended.value.code == 128 + signal.SIGUSR2
    assert called == [(signal.SIGUSR2, load_state(folder)["steps"])]


@pytest.mark.parametrize(
    ("number", "seconds", "ends"),
    [(signal.SIGINT, 0.1, False), (signal.SIGINT, 2.0, True), (signal.SIGTERM, 2.0, False)],
)
def test_a_second_ctrl_c_ends_a_run_at_once_unless_it_is_the_same_one(
    spec, stored, tmp_path, monkeypatch, number, seconds, ends
):
    from voxmix.training import interrupt

    cache, evaluation = stored
    folder, pressed = tmp_path / spec.run_id, []

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(interrupt, "time", clock)

    def pressing(done, total):
        if done and not pressed:
            for clock.now in (0.0, seconds):
                pressed.append(clock.now)
                os.kill(os.getpid(), number)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        train(
            spec,
            cache=cache,
            evaluation=evaluation,
            folder=folder,
            threads=1,
            compute=SELDOM,
            progress=pressing,
        )
    assert len(pressed) == 2
    assert (folder / "state.pt").exists() is not ends
