"""Runs made by the jobs of a real Slurm are those of one process, bit for bit: shared, preempted, frozen, lost, limited."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from slurm_faults import Faults, torment
from tiny_study import finished_runs, make_study, marks, outcome, processes, until, voxmix

from voxmix.study import StudyView

BUDGETS = (1000, 3000)
LEASE = 6.0


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """What one process with one thread makes of the study."""
    study = make_study(tmp_path_factory.mktemp("alone") / "study", budgets=BUDGETS)
    done = voxmix("run", study.root, "--workers", 1)
    assert done.returncode == 0, done.stderr
    return outcome(study)


@pytest.fixture
def submitted(quiet, tmp_path):
    """Return a function that makes the study with settings of its jobs and submits them; it returns the study."""

    def submit(jobs=2, budgets=BUDGETS, **cluster):
        study = make_study(tmp_path / "study", budgets=budgets, lease=LEASE, **cluster)
        done = voxmix(
            "run", study.root, "--engine", "slurm", "--jobs", jobs, "--submit-only", environment=quiet.environment()
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "submitted: " in done.stdout
        return study

    return submit


def is_training(study):
    return any(study.runs_dir.glob(".work/*/attempts/*/metrics.jsonl"))


def all_finished(study, *, faults=None, seconds=300):
    """Wait until every run is finished; jobs that are queued again need not wait two minutes."""

    def true():
        if faults is not None:
            faults.hasten()
        return len(finished_runs(study)) == len(StudyView(study).proxies)

    until(true, seconds=seconds, pause=0.5)
    done = voxmix("run", study.root)
    assert done.returncode == 0, done.stderr
    return outcome(study)


def hastening(quiet, study):
    return Faults(slurm=quiet, study=study, draw=random.Random(0), lease=LEASE)


def test_three_jobs_share_the_runs_and_the_command_waits_for_them(quiet, tmp_path, alone):
    study = make_study(tmp_path / "study", budgets=BUDGETS, lease=LEASE, workers_per_job=2)
    command = ("run", study.root, "--engine", "slurm", "--jobs", 3)
    shown = voxmix(*command, "--dry-run", environment=quiet.environment())
    assert shown.returncode == 0
    assert "#SBATCH --array=0-1\n" in shown.stdout, "two jobs of two workers are enough for four runs"
    done = voxmix(*command, environment=quiet.environment())
    assert done.returncode == 0, done.stderr
    assert "4 proxy runs" in done.stdout
    assert outcome(study) == alone


def test_a_whole_study_is_done_by_jobs_alone(quiet, tmp_path):
    study = make_study(tmp_path / "study", budgets=(80, 160, 320), lease=LEASE)
    command = ("study", "run", study.root, "--engine", "slurm", "--jobs", 2, "--submit-only")
    done = voxmix(*command, environment=quiet.environment())
    assert done.returncode == 0, done.stderr
    until(lambda: study.report_path.exists() and not processes(study, "work"), seconds=600)
    shown = voxmix("status", study.root)
    assert "all done" in shown.stdout


def test_a_stopped_command_leaves_the_jobs_which_the_next_one_finds(quiet, tmp_path, alone):
    study = make_study(tmp_path / "study", budgets=BUDGETS, lease=LEASE)
    arguments = [sys.executable, "-m", "voxmix", "run", str(study.root), "--engine", "slurm", "--jobs", "1"]
    command = subprocess.Popen(
        arguments, env=quiet.environment(), stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    until(lambda: is_training(study))
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "the jobs go on without this command (1 running, 0 waiting)" in " ".join(said.split())
    [worker] = processes(study)
    os.kill(worker, signal.SIGSTOP)  # so that it is not done before the next command looks
    log = tmp_path / "again.log"
    try:
        with log.open("w", encoding="utf-8") as said:
            again = subprocess.Popen(arguments, env=quiet.environment(), stderr=said)
        until(lambda: "jobs of an earlier command go on" in " ".join(log.read_text(encoding="utf-8").split()))
    finally:
        os.kill(worker, signal.SIGCONT)
    assert again.wait(timeout=300) == 0, log.read_text(encoding="utf-8")
    assert outcome(study) == alone


def test_an_urgent_job_takes_the_nodes_and_gives_them_back(quiet, submitted, alone):
    study = submitted(jobs=2, cpus=4)
    until(lambda: is_training(study))
    quiet.call(
        "sbatch",
        "-p",
        "urgent",
        "-N",
        "2",
        "--ntasks-per-node=1",
        "-c",
        "4",
        "-o",
        "/dev/null",
        "--wrap",
        "sleep 2",
    )
    until(lambda: not processes(study), seconds=120)
    assert len(finished_runs(study)) == 4 or list(study.runs_dir.glob(".work/*/attempts/*/state.pt"))
    assert all_finished(study, faults=hastening(quiet, study)) == alone


def test_a_job_near_its_limit_is_queued_again_and_goes_on(quiet, submitted, alone):
    study = submitted(jobs=1)
    until(lambda: is_training(study))
    quiet.call("scancel", "--batch", "--signal=USR2", quiet.call("squeue", "-h", "-r", "-o", "%i").strip())
    until(lambda: quiet.call("squeue", "-h", "-t", "PD", "-o", "%r").strip() == "BeginTime", seconds=60)
    [log] = study.runs_dir.glob(".work/cluster/*.log")
    assert "the time limit is near: states are written" in log.read_text(encoding="utf-8")
    assert all_finished(study, faults=hastening(quiet, study)) == alone
    assert "start 2" in log.read_text(encoding="utf-8")


def test_a_lost_node_costs_nothing_but_time(quiet, submitted, alone):
    study = submitted(jobs=2)
    faults = hastening(quiet, study)
    until(lambda: is_training(study) and processes(study))
    assert faults.lose_node(0, faults.jobs("R")[0])
    assert all_finished(study, faults=faults) == alone


def test_a_frozen_worker_changes_nothing_when_it_wakes_up(quiet, submitted, alone):
    study = submitted(jobs=2)
    until(lambda: len(processes(study)) == 2 and is_training(study))
    claims = until(lambda: list(study.runs_dir.glob(".work/claims/*.1")))
    frozen = json.loads(claims[0].read_text(encoding="utf-8"))["process"]
    os.kill(frozen, signal.SIGSTOP)
    try:
        found = all_finished(study)
        before = marks(study)
    finally:
        os.kill(frozen, signal.SIGCONT)
    until(lambda: not processes(study), seconds=60)
    assert marks(study) == before
    assert found == outcome(study) == alone


def test_a_run_that_kills_its_workers_is_named_and_the_others_are_made(quiet, submitted, alone):
    study = submitted(jobs=1)
    poison = StudyView(study).proxies[-1].run_id
    deadline, kills = time.monotonic() + 300, 0
    desk = study.runs_dir / ".work" / poison
    while not (desk / "failed.json").exists():
        assert time.monotonic() < deadline
        for claim in study.runs_dir.glob(f".work/claims/{poison}.*"):
            try:
                os.kill(json.loads(claim.read_text(encoding="utf-8"))["process"], signal.SIGKILL)
                kills += 1
            except (ProcessLookupError, ValueError):
                continue
        time.sleep(0.05)
    until(lambda: len(finished_runs(study)) == 3)
    found = outcome(study)
    assert {name: found[name] for name in found} == {name: alone[name] for name in found}
    assert "ended 3 times without coming further" in (desk / "failed.json").read_text(encoding="utf-8")
    done = voxmix("run", study.root)
    assert done.returncode == 0, "tried again by a person, with nobody who kills it"
    assert outcome(study) == alone


def test_inside_a_job_of_two_tasks_a_study_starts_its_own_processes(quiet, tmp_path, alone):
    study = make_study(tmp_path / "study", budgets=BUDGETS)
    command = f"{sys.executable} -m voxmix run {study.root} --workers 1"
    quiet.call("sbatch", "-n", "2", "-o", str(tmp_path / "log"), "--wrap", command)
    until(lambda: (study.measurements_path).exists())
    assert outcome(study) == alone


def test_a_run_that_two_devices_share_is_made_by_one_job(quiet, tmp_path, alone):
    study = make_study(tmp_path / "study", budgets=BUDGETS, lease=LEASE, cpus=2)
    done = voxmix("run", study.root, "--engine", "slurm", "--devices", 2, environment=quiet.environment())
    assert done.returncode == 0, done.stderr
    found = outcome(study)
    assert found.keys() == alone.keys()
    for run in finished_runs(study):
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
        assert result["computed"]["devices"] == 2
        for target, loss in alone[run.name]["losses"].items():
            assert found[run.name]["losses"][target]["loss"] == pytest.approx(loss["loss"], abs=1e-6)


def test_what_slurm_refuses_is_told(quiet, tmp_path):
    study = make_study(tmp_path / "study", budgets=BUDGETS)
    for flags, told in {
        ("--partition", "gpus"): "there is no such partition; this Slurm has main, urgent",
    }.items():
        done = voxmix("run", study.root, "--engine", "slurm", *flags, environment=quiet.environment())
        assert done.returncode == 2
        assert told in " ".join(done.stderr.split())


def test_a_node_without_python_is_told_by_the_command(quiet, tmp_path):
    study = make_study(tmp_path / "study", budgets=BUDGETS, python="/nowhere/python")
    done = voxmix("run", study.root, "--engine", "slurm", environment=quiet.environment())
    assert done.returncode == 1
    assert "this node has no /nowhere/python; install voxmix on a disk" in " ".join(done.stderr.split())


def test_ten_faults(quiet, tmp_path, alone):
    study = make_study(tmp_path / "study", budgets=BUDGETS, lease=LEASE)
    counts = torment(quiet, study, draw=random.Random(1), lease=LEASE, wanted=10, say=lambda text: None)
    assert counts
    done = voxmix("run", study.root)
    assert done.returncode == 0, done.stderr
    assert outcome(study) == alone
