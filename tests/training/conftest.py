"""A tiny prepared cache of blobs, settings that train in a second, and runs in processes of their own."""

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from voxmix import _io
from voxmix.design import RunSpec, StudyDesign
from voxmix.mixture import Mixture
from voxmix.objectives.mae import EvaluationSet, train
from voxmix.run_settings import EvaluationSettings, ModelSettings, TrainingSettings
from voxmix.runs import read_run
from voxmix.study import DataSettings, Study, StudyAllocation, StudyConfig
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.recipe import Recipe

EDGE = 20
MakeCache = Callable[..., PreparedCache]


def blobs(rng: np.random.Generator, edge: int, count: int) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, edge)] * 3, indexing="ij"))
    values = np.zeros((edge,) * 3)
    for _ in range(count):
        center, radius = rng.uniform(-0.6, 0.6, 3), rng.uniform(0.2, 0.7, 3)
        inside = (((grid - center[:, None, None, None]) / radius[:, None, None, None]) ** 2).sum(axis=0) < 1
        values[inside] = rng.uniform(0.2, 0.9)
    return np.clip(values, 0, 1).astype(np.float16)


@pytest.fixture(scope="session")
def make_cache(tmp_path_factory: pytest.TempPathFactory) -> MakeCache:
    """Return a function that makes a cache: training volumes per domain, validation volumes, edge."""

    def make(train: dict[str, int], *, validation: int = 2, edge: int = EDGE) -> PreparedCache:
        root = tmp_path_factory.mktemp("cache")
        (root / "volumes").mkdir()
        volumes = []
        for d, (name, count) in enumerate(train.items()):
            rng = np.random.default_rng([d, 7])
            for i in range(count + validation):
                file = f"volumes/{name}-{i}.npy"
                np.save(root / file, blobs(rng, edge, 2 + 3 * d))
                split = "train" if i < count else "validation"
                volumes.append(
                    PreparedVolume(
                        key=f"{name}-{i}",
                        domain=name,
                        subject=str(i),
                        split=split,
                        shape=(edge,) * 3,
                        spacing_mm=1.5,
                        file=file,
                    )
                )
        rule = IntensityRule(kind="percentile", low=0.5, high=99.5)
        return PreparedCache(
            root=root,
            volumes=tuple(volumes),
            recipe=Recipe(spacing_mm=1.5, min_shape=(16, 16, 16), intensity=dict.fromkeys(train, rule)),
        )

    return make


@pytest.fixture(scope="session")
def cache(make_cache: MakeCache) -> PreparedCache:
    return make_cache({"CT": 5, "MR": 3})


@pytest.fixture(scope="session")
def model_settings() -> ModelSettings:
    return ModelSettings(
        crop=16, patch=4, width=24, depth=2, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
    )


@pytest.fixture(scope="session")
def training_settings() -> TrainingSettings:
    return TrainingSettings(learning_rate=2e-3, batch_size=8, warmup_steps=2)


@pytest.fixture(scope="session")
def evaluation_settings() -> EvaluationSettings:
    return EvaluationSettings(crops_per_domain=6)


@pytest.fixture
def make_study(
    model_settings: ModelSettings,
    training_settings: TrainingSettings,
    evaluation_settings: EvaluationSettings,
    tmp_path: Path,
) -> Callable[..., Study]:
    """Return a function that makes a study of a prepared cache: four chains of two budgets on trunks."""

    def make(cache: PreparedCache, **more: Any) -> Study:
        config = StudyConfig(
            name="small",
            data=DataSettings(path="volumes"),
            allocation=StudyAllocation(budget=200),
            model=model_settings,
            training=replace(training_settings, schedule="trunk"),
            evaluation=evaluation_settings,
            design=StudyDesign(budgets=(60, 100), anchor_seeds=0),
            **more,
        )
        study = Study.create(tmp_path / "study", config)
        shutil.copytree(cache.root, study.cache_dir)
        _io.write_json(study.cache_dir / "index.json", cache.as_dict())
        study.mark_made("prepare", study.preparation_inputs)
        return study

    return make


@pytest.fixture(scope="session")
def evaluation(cache, model_settings, evaluation_settings):
    return EvaluationSet.build(cache, model=model_settings, evaluation=evaluation_settings)


@pytest.fixture(scope="session")
def spec(cache, model_settings, training_settings, evaluation_settings):
    return RunSpec(
        mixture=Mixture.from_dict({"CT": 0.7, "MR": 0.3}),
        budget=100,  # 13 steps of 8, the last of 4
        seed=11,
        model=model_settings,
        training=training_settings,
        evaluation=evaluation_settings,
        cache=cache.digest,
    )


@pytest.fixture(scope="session")
def finished(spec, cache, evaluation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / spec.run_id
    train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    return folder


@pytest.fixture(scope="session")
def metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """Return a function that reads the rows of a run's metrics."""
    return lambda folder: [
        json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]


@pytest.fixture(scope="session")
def same_run(metrics) -> Callable[[Path, Path], bool]:
    """Return whether two finished runs have the same weights, metrics and losses, bit for bit."""

    def same(first: Path, second: Path) -> bool:
        a, b = (safetensors.torch.load_file(folder / "weights.safetensors") for folder in (first, second))
        return (
            all(torch.equal(a[name], b[name]) for name in a)
            and metrics(first) == metrics(second)
            and read_run(first).losses == read_run(second).losses
        )

    return same


RUN_IN_CHILD = textwrap.dedent("""
    import json, sys
    from pathlib import Path
    from voxmix.compute import ComputeSettings
    from voxmix.design import RunSpec
    from voxmix.objectives.mae import EvaluationSet, train
    from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
    from voxmix.volumes.recipe import Recipe

    root, evaluation, folder = (Path(p) for p in sys.argv[1:4])
    index = json.loads((root / "test-index.json").read_text(encoding="utf-8"))
    volumes = tuple(PreparedVolume.from_dict(v) for v in index["volumes"])
    cache = PreparedCache(root=root, volumes=volumes, recipe=Recipe.from_dict(index["recipe"]))
    spec = RunSpec.from_dict(json.loads(sys.argv[4]))

    def progress(done, total):
        print(done, flush=True)

    train(spec, cache=cache, evaluation=EvaluationSet.load(evaluation), folder=folder, threads=1,
          compute=ComputeSettings(**json.loads(sys.argv[5])), progress=progress)
""")


@pytest.fixture
def child_arguments(cache, evaluation, tmp_path):
    """Return a function that gives the arguments with which Python trains a run in a process of its own.

    ``prepared`` is a cache and an evaluation set other than the usual ones.
    """
    usual = (cache, evaluation)

    def arguments(spec: RunSpec, folder: Path, *, prepared: Any = usual, **compute: Any) -> list[str]:
        cache, evaluation = prepared
        script, stored = tmp_path / "child.py", tmp_path / "evaluation.safetensors"
        script.write_text(RUN_IN_CHILD, encoding="utf-8")
        settings = json.dumps({"checkpoint_seconds": 0.05, **compute})
        evaluation.save(stored)
        (cache.root / "test-index.json").write_text(json.dumps(cache.as_dict()), encoding="utf-8")
        return [str(a) for a in (script, cache.root, stored, folder, json.dumps(spec.as_dict()), settings)]

    return arguments


@pytest.fixture
def train_together(child_arguments):
    """Return a function that trains a run by several processes, as torchrun starts them."""

    def together(spec: RunSpec, folder: Path, *, devices: int, **compute: Any) -> None:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        arguments = child_arguments(spec, folder, devices=devices, **compute)
        done = subprocess.run(
            [*launcher, str(devices), *arguments], capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]

    return together
