"""A study of runs that take seconds, on disk; what came of it as digests, which are equal for equal runs; who works on it."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from voxmix._io import write_json
from voxmix.compute import ClusterSettings, ComputeSettings
from voxmix.design import StudyDesign
from voxmix.run_settings import EvaluationSettings, ModelSettings, TrainingSettings
from voxmix.study import DataSettings, Study, StudyAllocation, StudyConfig, StudyView
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.recipe import Recipe

DOMAINS = ("CT", "MR")
EDGE = 20
PULLING = "voxmix.engines.pull"


def make_study(
    root: Path, *, budgets: tuple[int, ...], lease: float = 6.0, schedule: str = "cosine", **cluster: Any
) -> Study:
    """Return a study of volumes of noise, prepared; every run is computed with one thread."""
    config = StudyConfig(
        name="tiny",
        data=DataSettings(path="volumes"),
        model=ModelSettings(
            crop=16, patch=8, width=24, depth=2, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
        ),
        training=TrainingSettings(learning_rate=2e-3, batch_size=8, warmup_steps=2, schedule=schedule),
        evaluation=EvaluationSettings(crops_per_domain=4),
        design=StudyDesign(budgets=budgets, anchor_seeds=0),
        allocation=StudyAllocation(budget=2 * budgets[-1]),
        compute=ComputeSettings(
            device="cpu", threads=1, trackers=(), pictures=False, checkpoint_seconds=0.5, lease_seconds=lease,
            cluster=ClusterSettings(**{"python": sys.executable, "minutes": 30, **cluster}),
        ),
    )  # fmt: skip
    study = Study.create(root, config)
    _prepare(study)
    study.mark_made("prepare", study.preparation_inputs)
    return study


def _prepare(study: Study) -> None:
    volumes = []
    (study.cache_dir / "volumes").mkdir(parents=True)
    for d, name in enumerate(DOMAINS):
        for i in range(6):
            file = f"volumes/{name}-{i}.npy"
            values = np.random.default_rng([d, i]).random((EDGE,) * 3) ** (1 + d)
            np.save(study.cache_dir / file, values.astype(np.float16))
            volumes.append(
                PreparedVolume(
                    key=f"{name}-{i}",
                    domain=name,
                    subject=str(i),
                    split="train" if i < 4 else "validation",
                    shape=(EDGE,) * 3,
                    spacing_mm=1.5,
                    file=file,
                )
            )
    rule = IntensityRule(kind="percentile", low=0.5, high=99.5)
    recipe = Recipe(spacing_mm=1.5, min_shape=(16, 16, 16), intensity=dict.fromkeys(DOMAINS, rule))
    cache = PreparedCache(root=study.cache_dir, volumes=tuple(volumes), recipe=recipe)
    write_json(study.cache_dir / "index.json", cache.as_dict())


def voxmix(
    *arguments: object, environment: dict[str, str] | None = None, seconds: float = 900
) -> subprocess.CompletedProcess[str]:
    """Run voxmix in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "voxmix", *map(str, arguments)],
        env=environment or dict(os.environ), capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


def finished_runs(study: Study) -> list[Path]:
    """Return the folders of the proxy runs that are finished."""
    return [
        run for spec in StudyView(study).proxies if ((run := study.run_dir(spec)) / "result.json").is_file()
    ]


def outcome(study: Study) -> dict[str, Any]:
    """Return what must be equal, bit for bit, however the runs were made: weights, metrics and losses of each, and the table."""
    found: dict[str, Any] = {}
    for run in finished_runs(study):
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
        found[run.name] = {
            "weights": hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest(),
            "metrics": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
            "steps": [row["step"] for row in rows if "step" in row],
            "losses": result["losses"],
        }
    if study.measurements_path.exists():
        found["table"] = study.measurements_path.read_text(encoding="utf-8")
    return found


def marks(study: Study) -> dict[str, tuple[str, int]]:
    """Return of every file of finished runs its digest and when it was written: unchanged where nothing was made twice."""
    return {
        str(path.relative_to(study.root)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for run in finished_runs(study)
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


def processes(study: Study, word: str = PULLING) -> list[int]:
    """Return the numbers of the processes that work on the runs of a study, by what they were called with and where."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            place = Path(os.readlink(entry / "cwd"))
        except OSError:
            continue
        if word in command[1:4] and place in (study.runs_dir.resolve(), study.root.resolve()):
            found.append(int(entry.name))
    return sorted(found)


def until(true: Callable[[], Any], *, seconds: float = 300, pause: float = 0.2) -> Any:
    """Wait until something is true; return it."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause)
    return found
