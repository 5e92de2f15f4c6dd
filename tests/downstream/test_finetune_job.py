"""A finetuning run as a job: its folder alone gives the same scores to the bit; every part of a task survives the file."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import voxmix
from voxmix.compute import ComputeSettings
from voxmix.datasets.table import tasks_of_sets
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.finetune import finetune
from voxmix.downstream.protocol import Protocol
from voxmix.downstream.spec import FinetuneSpec
from voxmix.engines.job_file import Job, read_job, write_job
from voxmix.engines.work import FinetuningWork
from voxmix.errors import InputError
from voxmix.run_settings import ModelSettings
from voxmix.runs.unfinished import desk_of
from voxmix.volumes.intensity import IntensityRule


def job_of(spec: FinetuneSpec, folder: Path, cases: Path, **more: Any) -> Job:
    compute = ComputeSettings(device="cpu", trackers=())
    return Job(folder=folder, work=FinetuningWork(spec=spec, cases=cases, compute=compute, threads=1, **more))


def test_a_folder_alone_gives_the_same_scores(
    cases: CaseSet, protocol_of: Callable[..., Protocol], tmp_path: Path
) -> None:
    spec = FinetuneSpec(protocol=protocol_of(cases), init="scratch", seed=3)
    folder = tmp_path / "downstream/boxes/scratch/seed-3"
    job = job_of(spec, folder, cases.cache.root, predictions=True)
    write_job(job)
    assert str(tmp_path) not in (desk_of(folder) / "job.json").read_text(encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(voxmix.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "voxmix.engines.job", str(folder)]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    finetune(spec, cases=cases, encoder=None, folder=tmp_path / "here", threads=1)
    there, here = (
        json.loads((path / "result.json").read_text(encoding="utf-8")) for path in (folder, tmp_path / "here")
    )
    for name in ("run_id", "cases", "curve", "protocol_digest", "threads"):
        assert there[name] == here[name], name
    assert (folder / "metrics.jsonl").read_bytes() == (tmp_path / "here/metrics.jsonl").read_bytes()
    assert len(list((folder / "predictions").iterdir())) == len(cases.part("test"))
    left = {path.name for path in folder.iterdir()}
    assert left == {"spec.json", "metrics.jsonl", "result.json", "montage.npz", "predictions"}


def test_every_task_survives_the_file(model_settings: ModelSettings, cases: CaseSet, tmp_path: Path) -> None:
    rule = IntensityRule(kind="percentile", low=1.0, high=99.0)
    odd = replace(cases.task, older_labels={12: 2, 5: 1}, ignore=(9,), subject_pattern="p(.)", intensity=rule)
    for number, task in enumerate([*tasks_of_sets(), odd]):
        protocol = Protocol(task=task, model=model_settings, cases="0123456789abcdef")
        spec = FinetuneSpec(protocol=protocol, init="single", seed=1, control="frozen", checkpoint="abc")
        job = job_of(spec, tmp_path / str(number), tmp_path / "cases", encoder=tmp_path / "runs/abc")
        write_job(job)
        found = read_job(job.folder).work
        assert isinstance(found, FinetuningWork)
        assert found.spec.run_id == spec.run_id
        assert found.spec.protocol.task.as_dict() == task.as_dict()
        assert (found.encoder, found.cases) == (tmp_path / "runs/abc", tmp_path / "cases")


def test_a_protocol_of_another_version_is_refused(
    model_settings: ModelSettings, cases: CaseSet, tmp_path: Path
) -> None:
    protocol = Protocol(task=cases.task, model=model_settings, cases="0")
    write_job(job_of(FinetuneSpec(protocol=protocol, init="scratch", seed=1), tmp_path, tmp_path))
    path = desk_of(tmp_path) / "job.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["spec"]["protocol"]["version"] = 99
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(InputError, match="protocol has version 99, this voxmix reads 1"):
        read_job(tmp_path)
