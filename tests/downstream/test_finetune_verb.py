"""voxmix finetune on a tiny study: encoders are pretrained, cases prepared, results written, nothing made twice."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from voxmix.cli import app

SETTINGS = {
    "recipe": {"spacing_mm": 2.0, "min_shape": [16, 16, 16]},
    "model": {
        "crop": 16, "patch": 4, "width": 24, "depth": 2, "heads": 2, "decoder_width": 12, "decoder_depth": 1,
        "decoder_heads": 2,
    },
    "training": {"learning_rate": 0.002, "batch_size": 8, "warmup_steps": 2},
    "evaluation": {"crops_per_domain": 2},
    "data": {"validation_fraction": 0.5},
    "allocation": {"budget": 16, "seeds": 2},
    "workers": 1,
}  # fmt: skip
TASKS = {
    "boxes": {
        "kind": "segmentation",
        "domain": "CT",
        "data": "../data",
        "classes": {"background": 0, "box": 1, "bar": 2},
        "split": [0.6, 0.2, 0.2],
        "settings": {"draws": 8, "batch_size": 4, "feature_size": 4, "validations": 1},
    },
    "boxes-long": {"like": "boxes", "settings": {"draws": 12}},
}


def voxmix(*arguments: str) -> Result:
    """Run a verb in this process: only the training workers are processes of their own."""
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def study(dataset: Path, write_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    # One thread: on a busy machine, two that wait for each other take ten times as long.
    monkeypatch.setattr("voxmix.study.making.cores", lambda: 1)
    rng = np.random.default_rng(0)
    for number in range(4):
        write_image(
            dataset / f"MR/m{number}/m{number}.nii.gz", rng.uniform(1, 9, (20, 20, 20)).astype(np.float32)
        )
    root = dataset.parent / "study"
    command = [sys.executable, "-m", "voxmix", "init", str(root), "--data", str(dataset)]
    subprocess.run(command, check=True, capture_output=True)
    path = root / "study.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, change in SETTINGS.items():
        values[name] = {**values[name], **change} if isinstance(change, dict) else change
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    (root / "tasks.yaml").write_text(yaml.safe_dump(TASKS), encoding="utf-8")
    return root


def test_from_volumes_to_scores(study: Path) -> None:
    pending = voxmix("finetune", str(study), "--task", "boxes")
    assert pending.exit_code == 2
    assert "voxmix prepare" in pending.output
    assert voxmix("prepare", str(study)).exit_code == 0
    asked = [
        "finetune",
        str(study),
        "--task",
        "boxes",
        "--init",
        "scratch",
        "--init",
        "single",
        "--seeds",
        "2",
    ]
    done = voxmix(*asked)
    assert done.exit_code == 0, done.output
    assert "training subjects were pretrained on too" in done.output
    folder = study / "downstream/boxes"
    results = {
        path: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*/seed-*/result.json"))
    }
    assert [path.parent.relative_to(folder).as_posix() for path in results] == [
        f"{init}/seed-{seed}" for init in ("scratch", "single") for seed in range(2)
    ]
    assert len({found["protocol_digest"] for found in results.values()}) == 1
    used = [found["checkpoint"] for found in results.values()]
    assert used[:2] == [None] * 2
    assert used[2] != used[3]  # a pretraining run each
    assert all((study / "runs" / run / "result.json").exists() for run in used[2:])
    before = {path: path.stat().st_mtime_ns for path in results}
    again = voxmix(*asked, "--json")
    assert again.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in results} == before
    for path in folder.rglob("*.json*"):
        text = path.read_text(encoding="utf-8")
        assert str(study.parent) not in text, path
        assert not any(f"p{number}." in text or f'"p{number}"' in text for number in range(10)), path

    checkpoint = str(study / "runs" / used[3])
    own = ["--task", "boxes-long", "--init", checkpoint, "--frozen", "--seeds", "1"]
    done = voxmix("finetune", str(study), *own)
    assert done.exit_code == 0, done.output
    assert "leakage cannot be ruled out" in done.output
    (path,) = (study / "downstream/boxes-long").glob("checkpoint-*-frozen/seed-0/result.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["draws"], found["control"], found["checkpoint"]) == (12, "frozen", used[3])

    card = study / "runs" / used[3] / "card.json"
    honest = card.read_text(encoding="utf-8")
    card.write_text(honest.replace('"spacing_mm": 2.0', '"spacing_mm": 1.5'), encoding="utf-8")
    refused = voxmix("finetune", str(study), "--task", "boxes", "--init", checkpoint)
    assert refused.exit_code == 2
    assert "spacing_mm is 2.0, the encoder's 1.5" in refused.output
    card.write_text(honest, encoding="utf-8")

    (study / "tasks.yaml").write_text(
        yaml.safe_dump({**TASKS, "boxes": {**TASKS["boxes"], "settings": {"draws": 9}}}), encoding="utf-8"
    )
    changed = voxmix(*asked)
    assert changed.exit_code == 2
    assert "other settings" in changed.output


REFUSED = [
    (["--task", "boxxes"], "unknown task"),
    (["--task", "boxes", "--init", "best"], "unknown initialization"),
    (["--task", "amos-ct", "--init", "scratch"], "give --data"),
    (["--task", "boxes", "--init", "scratch", "--control", "cold"], "unknown control"),
    (["--task", "boxes", "--init", "scratch", "--frozen"], "needs pretrained weights"),
    (["--task", "boxes", "--init", "single", "--frozen", "--control", "permuted"], "two controls"),
    (["--task", "boxes", "--init", "scratch", "--data", "nowhere"], "no such folder"),
]


def test_what_cannot_be_is_refused_in_words(study: Path) -> None:
    assert voxmix("prepare", str(study)).exit_code == 0
    for arguments, says in REFUSED:
        done = voxmix("finetune", str(study), *arguments)
        assert done.exit_code == 2, done.output
        assert says in " ".join(done.output.split())
        assert "Traceback" not in done.output


def test_the_study_s_compute_settings_reach_finetuning(study: Path) -> None:
    values = yaml.safe_load((study / "study.yaml").read_text(encoding="utf-8"))
    values["compute"] = {"device": "cpu", "devices": 2, "micro_batch": 2, "trackers": []}
    (study / "study.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    tasks = {**TASKS, "boxes-half": {"like": "boxes", "settings": {"precision": "bf16-mixed"}}}
    (study / "tasks.yaml").write_text(yaml.safe_dump(tasks), encoding="utf-8")
    assert voxmix("prepare", str(study)).exit_code == 0
    asked = ["finetune", str(study), "--task", "boxes-half", "--init", "scratch", "--seeds", "1"]
    done = voxmix(*asked, "--micro-batch", "1", "--loaders", "1")  # flags win over the file
    assert done.exit_code == 0, done.output
    folder = study / "downstream/boxes-half/scratch/seed-0"
    computed = json.loads((folder / "result.json").read_text(encoding="utf-8"))["computed"]
    expected = {"devices": 2, "strategy": "ddp", "micro_batch": 1, "loaders": 1, "precision": "bf16-mixed"}
    assert computed == {**computed, **expected}
    assert not list(folder.glob("events.*"))
