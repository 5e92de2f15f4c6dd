"""Verbs whose runs are made by jobs of a cluster: flags, the script that is shown, a whole study handed over."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from fake_slurm import FakeSlurm
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.cli.json_keys import JSON_KEYS
from voxmix.compute import ComputeSettings
from voxmix.settings import checked

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "cluster.md"


def told(*arguments):
    """Return the exit code of a command, and what it says, its lines joined."""
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


@pytest.fixture
def fake(tmp_path, monkeypatch):
    made = FakeSlurm(tmp_path / "fake")
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    return made


def test_a_whole_study_is_left_to_workers(fake, finished_study):
    command = ("study", "run", finished_study, "--engine", "slurm", "--jobs", 3)
    code, said = told(*command, "--dry-run", "--device", "cpu", "--no-compile", "--tracker", "tensorboard")
    assert code == 0
    assert "#SBATCH --array=0-2 " in said
    assert (
        f"-m \\ voxmix \\ work \\ {finished_study} \\ --device \\ cpu \\ --no-compile \\ --threads \\ 1 \\ --tracker \\ tensorboard &"
        in said
    )
    assert fake.scripts == []
    code, said = told(*command, "--submit-only", "--threads", 1)
    assert (code, len(fake.scripts)) == (0, 1)
    assert said.startswith("submitted: 101. squeue -j 101 shows the jobs, scancel 101 cancels them")
    fake.queue("101_0|RUNNING|None")
    for more, keys in (("--dry-run", {"script"}), ("--submit-only", {"submitted", "logs"})):
        result = CliRunner().invoke(app, [*map(str, command), more, "--json"])
        value = json.loads(result.stdout)
        assert (result.exit_code, set(value), JSON_KEYS["run"].faults(value)) == (0, keys, [])
        assert value.get("submitted", ["101"]) == ["101"]
    code, said = told(*command, "--submit-only")
    assert (code, len(fake.scripts)) == (0, 1)
    assert "jobs of an earlier command go on (101), so no more are submitted" in said


@pytest.mark.parametrize("flags", [("--jobs", 2), ("--submit-only",), ("--dry-run",), ("--partition", "x")])
def test_flags_of_jobs_are_refused_where_runs_are_made_here(flags, finished_study):
    code, said = told("run", finished_study, *flags)
    assert code == 2
    assert "runs are made on this machine; add --engine slurm, or set compute.engine" in said


def test_wrong_settings_of_jobs_are_told_with_their_place(edit, finished_study):
    edit("  cluster: null\n", "  cluster: {minuts: 5}\n")
    code, said = told("run", finished_study)
    assert code == 2
    assert "compute.cluster.minuts: unknown key; did you mean 'minutes'" in said
    edit("minuts: 5", "jobs: 0")
    code, said = told("run", finished_study)
    assert (code, "jobs must be at least 1, got 0" in said) == (2, True)


def test_the_page_shows_settings_and_scripts_that_can_be_read():
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    settings, job, task = [yaml.safe_load(text) for kind, text in blocks if kind == "yaml"]
    assert checked(ComputeSettings, settings["compute"], where="page").cluster.workers_per_job == 2
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "OnFailure"
    assert task["run"].startswith("voxmix work")
    for text in (text for kind, text in blocks if kind == "bash"):
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    [ray] = [text for kind, text in blocks if kind == "python"]
    compile(ray, "page", "exec")
