"""Workers on a study: runs as they come free, whole steps by one, exit codes; two give what one command gives."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from verbs import voxmix

import voxmix as package
from voxmix import _io
from voxmix._claims import Claims
from voxmix.cli import steps
from voxmix.cli.json_keys import JSON_KEYS
from voxmix.compute import ComputeSettings
from voxmix.engines.attempts import Attempt
from voxmix.engines.progress import heartbeat, write_failure
from voxmix.runs.unfinished import claims_beside, desk_of
from voxmix.study import Study, StudyView
from voxmix.study.listener import Listener
from voxmix.study.training import train_pending
from voxmix.study.working import work_on


@pytest.fixture
def study(cache, make_study):
    return make_study(
        cache, workers=1, compute=ComputeSettings(threads=1, trackers=(), device="cpu", pictures=False)
    )


def worker(study: Study, *flags: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    command = [sys.executable, "-m", "voxmix", "work", str(study.root), "--json", *flags]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_workers_make_each_run_once_and_to_the_same_bits(study, tmp_path, same_run):
    workers = [worker(study, "--step", "run") for _ in range(2)]
    outputs = [process.communicate(timeout=250) for process in workers]
    assert [process.returncode for process in workers] == [0, 0], outputs
    specs = StudyView(study).proxies
    made = [json.loads(out)["made"] for out, _ in outputs]
    assert sorted([*made[0], *made[1]]) == sorted({spec.run_id for spec in specs})
    assert study.measurements_path.exists()
    assert not (study.runs_dir / ".work").exists()
    assert not (study.root / ".claims").exists()
    other = replace(study, root=tmp_path / "other")
    shutil.copytree(study.cache_dir, other.cache_dir)
    other.mark_made("prepare", other.preparation_inputs)
    assert train_pending(other, specs) == ()
    for spec in specs:
        assert same_run(study.run_dir(spec), other.run_dir(spec))


def test_a_worker_makes_what_is_left_and_writes_the_table_once(study, monkeypatch):
    done = voxmix("work", study.root, "--step", "run", "--until", "0", "--json")
    assert done.exit_code == 75
    value = json.loads(done.stdout)
    assert JSON_KEYS["work"].faults(value) == []
    assert (value["made"], value["left"], value["others"], value["exit_code"]) == ([], "run", None, 75)
    done = voxmix("work", study.root, "--step", "run", "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["made"]) == 4
    written = study.measurements_path.stat().st_mtime_ns
    done = voxmix("work", study.root, "--step", "run")
    assert "nothing is left; 0 runs made here" in done.stdout
    assert study.measurements_path.stat().st_mtime_ns == written


def test_a_failed_run_is_named_and_the_others_are_made(study):
    view = StudyView(study)
    bad = view.proxies[0]
    _io.write_json(study.run_dir(bad) / "spec.json", {"of": "another run"})
    (study.run_dir(bad) / "state.pt").write_bytes(b"no state")
    done = voxmix("work", study.root, "--step", "run", "--json")
    assert done.exit_code == 1, done.output
    value = json.loads(done.stdout)
    assert list(value["failed"]) == [bad.run_id]
    assert len(value["made"]) == 3
    assert value["left"] == "run"
    again = voxmix("work", study.root, "--step", "run", "--json")
    assert json.loads(again.stdout)["made"] == [], "it is left alone"
    shutil.rmtree(desk_of(study.run_dir(bad)) / "attempts")
    tried = voxmix("run", study.root)
    assert tried.exit_code == 0, tried.output
    assert voxmix("work", study.root, "--step", "run").exit_code == 0


def test_what_is_done_by_one_command_alone_is_no_workers(study):
    done = voxmix("work", study.root, "--step", "refine")
    assert done.exit_code == 2
    assert "is done by one command alone" in " ".join(done.output.split())
    assert voxmix("work", study.root, "--step", "fti").exit_code == 2
    assert voxmix("work", study.root, "--step", "finetune", "--json").exit_code == 0, "nothing was asked for"


def test_the_study_is_not_held_while_runs_are_waited_for(study):
    """Another worker has the one trunk that is left; a command that holds the study goes on meanwhile."""
    specs = StudyView(study).proxies
    claims = Claims(claims_beside(study.run_dir(specs[0])))
    held = [claims.take(spec.trunk_id) for spec in specs]
    looks = []

    def stopped():
        with study.lock():
            looks.append(True)
        return len(looks) > 8

    worked = work_on(lambda: StudyView(Study.open(study.root)), step="run", stopped=stopped)
    assert (worked.made, worked.left, worked.exit_code) == ([], "run", 75)
    for claim in filter(None, held):
        claim.release()


def test_a_worker_that_finds_nothing_to_take_ends_while_others_go_on(study, monkeypatch):
    """Within a lease and a half of the study's own; with --wait it stays until the other gives its run back."""
    specs = StudyView(study).proxies
    text = study.path.read_text(encoding="utf-8").replace("lease_seconds: 120.0", "lease_seconds: 0.6")
    study.path.write_text(text, encoding="utf-8")
    claims = Claims(claims_beside(study.run_dir(specs[0])), lease_seconds=0.6)
    held = list(filter(None, (claims.take(spec.trunk_id) for spec in specs)))
    told = []
    hear = Listener(inform=told.append)
    began = time.monotonic()
    worked = work_on(lambda: StudyView(Study.open(study.root)), hear, step="run", wait=False)
    assert 0.9 < time.monotonic() - began < 30
    assert (worked.made, worked.left, worked.exit_code) == ([], "run", 0)
    assert worked.others == "the workers that make the runs that are left"
    assert "run: the rest is left to the workers that make the runs that are left" in told[-1]
    assert not study.measurements_path.exists()

    def give_back():
        time.sleep(2)  # longer than it would wait otherwise
        for claim in held:
            claim.release()

    threading.Thread(target=give_back).start()
    worked = work_on(lambda: StudyView(Study.open(study.root)), hear, step="run", wait=True)
    assert (len(worked.made), worked.left, worked.others) == (4, None, "")
    assert study.measurements_path.exists()


