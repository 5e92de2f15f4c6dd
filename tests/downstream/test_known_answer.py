"""The whole chain on a known answer: where a good encoder must help it does, where none can it does not.

A short version of ``make downstream-known``: stripes whose direction is the class, and a coin.
"""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from voxmix.datasets.sets.folder import read_folder
from voxmix.datasets.task import ClassTable, Task
from voxmix.design import RunSpec
from voxmix.downstream.build_cases import build_cases
from voxmix.downstream.finetune import finetune
from voxmix.downstream.protocol import FinetuneSettings, Protocol
from voxmix.downstream.spec import FinetuneSpec
from voxmix.encoders import load_encoder
from voxmix.mixture import Mixture
from voxmix.objectives.mae import EvaluationSet, train
from voxmix.run_settings import EvaluationSettings, ModelSettings, TrainingSettings
from voxmix.scores.result import Control
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.recipe import Recipe

DOMAIN = "STRIPES-CT"
RECIPE = Recipe(
    spacing_mm=2.0,
    min_shape=(16, 16, 16),
    crop_foreground=False,
    intensity={DOMAIN: IntensityRule(kind="window", low=0, high=100)},
)
SETTINGS = FinetuneSettings(
    draws=480, batch_size=16, learning_rate=1e-3, warmup_steps=5, validations=1, rotation=0, shift=0.02
)


@pytest.fixture(scope="module")
def known() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks/downstream_known.py"
    found = spec_from_file_location("downstream_known", path)
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_pretraining_helps_where_it_must_and_not_where_it_cannot(known: ModuleType, tmp_path: Path) -> None:
    volumes = tmp_path / "volumes"
    known.make_volumes(volumes)
    model = ModelSettings(**known.MODEL)
    split = read_folder(volumes).select([DOMAIN]).split(seed=0, fraction=0.5)
    cache = prepare(split, recipe=RECIPE, root=tmp_path / "cache").cache
    evaluation = EvaluationSet.build(cache, model=model, evaluation=EvaluationSettings(crops_per_domain=4))
    spec = RunSpec(
        mixture=Mixture.pure((DOMAIN,), DOMAIN),
        budget=6000,
        seed=0,
        model=model,
        training=TrainingSettings(learning_rate=2e-3, batch_size=8, warmup_steps=10),
        cache=cache.digest,
    )
    train(spec, cache=cache, evaluation=evaluation, folder=tmp_path / "run", threads=1)
    encoder = load_encoder(tmp_path / "run")

    def accuracy(task: Task, init: str, control: Control | None = None) -> float:
        root = tmp_path / task.name
        cases, _ = build_cases(task, volumes, root=root / "cases", recipe=RECIPE, crop=16, pretrained=cache)
        protocol = Protocol(task=task, model=model, cases=cases.digest, settings=SETTINGS)
        loaded = None if init == "scratch" else encoder
        plan = FinetuneSpec(
            protocol=protocol, init=init, seed=0, control=control, checkpoint=loaded and spec.run_id
        )
        folder = root / f"{init}-{control}"
        finetune(plan, cases=cases, encoder=loaded, folder=folder, threads=1)
        rows = json.loads((folder / "result.json").read_text(encoding="utf-8"))["cases"]
        assert len(rows) > 50
        return float(np.mean([row["truth"] == int(np.argmax(row["probability"])) for row in rows]))

    def task(name: str, *classes: str) -> Task:
        return Task(
            name=name,
            kind="classification",
            domain=DOMAIN,
            classes={kind: (kind,) for kind in classes},
            table=ClassTable(file="table.csv", value=name),
            split=(24, 8, 64),
            samples=1,
        )

    direction, coin = task("direction", *known.DIRECTIONS), task("coin", "heads", "tails")
    pretrained = accuracy(direction, "single")
    assert pretrained > 0.7
    assert pretrained > accuracy(direction, "scratch") + 0.2
    assert pretrained > accuracy(direction, "single", "permuted") + 0.2
    # 64 throws: three standard errors are 0.19. More would mean that test cases leak into training.
    assert abs(accuracy(coin, "single") - 0.5) < 0.19
