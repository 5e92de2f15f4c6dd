"""A finished study of three domains, made without a volume and without torch."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from voxmix._io import write_json
from voxmix.design import ModelSettings, RunSpec, StudyDesign, TrainingSettings
from voxmix.study import (
    DataSettings,
    FitSettings,
    Study,
    StudyAllocation,
    StudyConfig,
    allocate_strategies,
    check_runs,
    fit_laws,
    make_report,
    proxy_runs,
    proxy_table,
)
from voxmix.volumes import PreparedCache, Recipe
from voxmix.volumes.preparing.cache import PreparedVolume

DOMAINS = ("ABD-CT", "BRAIN-T1", "HN-CT")


def _result(study: Study, spec: RunSpec) -> None:
    rng = np.random.default_rng([spec.budget, spec.seed, *(spec.mixture.weights * 1e4).astype(int)])
    worth = (np.eye(3) * 0.8 + 0.2).T @ (spec.mixture.weights * spec.budget)
    losses = (0.02 + worth**-0.5) * np.exp(0.02 * rng.standard_normal(3))
    folder = study.run_dir(spec)
    write_json(
        folder / "result.json",
        {
            "kind": "run",
            "format": 1,
            "run_id": spec.run_id,
            "spec": spec.as_dict(),
            "losses": {
                name: {"loss": float(loss), "loss_se": 0.001}
                for name, loss in zip(DOMAINS, losses, strict=True)
            },
            "draws": dict(zip(DOMAINS, spec.mixture.draws(spec.budget).tolist(), strict=True)),
            "unique_volumes": dict.fromkeys(DOMAINS, 8),
            "volumes": dict.fromkeys(DOMAINS, 8),
            "seconds": 1.0,
        },
    )
    write_json(folder / "spec.json", spec.as_dict())


def _finetuned(study: Study, init: str, seed: int) -> None:
    value = {
        "format": 1,
        "task": "organs",
        "kind": "segmentation",
        "init": init,
        "control": None,
        "seed": seed,
        "protocol_digest": "p",
        "checkpoint": None,
        "draws": 10,
        "flops": 1.0,
        "seconds": 1.0,
        "classes": ["liver"],
        "curve": [],
        "cases": [
            {
                "case": f"c{i}",
                "subject": f"s{i}",
                "domain": "ABD-CT",
                "scores": {"dice": {"liver": 0.5 + 0.01 * i + 0.001 * seed}},
            }
            for i in range(4)
        ],
    }
    write_json(study.downstream_dir / "organs" / init / f"seed-{seed}" / "result.json", value)


@pytest.fixture(scope="session")
def made_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study that :func:`finished_study` copies."""
    root = tmp_path_factory.mktemp("made") / "study"
    recipe = Recipe(spacing_mm=4.0, min_shape=(16, 16, 16)).resolved(DOMAINS)
    config = StudyConfig(
        name="study",
        data=DataSettings(path="volumes"),
        recipe=dataclasses.asdict(recipe),
        model=ModelSettings(
            crop=16, patch=8, width=12, depth=1, heads=1, decoder_width=12, decoder_depth=1, decoder_heads=1
        ),
        training=TrainingSettings(batch_size=4, warmup_steps=1),
        design=StudyDesign(budgets=(100, 200, 400, 800), anchor_seeds=0),
        fit=FitSettings(bootstrap=0),
        allocation=StudyAllocation(budget=2000, seeds=1),
    )
    study = Study.create(root, config)
    volumes = tuple(
        PreparedVolume(
            key=f"{name}{i:02}",
            domain=name,
            subject=f"s{name}{i}",
            split="train" if i < 8 else "validation",
            shape=(16, 16, 16),
            spacing_mm=4.0,
            file=f"volumes/{name}{i:02}.npy",
        )
        for name in DOMAINS
        for i in range(10)
    )
    cache = PreparedCache(root=study.cache_dir, volumes=volumes, recipe=recipe)
    write_json(study.cache_dir / "index.json", cache.as_dict())
    (study.cache_dir / "volumes").mkdir()
    (root / "volumes").mkdir()
    reopened = Study.open(root)
    reopened.mark_made("prepare", reopened.preparation_inputs)
    for spec in proxy_runs(reopened):
        _result(reopened, spec)
    proxy_table(reopened).to_csv(reopened.measurements_path)
    fit_laws(reopened)
    allocate_strategies(reopened)
    for spec in check_runs(reopened):
        _result(reopened, spec)
    for init in ("scratch", "transfer-aware"):
        for seed in range(2):
            _finetuned(reopened, init, seed)
    make_report(reopened)
    return root


@pytest.fixture
def finished_study(made_study: Path, tmp_path: Path) -> Path:
    """A study in which every step is done; free to be damaged."""
    root = tmp_path / "study"
    shutil.copytree(made_study, root)
    return root


@pytest.fixture
def edit(finished_study: Path) -> Callable[[str, str], None]:
    """Replace a text of the study's file, which must be there."""

    def replace(old: str, new: str) -> None:
        path = finished_study / "study.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return replace
