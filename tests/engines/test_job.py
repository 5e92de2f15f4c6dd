"""A job: its folder is all that a process needs; how it fares stands in files; a killed one is known and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import voxmix
from voxmix._machine import this_machine
from voxmix.engines import progress
from voxmix.engines.attempts import Attempt
from voxmix.engines.job import main
from voxmix.engines.job_file import read_job, write_job
from voxmix.engines.progress import (
    heartbeat,
    read_failure,
    read_progress,
    state_of,
    write_failure,
)
from voxmix.engines.pull import pull
from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.objectives.mae import train
from voxmix.runs import is_finished, read_run
from voxmix.runs.unfinished import attempts_at, desk_of

JOB_FILES = {"job.json", "progress.json", "failed.json", "notes.json"}


def command(*folders: Path) -> list[str]:
    """Return how a job is started with nothing but its folder."""
    return [sys.executable, "-m", "voxmix.engines.job", *(str(folder) for folder in folders)]


def alone() -> dict[str, str]:
    """Return the environment of a process that knows nothing of this one."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(voxmix.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }


def started(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(command(folder), env=alone(), cwd="/", stderr=subprocess.PIPE, text=True)


def until(true: Iterator[bool], *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    for found in true:
        if found:
            return
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def forever(check) -> Iterator[bool]:
    while True:
        yield check()


@pytest.fixture
def spec(spec, stored):
    return replace(spec, cache=stored[0].digest)


def test_a_folder_alone_gives_the_same_bits_on_its_trunk_too(stored, spec, job_of, tmp_path, same_run):
    cache, evaluation = stored
    trunk = replace(spec, training=replace(spec.training, schedule="trunk"))
    jobs = [
        job_of(spec),
        *(job_of(replace(trunk, budget=n), trunk=tmp_path / "trunks" / trunk.trunk_id) for n in (60, 100)),
    ]
    for job in jobs:
        write_job(job)
        assert state_of(job.folder) == "waiting"
        assert read_job(job.folder) == job
    done = subprocess.run(
        command(*(job.folder for job in jobs)),
        env=alone(),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for job in jobs:
        name = job.work.spec.run_id
        train(job.work.spec, cache=cache, evaluation=evaluation, folder=tmp_path / "here" / name, threads=1)
        assert same_run(job.folder, tmp_path / "here" / name)
        assert state_of(job.folder) == "finished"
        assert not JOB_FILES & {path.name.removeprefix(".") for path in job.folder.iterdir()}


def test_a_job_holds_no_place_and_moves_with_its_study(job_of, spec, tmp_path):
    job = job_of(spec, trunk=tmp_path / "trunks" / spec.trunk_id)
    write_job(job)
    text = (desk_of(job.folder) / "job.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert json.loads(text)["evaluation"] == "../../evaluation.safetensors"
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    (tmp_path.parent / "link").symlink_to(moved)
    for root in (moved, tmp_path.parent / "link"):
        found = read_job(root / "runs" / spec.run_id).work
        assert (found.evaluation, found.trunk) == (
            moved / "evaluation.safetensors",
            moved / "trunks" / spec.trunk_id,
        )
    (tmp_path.parent / "link").unlink()
    moved.rename(tmp_path)


DAMAGES = [
    ({"format": 2}, "has format version 2, this voxmix reads 1"),
    ({"kind": "law"}, "should hold a voxmix job, found 'law'"),
    ({"work": "distillation"}, "asks for work 'distillation', this voxmix knows"),
    ({"run_id": "0123456789abcdef"}, "it was written for run 0123456789abcdef, its spec is that of"),
    ({"spec": {"format": 9}}, "run spec has format 9"),
    ({"spec": None}, "spec is None"),
    ({"cache": 3}, "cache is 3, no path"),
    ({"cache": "a\u0000b"}, "no path"),
    ({"cache": None}, "cache is None, no path"),
    ({"trunk": "../../trunks/other"}, "trunk other is of other runs"),
    ({"threads": "2; rm"}, "threads is '2; rm'"),
    ({"threads": True}, "threads is True"),
    ({"compute": {"devices": 0}}, "devices must be at least 1"),
    ({"compute": {"gpus": 1}}, "unknown key"),
    ({"argument": "x"}, "'argument'"),
]


@pytest.mark.parametrize(("change", "words"), DAMAGES, ids=[words[:30] for _, words in DAMAGES])
def test_a_job_that_cannot_be_is_refused_in_words(job_of, spec, change, words, capsys):
    job = job_of(spec)
    write_job(job)
    path = desk_of(job.folder) / "job.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_job(job.folder)
    assert words in str(refused.value)
    assert "job.json" in str(refused.value)
    assert main([str(job.folder)]) == 1
    assert words in capsys.readouterr().err
    assert state_of(job.folder) == "failed", "whoever watches from elsewhere sees it too"
    assert not (job.folder / "spec.json").exists()


def test_a_folder_without_a_job_and_a_cut_file_are_refused(job_of, spec, tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert f"no job.json for {tmp_path}" in capsys.readouterr().err
    assert not (desk_of(tmp_path) / "failed.json").exists()
    job = job_of(spec)
    write_job(job)
    path = desk_of(job.folder) / "job.json"
    path.write_bytes(path.read_bytes()[:100])
    assert main([str(job.folder)]) == 1
    assert "is not JSON" in capsys.readouterr().err
    assert main([]) == 2


def test_what_fails_says_so_in_its_folder_and_stops_no_other(job_of, spec, capsys):
    bad = job_of(replace(spec, mixture=Mixture.from_dict({"CT": 0.5, "US": 0.5})))
    good = job_of(replace(spec, budget=8))
    for job in (bad, good):
        write_job(job)
    assert main([str(bad.folder), str(good.folder)]) == 1
    said = capsys.readouterr().err
    assert said.count("error: ") == 1
    assert "mixture names ['US']" in said
    assert "mixture names ['US']" in (read_failure(bad.folder) or "")
    assert [state_of(job.folder) for job in (bad, good)] == ["failed", "finished"]
    assert not attempts_at(bad.folder)


@pytest.mark.parametrize(("number", "ended"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_a_stopped_job_is_known_and_goes_on_to_the_same_bits(
    stored, spec, job_of, tmp_path, same_run, number, ended
):
    cache, evaluation = stored
    long = replace(spec, budget=1200)
    job = job_of(long, checkpoint_seconds=0.05)
    write_job(job)
    process = started(job.folder)
    until(forever(lambda: any((path / "state.previous.pt").exists() for path in attempts_at(job.folder))))
    assert state_of(job.folder) == "running"
    assert pull([[job.folder]], stopped=lambda: True).left == (job.folder,), "that is the other process's job"
    process.send_signal(number)
    process.communicate()
    assert process.returncode == ended
    assert not is_finished(job.folder)
    assert state_of(job.folder) == ("lost" if number == signal.SIGKILL else "waiting")
    shown = []
    resumed = started(job.folder)
    until(forever(lambda: shown.append(read_progress(job.folder)) or resumed.poll() is not None))
    assert resumed.communicate() == (None, "")
    assert resumed.returncode == 0
    counts = [found.done for found in shown if found is not None and found.process == resumed.pid]
    assert counts == sorted(counts)
    assert counts[-1] <= 1200
    train(long, cache=cache, evaluation=evaluation, folder=tmp_path / "whole" / long.run_id, threads=1)
    assert same_run(job.folder, tmp_path / "whole" / long.run_id)


def test_processes_that_share_a_job_are_given_its_folder(stored, spec, job_of):
    job = job_of(replace(spec, budget=41), devices=2)
    write_job(job)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*launcher, "voxmix.engines.job", str(job.folder)],
        env=alone(), cwd="/", capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_run(job.folder).details["computed"]["devices"] == 2
    assert not JOB_FILES & {path.name.removeprefix(".") for path in job.folder.iterdir()}


def test_a_heartbeat_goes_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "BEAT_SECONDS", 0.01)
    run = tmp_path / "runs" / "one"
    path = Attempt.begin(run).progress_path
    with heartbeat(path, total=50) as told:
        first = read_progress(run)
        told(5, 10)
        until(forever(lambda: read_progress(run).done == 25))
        later = read_progress(run)
        assert later.time > first.time
        assert (later.total, later.process, later.machine) == (50, os.getpid(), this_machine())
        text = path.read_text(encoding="utf-8")
    assert not path.exists()
    for machine, process, seconds, state in [
        (this_machine(), os.getpid(), 5, "running"),
        (this_machine(), os.getpid(), 121, "lost"),
        (this_machine(), 2**22 + 1, 1, "lost"),  # no process has that number
        ("elsewhere", 2**22 + 1, 90, "running"),
        ("elsewhere", 2**22 + 1, 121, "lost"),
    ]:
        value = {**json.loads(text), "machine": machine, "process": process}
        path.write_text(json.dumps(value), encoding="utf-8")
        assert state_of(run, now=value["time"] + seconds) == state, (machine, process, seconds)
    for damaged in ("", "{", "[]", '{"done": 1}', '{"done": "x"}'):
        path.write_text(damaged, encoding="utf-8")
        assert read_progress(run) is None
        assert state_of(run) == "waiting"
    path.unlink()
    write_failure(run, "no such device")
    assert (state_of(run), read_failure(run)) == ("failed", "no such device")


def test_a_heartbeat_is_written_about_once_a_second_and_never_stops_the_work(tmp_path, monkeypatch):
    written = []
    real = progress._replace

    def counted(path, text):
        written.append(text)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        real(path, text)

    monkeypatch.setattr(progress, "_replace", counted)
    monkeypatch.setattr(progress, "BEAT_SECONDS", 0.1)
    with heartbeat(tmp_path / "progress.json", total=10_000) as told:
        began = time.monotonic()
        while time.monotonic() - began < 0.45:
            told(1, 10)
    assert 2 <= len(written) <= 6
