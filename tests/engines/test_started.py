"""Processes that were started together with one command share its runs: the same losses, stopped, killed, gone on with."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import voxmix
from voxmix.compute import ComputeSettings
from voxmix.engines import started
from voxmix.engines.base import run_jobs
from voxmix.engines.job_file import Job
from voxmix.engines.started import Launch
from voxmix.errors import InputError, VoxmixError, VoxmixWarning
from voxmix.objectives.mae import train
from voxmix.runs import is_finished, read_run
from voxmix.training.checkpoint import load_state
from voxmix.training.launchers import Started, free_port, started_together

COMMAND = """
import pickle, sys
from pathlib import Path
from voxmix._stopping import run_to_end
from voxmix.engines.base import run_jobs
from voxmix.engines.started import joined

def main(arguments):
    root = Path(arguments[0])
    job = pickle.loads((root / "job").read_bytes())
    with joined(job.work.compute, root=root, settings=root / "job") as launch:
        if not launch.is_first:
            return launch.follow()
        failed = run_jobs([job])
        for one in failed:
            print(one.reason, file=sys.stderr)
        return len(failed)

if __name__ == "__main__":
    run_to_end(main)
"""


@pytest.fixture
def spec(spec, stored):
    return replace(
        spec, cache=stored[0].digest, budget=97
    )  # the last batch has one draw: one process has none


def launched(job: Job, root: Path, *options: str) -> subprocess.Popen[str]:
    """Start two processes with one command, as torchrun does."""
    (root / "command.py").write_text(COMMAND, encoding="utf-8")
    (root / "job").write_bytes(pickle.dumps(job))
    known = {"PYTHONPATH": str(Path(voxmix.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*torchrun, *options, str(root / "command.py"), str(root)],
        env=os.environ | known, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def until(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def ranks_of(process: subprocess.Popen[str]) -> dict[str, int]:
    """Return the processes that torchrun has started, by their rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            parent = (entry / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1]
            variables = (entry / "environ").read_text(encoding="utf-8").split("\0")
        except OSError:
            continue
        if parent == str(process.pid):
            found |= {name[5:]: int(entry.name) for name in variables if name.startswith("RANK=")}
    return found


def check_losses(folder: Path, alone: Path) -> None:
    together, one = read_run(folder).losses, read_run(alone).losses
    for name, loss in one.items():
        assert together[name]["loss"] == pytest.approx(loss["loss"], abs=1e-6)


@pytest.fixture
def made_alone(stored, tmp_path):
    """Return a function that makes the run of a spec in one process and returns its folder."""

    def make(spec):
        cache, evaluation = stored
        folder = tmp_path / "alone" / spec.run_id
        train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1)
        return folder

    return make


def test_two_processes_started_with_one_command_make_the_run_of_one(spec, job_of, tmp_path, made_alone):
    job = job_of(spec, devices=2)
    process = launched(job, tmp_path)
    said = process.communicate(timeout=200)[1]
    assert process.returncode == 0, said
    assert read_run(job.folder).details["computed"]["devices"] == 2
    assert "before" not in read_run(job.folder).details["computed"]
    assert not (tmp_path / "runs" / ".work").exists()
    check_losses(job.folder, made_alone(spec))


@pytest.mark.slow
def test_a_signal_stops_all_after_one_step_and_one_process_goes_on(spec, job_of, tmp_path, made_alone):
    long = replace(spec, budget=3000)
    job = job_of(long, devices=2, checkpoint_seconds=1e6)
    process = launched(job, tmp_path)
    until(lambda: any(path.stat().st_size for path in tmp_path.rglob("metrics.jsonl")), process)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=100)[1]
    assert "stopped by SIGTERM; give the same command again to continue" in said
    (path,) = tmp_path.rglob("state.pt")
    state = load_state(path.parent)
    assert state is not None
    steps = state["steps"]
    assert steps == len((path.parent / "metrics.jsonl").read_bytes().splitlines())
    one = job_of(long)
    with pytest.warns(VoxmixWarning, match=f"after {steps} steps in another way .*devices 2 before, 1 now"):
        assert run_jobs([one]) == ()
    computed = read_run(job.folder).details["computed"]
    assert computed["devices"] == 1
    assert [(way["devices"], way["steps"]) for way in computed["before"]] == [(2, steps)]
    check_losses(job.folder, made_alone(long))


