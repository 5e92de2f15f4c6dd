"""The engine of this machine: trunks in order, failures and warnings named, several processes to one run."""

import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from voxmix.engines.base import run_jobs
from voxmix.engines.job_file import chains_of
from voxmix.engines.progress import state_of
from voxmix.errors import InputError, VoxmixWarning
from voxmix.mixture import Mixture
from voxmix.objectives.mae import train
from voxmix.runs import read_run
from voxmix.runs.unfinished import attempts_at, desk_of
from voxmix.training.checkpoint import save_state

JOB_FILES = {"job.json", "progress.json", "failed.json", "notes.json"}


def test_runs_of_one_trunk_follow_each_other_and_the_longest_work_begins_first(spec, job_of, tmp_path):
    trunk = replace(spec, training=replace(spec.training, schedule="trunk"))
    specs = [replace(trunk, budget=budget, seed=seed) for seed in (0, 1) for budget in (400, 100, 200)]
    jobs = [job_of(each, trunk=tmp_path / each.trunk_id) for each in specs]
    jobs.append(job_of(replace(spec, budget=300)))
    chains = [[(job.work.spec.seed, job.work.spec.budget) for job in chain] for chain in chains_of(jobs)]
    assert chains == [[(0, 100), (0, 200), (0, 400)], [(1, 100), (1, 200), (1, 400)], [(11, 300)]]


def test_a_failed_run_is_named_and_the_others_are_made(stored, spec, job_of, tmp_path, same_run):
    cache, evaluation = stored
    trunk = replace(spec, cache=cache.digest, training=replace(spec.training, schedule="trunk"))
    short, long = (replace(trunk, budget=n) for n in (60, 100))
    failing = replace(trunk, mixture=Mixture.from_dict({"CT": 0.5, "US": 0.5}))
    damaged = replace(trunk, seed=5)
    folders = {each.run_id: tmp_path / each.run_id for each in (long, failing, damaged, short)}
    for steps in (1, 2):
        save_state(folders[damaged.run_id], {"steps": steps})
    (folders[damaged.run_id] / "state.pt").write_bytes(b"half a sta")
    jobs = [
        job_of(each, folder=folders[each.run_id], trunk=tmp_path / "trunks" / each.trunk_id)
        for each in (long, failing, damaged, short)
    ]
    shown = []
    with pytest.warns(VoxmixWarning, match="goes on from the state before it"):
        failed = run_jobs(jobs, workers=1, progress=lambda *p: shown.append(p))
    reasons = {item.job.work.spec.run_id: item.reason for item in failed}
    assert list(reasons) == [failing.run_id, damaged.run_id]
    assert "mixture names ['US']" in reasons[failing.run_id]
    assert "belongs to another run" in reasons[damaged.run_id]
    assert read_run(folders[long.run_id]).details["shared"]["draws"] == 8 * short.training.branch_step(60)
    train(long, cache=cache, evaluation=evaluation, folder=tmp_path / "alone" / long.run_id, threads=1)
    assert same_run(folders[long.run_id], tmp_path / "alone" / long.run_id)
    assert shown == sorted(shown)
    assert shown[-1][1] == 60 + 3 * 100
    assert not folders[failing.run_id].exists(), "nothing was begun there"
    for folder in folders.values():
        assert not JOB_FILES & {path.name.removeprefix(".") for path in folder.glob("*")}


def test_two_processes_share_runs_of_a_domain_with_one_volume(stored, spec, job_of, tmp_path):
    cache, evaluation = stored
    small = replace(spec, cache=cache.digest, budget=41)
    bad = replace(small, mixture=Mixture.from_dict({"CT": 0.5, "US": 0.5}))
    jobs = [job_of(each, devices=2) for each in (bad, small)]
    failed = run_jobs(jobs)
    assert [item.job.work.spec for item in failed] == [bad]
    train(small, cache=cache, evaluation=evaluation, folder=tmp_path / "alone" / small.run_id, threads=1)
    together, alone = read_run(jobs[1].folder), read_run(tmp_path / "alone" / small.run_id)
    assert together.details["computed"]["devices"] == 2
    assert together.details["repeats"] == {"CT": 29 - 3, "MR": 12 - 1}
    for name, loss in alone.losses.items():
        assert together.losses[name]["loss"] == pytest.approx(loss["loss"], rel=1e-3)


def test_several_machines_are_started_from_outside(spec, job_of):
    with pytest.raises(InputError, match=r"compute\.nodes is 2, .*voxmix pretrain --nodes"):
        run_jobs([job_of(spec, nodes=2)])


PARENT = """
import pickle, signal, sys
from voxmix.engines.base import run_jobs
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    with open(sys.argv[1], "rb") as stream:
        job = pickle.load(stream)
    run_jobs([job])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_command_goes_on_and_a_stopped_one_tidies_up(
    stored, spec, job_of, tmp_path, same_run, number
):
    cache, evaluation = stored
    long = replace(spec, cache=cache.digest, budget=4000)
    job = job_of(long, checkpoint_seconds=0.05)
    (tmp_path / "parent.py").write_text(PARENT, encoding="utf-8")
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "job")]
    parent = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any((path / "state.previous.pt").exists() for path in attempts_at(job.folder)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.send_signal(number)
    parent.wait()
    while state_of(job.folder) == "running":  # the worker sees within half a second that its parent is gone
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (job.folder / "result.json").exists()
    left = {path.name for path in desk_of(job.folder).iterdir()}
    assert left == ({"job.json", "attempts"} if number == signal.SIGKILL else {"attempts"})
    assert run_jobs([job]) == ()
    train(long, cache=cache, evaluation=evaluation, folder=tmp_path / "alone" / long.run_id, threads=1)
    assert same_run(job.folder, tmp_path / "alone" / long.run_id)
