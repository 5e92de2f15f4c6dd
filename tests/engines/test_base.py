"""An engine is a function: one from outside trains a study; what an engine loses is named; nothing of it stays."""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from voxmix import _io, _table
from voxmix._claims import Claims
from voxmix.compute import ComputeSettings
from voxmix.engines.attempts import Attempt
from voxmix.engines.base import ENGINES, Engine, run_jobs
from voxmix.engines.job import run_job
from voxmix.engines.job_file import Job, read_job, write_job
from voxmix.engines.progress import heartbeat, write_failure
from voxmix.engines.work import WORKS, Opened
from voxmix.errors import InputError
from voxmix.objectives.mae import train
from voxmix.runs.unfinished import claims_beside
from voxmix.study import StudyView
from voxmix.study.training import train_pending


def one_after_another(chains, *, workers):
    """Run every job in this process."""
    opened = Opened()
    for chain in chains:
        for job in chain:
            run_job(job.folder, opened=opened)
            yield


@pytest.fixture
def study(stored, make_study):
    return make_study(stored[0], workers=2)


def test_an_engine_from_outside_trains_a_study_to_the_same_bits(study, tmp_path, same_run, monkeypatch):
    point = SimpleNamespace(name="here", load=lambda: one_after_another)
    monkeypatch.setattr(_table, "entry_points", lambda group: [point] if group == "voxmix.engines" else [])
    monkeypatch.setattr(ENGINES, "_points", None)  # looked up again, as in a new process
    specs, shown = StudyView(study).proxies, []
    assert train_pending(study, specs, engine="here", progress=lambda *p: shown.append(p)) == ()
    assert shown == sorted(shown)
    assert shown[-1] == (320, 320)
    results = study.results(specs)
    assert {result.details["shared"]["draws"] > 0 for result in results} == {True, False}
    kept = {path.name for spec in specs for path in study.run_dir(spec).iterdir()}
    assert not kept & {"job.json", "progress.json", "failed.json", "notes.json"}
    other = replace(study, root=tmp_path / "other")
    shutil.copytree(study.cache_dir, other.cache_dir)
    other.mark_made("prepare", other.preparation_inputs)
    assert train_pending(other, specs) == ()
    for spec in specs:
        assert same_run(study.run_dir(spec), other.run_dir(spec))
    assert "engine" not in _io.canonical_json(specs[0].as_dict())


def test_engines_are_functions_by_name(job_of, spec):
    assert all(isinstance(engine, Engine) for engine in ENGINES.rows().values())
    with pytest.raises(InputError, match="unknown engine 'locla'; did you mean 'local'"):
        run_jobs([job_of(spec)], engine="locla")


@dataclass(frozen=True)
class Counting:
    """A spec from outside."""

    to: int

    @property
    def run_id(self):
        return f"count-{self.to}"

    def as_dict(self):
        return {"to": self.to}


@dataclass(frozen=True, kw_only=True)
class CountingWork:
    """A work from outside: counts, with a file to write to."""

    kind: ClassVar[str] = "counting"
    read_spec: ClassVar[Callable] = lambda value: Counting(**value)
    spec: Counting
    book: Path
    compute: ComputeSettings = ComputeSettings()  # noqa: RUF009

    @property
    def size(self):
        return self.spec.to

    @property
    def chain(self):
        return "one after the other"

    def run(self, folder, *, opened, device_index, progress):
        with self.book.open("a") as book:
            for number in range(self.spec.to):
                book.write(f"{number}")
                progress(number + 1, self.spec.to)
        _io.write_json(folder / "result.json", {"counted": self.spec.to})


def test_a_work_from_outside_is_a_class_and_a_row(tmp_path):
    jobs = [
        Job(folder=tmp_path / str(n), work=CountingWork(spec=Counting(n), book=tmp_path / "book"))
        for n in (3, 2)
    ]
    write_job(jobs[0])
    with pytest.raises(InputError, match="asks for work 'counting', this voxmix knows"):
        read_job(jobs[0].folder)
    WORKS.add("counting", CountingWork)
    try:
        assert read_job(jobs[0].folder) == jobs[0]
        assert run_jobs(jobs, engine=one_after_another) == ()
    finally:
        WORKS.remove("counting")
    assert (tmp_path / "book").read_text(encoding="utf-8") == "01012"
    assert {path.name for path in jobs[0].folder.iterdir()} == {"result.json"}


def test_a_job_that_an_engine_loses_is_named(job_of, spec, stored):
    jobs = [job_of(replace(spec, cache=stored[0].digest, budget=n)) for n in (8, 16, 24)]

    def loses(chains, *, workers):
        _, second, third = sorted((job for chain in chains for job in chain), key=lambda job: job.work.size)
        with heartbeat(Attempt.begin(second.folder).progress_path, total=16) as told:
            told(1, 2)
            write_failure(second.folder, "the queue's time limit ended it")
            yield
        run_job(third.folder)

    shown = []
    failed = run_jobs(jobs, engine=loses, progress=lambda *p: shown.append(p))
    assert [item.job for item in failed] == jobs[:2]
    assert "ended without a result" in failed[0].reason
    assert failed[1].reason == "the queue's time limit ended it"
    assert shown[0][1] == 48
    assert [job.folder.exists() for job in jobs] == [False, False, True]


def test_a_stopped_engine_is_closed_and_its_files_go(job_of, spec, stored):
    job = job_of(replace(spec, cache=stored[0].digest))
    closed = []

    def engine(chains, *, workers):
        try:
            while True:
                yield
        finally:
            closed.append(workers)

    def interrupted(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([job], engine=engine, workers=3, progress=interrupted)
    assert closed == [3]
    assert not job.folder.exists()


def test_a_run_that_another_process_has_is_waited_for(job_of, spec, stored, tmp_path, same_run):
    cache, evaluation = stored
    mine, theirs = (job_of(replace(spec, cache=cache.digest, budget=n)) for n in (8, 16))
    claim = Claims(claims_beside(theirs.folder), lease_seconds=5).take(theirs.work.chain)
    elsewhere = threading.Timer(1.0, claim.release)
    elsewhere.start()
    began = time.monotonic()
    assert run_jobs([theirs, mine], engine=one_after_another) == ()
    assert time.monotonic() - began > 0.9
    for job in (mine, theirs):
        alone = tmp_path / job.folder.name
        train(job.work.spec, cache=cache, evaluation=evaluation, folder=alone, threads=1)
        assert same_run(job.folder, alone)
    assert not (tmp_path / "runs" / ".work").exists()


def test_a_folder_that_cannot_be_written_to_fails_alone(job_of, spec, stored, tmp_path):
    good, bad = (job_of(replace(spec, cache=stored[0].digest, budget=n)) for n in (8, 16))
    bad.folder.parent.mkdir(parents=True)
    bad.folder.write_text("a file in the place of a folder", encoding="utf-8")
    failed = run_jobs([bad, good], engine=one_after_another)
    assert [item.job for item in failed] == [bad]
    assert "cannot write below" in failed[0].reason
