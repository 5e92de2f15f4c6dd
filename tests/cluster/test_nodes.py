"""One run over two nodes of a real Slurm is the run of one process, but for rounding; it is stopped by a signal and gone on with."""

import json
import shutil
import sys
import textwrap

import pytest
from tiny_study import make_study, until, voxmix

from voxmix.study import Study, StudyView

BUDGETS = (200, 400)
NEVER = 1e6


@pytest.fixture(scope="session")
def allocated(tmp_path_factory):
    """A study that is run, fitted and allocated; its states are written at signals alone."""
    study = make_study(tmp_path_factory.mktemp("allocated") / "study", budgets=BUDGETS)
    text = study.path.read_text(encoding="utf-8")
    lines = [
        f"  checkpoint_seconds: {NEVER:.0f}" if "checkpoint_seconds:" in line else line
        for line in text.splitlines()
    ]
    study.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for verb in ("run", "fit", "allocate"):
        done = voxmix(verb, study.root)
        assert done.returncode == 0, done.stderr
    return study.root


@pytest.fixture(scope="session")
def alone(allocated, tmp_path_factory):
    """The same with its large runs, made by one process."""
    root = tmp_path_factory.mktemp("alone") / "study"
    shutil.copytree(allocated, root)
    done = voxmix("pretrain", root)
    assert done.returncode == 0, done.stderr
    return results(root)


def results(root):
    """Return the results of the large runs of a study."""
    view = StudyView(Study.open(root))
    found = {spec.run_id: view.study.run_dir(spec) / "result.json" for spec in view.checks}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in found.items()}


def check_losses(found, alone):
    assert found.keys() == alone.keys()
    for name, result in alone.items():
        for target, loss in result["losses"].items():
            assert found[name]["losses"][target]["loss"] == pytest.approx(loss["loss"], abs=1e-6)


@pytest.fixture
def submit(quiet, tmp_path):
    """Return a function that submits a batch script of these lines; it returns the job's number and its log."""

    def submitted(*lines, options=()):
        here = (
            "export MASTER_ADDR=127.0.0.1 GLOO_SOCKET_IFNAME=lo  # the nodes' names are none of this machine"
        )
        script = tmp_path / "job.sh"
        script.write_text(
            "\n".join(["#!/bin/bash", here, *lines, "echo ended with $?"]) + "\n", encoding="utf-8"
        )
        log = tmp_path / "job.log"
        said = quiet.call("sbatch", "--parsable", f"--output={log}", *options, str(script))
        return said.strip(), log

    return submitted


def command(root, *flags):
    return " ".join([sys.executable, "-m", "voxmix", "pretrain", str(root), *flags])


def ended(log, code):
    until(lambda: log.exists() and "ended with" in log.read_text(encoding="utf-8"), seconds=1500)
    said = log.read_text(encoding="utf-8")
    assert f"ended with {code}" in said, textwrap.shorten(said, 3000)
    assert "Traceback" not in said
    return said


def test_two_nodes_make_the_runs_of_one_process(submit, allocated, alone, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(allocated, root)
    _, log = submit(f"srun {command(root, '--nodes', '2')}", options=("--nodes=2", "--ntasks-per-node=1"))
    said = ended(log, 0)
    assert said.count("next: voxmix report") == 1, "the first process alone speaks"
    found = results(root)
    check_losses(found, alone)
    assert {result["computed"]["devices"] for result in found.values()} == {2}


def test_a_signal_of_the_scheduler_keeps_the_state_and_one_node_goes_on(
    submit, quiet, allocated, alone, tmp_path
):
    root = tmp_path / "study"
    shutil.copytree(allocated, root)
    number, log = submit(
        f"srun {command(root, '--nodes', '2')}", options=("--nodes=2", "--ntasks-per-node=1")
    )
    until(lambda: any(path.stat().st_size for path in root.glob("runs/.work/*/attempts/*/metrics.jsonl")))
    quiet.call("scancel", "--signal=USR1", number)
    said = ended(log, 138)
    assert said.count("stopped by SIGUSR1; give the same command again to continue") == 1
    assert len(list(root.glob("runs/.work/*/attempts/*/state.pt"))) == 1
    done = voxmix("pretrain", root)
    assert done.returncode == 0, done.stderr
    found = results(root)
    check_losses(found, alone)
    before = [way for result in found.values() for way in result["computed"].get("before", [])]
    assert [way["devices"] for way in before] == [2]


def test_several_devices_in_a_job_of_several_tasks_are_processes_of_the_study(
    submit, allocated, alone, tmp_path
):
    root = tmp_path / "study"
    shutil.copytree(allocated, root)
    _, log = submit(command(root, "--devices", "2"), options=("--nodes=1", "--ntasks=2"))
    ended(log, 0)
    check_losses(results(root), alone)


def test_another_number_of_tasks_than_asked_for_is_refused_in_words(submit, allocated):
    _, log = submit(
        f"srun {command(allocated, '--nodes', '3')}", options=("--nodes=2", "--ntasks-per-node=1")
    )
    said = ended(log, 2)
    assert "2 processes were started with this command, and compute.nodes 3 x compute.devices 1 are 3" in said


def test_tasks_on_other_machines_than_asked_for_are_refused_in_words(submit, allocated):
    """Two tasks on one node, where one on each of two is asked for; ``srun -n 2`` alone says nothing of nodes."""
    _, log = submit(f"srun -n 2 {command(allocated, '--nodes', '2')}", options=("--nodes=1", "--ntasks=2"))
    said = ended(log, 2)
    assert "srun has started 2 task(s) on 1 machine(s)" in said
    assert "give srun --nodes 2 --ntasks-per-node 1" in said


def test_tasks_of_a_plain_srun_share_the_runs(submit, allocated, alone, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(allocated, root)
    _, log = submit(f"srun -n 2 {command(root, '--devices', '2')}", options=("--nodes=1", "--ntasks=2"))
    ended(log, 0)
    check_losses(results(root), alone)