@pytest.mark.slow
def test_torchrun_starts_all_again_when_one_is_killed(spec, job_of, tmp_path, made_alone):
    long = replace(spec, budget=3000)
    job = job_of(long, devices=2, checkpoint_seconds=0.2, lease_seconds=2.0)
    process = launched(job, tmp_path, "--max-restarts", "2", "--monitor-interval", "0.5")
    until(lambda: list(tmp_path.rglob("state.pt")), process)
    os.kill(ranks_of(process)["1"], signal.SIGKILL)
    said = process.communicate(timeout=200)[1]
    assert process.returncode == 0, said
    assert is_finished(job.folder)
    check_losses(job.folder, made_alone(long))


SRUN = {
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_PROCID": "1",
    "SLURM_NODELIST": "node[07-08]",
    "SLURM_JOB_ID": "4711",
}
TORCHRUN = {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "29400"}


@pytest.fixture
def launcher(monkeypatch):
    """Return a function that sets a launcher's variables, and those of no other."""
    for name in {*SRUN, *TORCHRUN, "TORCHELASTIC_RUN_ID", "SLURM_LOCALID"}:
        monkeypatch.delenv(name, raising=False)

    def launch(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return launch


@pytest.mark.parametrize(
    ("variables", "settings", "words"),
    [
        ({}, {"nodes": 2, "devices": 4}, "are 8 processes on 2 machines, and only one was started; start all .* srun --nodes 2 "),
        ({"SLURM_STEP_NUM_TASKS": "1"}, {"nodes": 2}, "only one was started"),
        (SRUN, {"nodes": 2, "devices": 2}, "2 processes were started with this command, and .* are 4; give --nodes"),
        (SRUN, {}, "2 processes were started with this command, and .* are 1; give --nodes"),
        (TORCHRUN, {"devices": 3}, "2 processes were started with this command, and .* are 3"),
    ],
)  # fmt: skip
def test_another_number_of_processes_than_was_asked_for_is_refused(launcher, variables, settings, words):
    launcher(variables)
    with pytest.raises(InputError, match=words):
        started_together(ComputeSettings(**settings))


def test_who_was_started_alone_and_who_as_one_of_several(launcher):
    assert started_together(ComputeSettings(devices=2)) is None, "a study starts these itself"
    launcher(SRUN | {"MASTER_ADDR": "n1", "MASTER_PORT": "17000"})
    found = started_together(ComputeSettings(nodes=2))
    assert found == Started(rank=1, world=2, address="n1", port=17000)
    launcher(TORCHRUN)
    assert started_together(ComputeSettings(devices=2)) == Started(
        rank=1, world=2, address="here", port=29400
    )


@pytest.fixture
def two(tmp_path, launcher, monkeypatch):
    """Return a function that calls another one as each of two processes (threads stand for them); it returns what came."""
    monkeypatch.setattr(started, "_LAST_SECONDS", 0.5)
    port = free_port()
    launcher({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})

    def both(work):
        came: dict[int, object] = {}

        def be(rank):
            try:
                launch = Launch(Started(rank=rank, world=2, address="127.0.0.1", port=port), root=tmp_path)
                came[rank] = work(launch)
            except VoxmixError as error:
                came[rank] = error

        threads = [threading.Thread(target=be, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        return came

    return both


def test_processes_that_are_about_to_do_different_things_are_refused(two):
    came = two(lambda launch: launch.meet({"voxmix": "1.0", "compute.micro_batch": str(launch.rank)}))
    assert came[1] is None
    assert "process 1 has compute.micro_batch 1, the first one 0; start all" in str(came[0])


def test_what_the_first_process_says_in_the_end_ends_the_others(two):
    assert two(lambda launch: launch.end(5) if launch.is_first else launch.follow()) == {0: None, 1: 5}


def test_a_process_that_does_not_see_the_run_says_so_everywhere(two, job_of, spec, tmp_path):
    job = job_of(spec, devices=2)
    (tmp_path / "attempt").mkdir()

    def work(launch):
        if launch.is_first:
            try:
                return launch.share(job, tmp_path / "attempt", tmp_path / "progress", lambda: False)
            finally:
                launch.end(1)
        return launch.follow()

    came = two(work)
    for rank in range(2):
        assert str(came[rank]).startswith("process 1 of 2: no job")


def test_settings_of_the_study_are_part_of_what_must_be_equal(tmp_path):
    (tmp_path / "study.yaml").write_text("name: small\n", encoding="utf-8")
    words = started._words_of(ComputeSettings(devices=2), tmp_path / "study.yaml")
    assert json.loads(words["compute.devices"]) == 2
    assert {"voxmix", "torch", "study.yaml", "compute.sharing"} <= set(words)
