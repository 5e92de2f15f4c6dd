"""Probes are shared by workers: each is made by one, to the scores of one process; what fails is named once and left alone."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from verbs import voxmix

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from voxmix._claims import Claims
from voxmix.encoder_study import EncoderView, judging, run_step
from voxmix.encoder_study.config_file import write_config
from voxmix.encoder_study.probe_units import ProbePass
from voxmix.probe_tasks import ProbeTask
from voxmix.study.listener import Listener
from voxmix.study.working import Worked, work_on

TASKS = {
    "findings": ProbeTask(kind="labels", labels=("nodule",)),
    "near": ProbeTask(kind="labels", head="knn"),
}


def _scores(root: Path) -> dict[str, Any]:
    return {
        path.parent.relative_to(root).as_posix(): json.loads(path.read_text(encoding="utf-8"))
        | {"seconds": 0}
        for path in (root / "probes").rglob("result.json")
    }


def _work(root: Path, said: list[str] | None = None, **options: Any) -> Worked:
    hear = Listener(tell=(said if said is not None else []).append)
    return work_on(lambda: EncoderView.open(root), hear, step="probe", **options)


@pytest.fixture
def shared(trained: Path) -> Path:
    """A copy of the study with two tasks and one damaged encoder; ``trained`` itself has the same."""
    config = EncoderView.open(trained).config
    compute = replace(config.compute, threads=1)
    write_config(replace(config, tasks=TASKS, compute=compute), trained / "study.yaml")
    folder = sorted(path for path in (trained / "runs").iterdir() if path.is_dir())[0]
    next(folder.glob("*.safetensors")).write_bytes(b"damaged")
    root = trained.with_name("shared")
    shutil.copytree(trained, root)
    return root


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Encoder and task of every probe that is made, in order."""
    plain, found = judging._judge, []

    def counted(view, data, candidate, encoder, store):
        found.append((candidate.judged.name, data.name))
        return plain(view, data, candidate, encoder, store)

    monkeypatch.setattr(judging, "_judge", counted)
    return found


def test_two_workers_make_each_probe_once_and_write_the_scores_of_one(
    trained: Path, shared: Path, judged: list[tuple[str, str]]
) -> None:
    said: list[str] = []
    found: list[Worked] = []
    threads = [threading.Thread(target=lambda: found.append(_work(shared, said))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(judged) == len(set(judged)) == 12
    assert [worked.exit_code for worked in found] == [1, 1]
    assert found[0].failed == found[1].failed
    assert len(found[0].failed) == 2  # the damaged encoder, on two tasks
    assert all(str(shared) not in reason for reason in found[0].failed.values())
    assert any("2 of 14 probes failed" in line for line in said)
    assert not (shared / ".claims").exists()
    alone = run_step("probe", trained, Listener(tell=lambda line: None))
    assert (alone.made, len(alone.failed)) == (12, 2)
    assert _scores(shared) == _scores(trained)
    state = json.loads(voxmix("status", shared, "--json").stdout)
    told = next(step["detail"] for step in state["steps"] if step["step"] == "probe")
    assert told == "12 of 14 probes, 2 failed (voxmix probe tries them again)"
    judged.clear()
    again = _work(shared)
    assert (judged, again.exit_code, again.steps) == ([], 1, [])  # it is left alone
    tried = run_step("probe", shared, Listener(tell=lambda line: None))
    assert (tried.made, len(tried.failed)) == (0, 2)
    assert not (shared / "probes" / ".work").exists()


def test_a_worker_of_two_processes_writes_the_scores_of_one(
    trained: Path, shared: Path, judged: list[tuple[str, str]]
) -> None:
    worked = _work(shared, [], workers=2)
    assert judged == [], "none was judged in this process"
    assert (worked.exit_code, len(worked.failed)) == (1, 2)
    alone = run_step("probe", trained, Listener(tell=lambda line: None))
    assert (alone.made, len(alone.failed)) == (12, 2)
    assert _scores(shared) == _scores(trained)


def test_an_encoder_that_another_process_judges_is_left_to_it(
    shared: Path, judged: list[tuple[str, str]]
) -> None:
    """A worker that is stopped leaves the rest; a command waits for the claim of another and makes what is left."""
    units = ProbePass(EncoderView.open(shared)).units
    first = _work(shared, stopped=lambda: len(judged) >= 3)
    assert (first.left, first.exit_code, len(judged)) == ("probe", 75, 3)
    claims = Claims(shared / ".claims")
    claim = claims.take(f"probe-{units[-1].name}")
    assert claim is not None
    threading.Timer(1.0, claim.release).start()
    done = run_step("probe", shared, Listener(tell=lambda line: None))
    assert (done.made, len(judged)) == (9, 12)
    assert judged[-1][0] == units[-1].probes[0].candidate.judged.name  # what others have comes last


def test_an_encoder_that_ends_its_process_is_named_alone(
    shared: Path, judged: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def alone(work, item, *, killed):
        asked.append(item[1][2])
        return killed

    monkeypatch.setattr(judging, "alone", alone)
    found = ProbePass(EncoderView.open(shared))
    assert found.make(found.units[0], careful=True)
    assert asked == ["findings", "near"]
    assert found.is_done(found.units[0])
    assert all("was killed, twice" in reason for reason in found.failed().values())
    assert not found.is_done(found.units[1])