def test_a_worker_leaves_a_step_of_one_to_who_holds_the_study(study):
    """Its claims have the lease of the study's own settings, and so has the study's lock."""
    compute = replace(study.config.compute, lease_seconds=0.5)
    brief = replace(study, config=replace(study.config, compute=compute))
    assert train_pending(brief, StudyView(brief).proxies) == ()
    with brief.lock():
        [path] = (study.root / ".claims").iterdir()
        assert json.loads(path.read_text(encoding="utf-8"))["lease"] == 0.5
        worked = work_on(lambda: StudyView(brief), step="run", wait=False)
    assert (worked.left, worked.exit_code) == ("run", 0)
    assert worked.others.startswith(f"pid {os.getpid()} on ")
    taken = []
    plain = Claims.take

    def take(self, name):
        taken.append((name, self.lease_seconds))
        return plain(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Claims, "take", take)
        assert work_on(lambda: StudyView(brief), step="run").left is None
    assert taken == [("study", 0.5)]


def test_status_says_who_works_on_what_and_what_failed(study):
    first, second, third, _ = StudyView(study).proxies
    run = study.run_dir(first)
    claims = Claims(claims_beside(run))
    claim = claims.take(first.trunk_id)
    running = Attempt.begin(run, claim=claim.name)
    _io.write_json(running.folder / "spec.json", first.as_dict())
    Attempt.begin(study.run_dir(second)).end("stopped")
    write_failure(study.run_dir(third), "the loss is nan", attempts=1, job="Slurm 12_3")
    with claim, heartbeat(running.progress_path, total=60) as told:
        told(10, 60)
        told(30, 60)
        time.sleep(1.3)  # a beat, some time after the first word
        shown = voxmix("status", study.root)
        value = json.loads(voxmix("status", study.root, "--json").stdout)["now"]
    said = " ".join(shown.stdout.replace("│", " ").split())
    assert f"runs/{run.name}" in said
    assert f"pid {os.getpid()}" in said
    assert "50%" in said
    assert "runs: 1 running, 1 failed, 1 stopped, 1 waiting" in said
    assert f"runs/{third.run_id} 1 Slurm 12_3 the loss is nan" in said
    found = {item["run"]: item for item in value["runs"]}
    assert found[f"runs/{run.name}"]["worker"]["process"] == os.getpid()
    assert (found[f"runs/{run.name}"]["done"], found[f"runs/{run.name}"]["total"]) == (30, 60)
    assert found[f"runs/{run.name}"]["rate"] > 0
    assert found[f"runs/{second.run_id}"]["state"] == "stopped"
    assert (value["waiting"], value["held_by"]) == (1, None)
    assert voxmix("status", study.root, "--watch", "--json").exit_code == 2


def test_a_status_that_is_watched_is_shown_until_nothing_is_left(study, monkeypatch):
    monkeypatch.setattr(steps, "_WATCH_SECONDS", 0.01)
    left = [None, None, "all"]
    monkeypatch.setattr("voxmix.cli.study.do", lambda *given, **more: left.pop(0))
    assert voxmix("status", study.root, "--watch").exit_code == 0
    assert left == []
