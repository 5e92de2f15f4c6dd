"""A whole study by workers that are stopped in between is that of one process, and keeps no name of a machine or a person."""

import getpass
import os
import platform
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from voxmix._claims import Claims
from voxmix.compute import ComputeSettings
from voxmix.study import Study, StudyView, run_step
from voxmix.study.config import FitSettings
from voxmix.study.listener import Listener
from voxmix.study.working import Worked, work_on

HOST, USER = "odd-host-7f3q", "odd-user-9z2k"
QUIET = Listener(tell=lambda line: None)
STEPS = ("run", "fit", "allocate", "pretrain")


@pytest.fixture
def odd_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine and its user are called by names that stand nowhere else."""
    plain = os.uname()
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr(socket, "getfqdn", lambda name="": HOST)
    monkeypatch.setattr(platform, "node", lambda: HOST)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((plain[0], HOST, *plain[2:])))
    monkeypatch.setattr(getpass, "getuser", lambda: USER)
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, USER)
    monkeypatch.setenv("HOSTNAME", HOST)


def named(root: Path) -> list[str]:
    """Return the files below a folder whose names or bytes tell the machine or its user."""
    words = (HOST, USER)
    return [
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if any(word in path.name for word in words)
        or (path.is_file() and any(word.encode() in path.read_bytes() for word in words))
    ]


def finished(study: Study) -> int:
    return len(list(study.runs_dir.glob("*/result.json")))


@pytest.fixture
def study(make_study: Callable[..., Study], cache, odd_names: None) -> Study:
    compute = ComputeSettings(threads=1, trackers=("tensorboard",), device="cpu", pictures=False)
    return make_study(cache, compute=compute, workers=1, fit=FitSettings(bootstrap=4))


def work(study: Study, *, step: str | None = None, stop_at: int = 10**6) -> Worked:
    return work_on(
        lambda: StudyView(Study.open(study.root)),
        QUIET,
        step=step,
        stopped=lambda: finished(study) >= stop_at,
    )


def test_runs_name_neither_the_machine_nor_its_user(study: Study) -> None:
    assert (work(study, step="run", stop_at=1).exit_code, finished(study)) == (75, 1)
    assert named(study.root) == []
    with study.lock():  # a claim that is held tells people where its holder is, and goes with it
        told = named(study.root)
    assert [name.partition("/")[0] for name in told] == [".claims"]
    assert work(study, step="run").exit_code == 0
    assert len(list(study.root.glob("runs/*/events.out.tfevents*"))) == finished(study) == 4
    assert named(study.root) == []


@pytest.mark.slow
def test_a_study_by_workers_that_are_stopped_is_that_of_one_process(study: Study, same_run) -> None:
    other = replace(study, root=study.root.with_name("other"))
    shutil.copytree(study.root, other.root)
    for stop_at in (1, 3):
        assert (work(study, stop_at=stop_at).exit_code, finished(study)) == (75, stop_at)
    worked = work(study)
    assert (worked.exit_code, worked.left) == (0, None)
    assert worked.steps == ["fit", "allocate", "report"]
    for step in STEPS:
        run_step(step, other, QUIET)
    view = StudyView(study)
    for spec in {*view.proxies, *view.checks}:
        assert same_run(study.run_dir(spec), other.run_dir(spec))
    for folder in ("laws", "allocations", "."):
        made = sorted(
            path.name
            for path in (study.root / folder).iterdir()
            if path.suffix in (".json", ".csv") and path.name != "steps.json"
        )
        assert made
        for name in made:
            assert (study.root / folder / name).read_bytes() == (other.root / folder / name).read_bytes()
    assert list(study.root.glob("runs/*/events.out.tfevents*"))
    assert named(study.root) == []
    assert not Claims(study.root / ".claims").holders()
