"""Made-up finetuning runs whose truth is planted: effects of initialization, case and seed."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxmix.scores import ScoreTable

CLASSES = ("background", "liver", "spleen")


def segmentation(
    init: str,
    *,
    seed: int = 1,
    task: str = "organs",
    control: str | None = None,
    cases: int = 10,
    effect: float = 0.0,
    seed_noise: float = 0.01,
    noise: float = 0.02,
    case_noise: float = 0.06,
    world: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """Return a result.json; all inits of a ``world`` share their cases' difficulty and nothing else."""
    shared = np.random.default_rng([world, 77])
    own = np.random.default_rng([world, seed, *(ord(c) for c in f"{init}{control}{task}")])
    difficulty = shared.normal(0, case_noise, cases)
    values = 0.7 + effect + difficulty + own.normal(0, seed_noise) + own.normal(0, noise, (2, cases))
    values = np.clip(values, 0, 1)
    return {
        "format": 1,
        "task": task,
        "kind": "segmentation",
        "init": init,
        "control": control,
        "seed": seed,
        "protocol_digest": "p1",
        "checkpoint": None if init == "scratch" else f"run-{init}",
        "draws": 4000,
        "flops": 1e12,
        "seconds": 60.0,
        "classes": list(CLASSES),
        "cases": [
            {
                "case": f"c{k:02d}",
                "domain": "ABD-CT",
                "scores": {
                    "dice": {"liver": float(values[0, k]), "spleen": float(values[1, k])},
                    "surface_distance_mm": {"liver": float(3 - 2 * values[0, k]), "spleen": None},
                },
            }
            for k in range(cases)
        ],
        "curve": [
            {
                "step": step,
                "validation": float((0.68 + effect) * (1 - np.exp(-step / 150)) + own.normal(0, 0.01)),
            }
            for step in range(50, 501, 50)
        ],
    } | more


def classification(
    init: str,
    *,
    seed: int = 1,
    task: str = "dementia",
    control: str | None = None,
    cases: int = 40,
    classes: int = 3,
    effect: float = 0.0,
    world: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """Return a result.json of a classification; a larger effect raises the probability of the truth."""
    shared = np.random.default_rng([world, 78])
    own = np.random.default_rng([world, seed, *(ord(c) for c in f"{init}{control}{task}")])
    truth = shared.integers(0, classes, cases)
    scores = shared.normal(0, 1, (cases, classes)) + own.normal(0, 0.5, (cases, classes))
    scores[np.arange(cases), truth] += 1 + effect
    probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    found = segmentation(init, seed=seed, task=task, control=control, effect=effect, world=world)
    return (
        found
        | {
            "kind": "classification",
            "classes": [f"class {k}" for k in range(classes)],
            "cases": [
                {"case": f"c{k:02d}", "truth": int(truth[k]), "probability": probability[k].tolist()}
                for k in range(cases)
            ],
        }
        | more
    )


def write(root: Path, results: Sequence[Mapping[str, Any]]) -> Path:
    """Lay results out as finetuning leaves them and return the folder."""
    for value in results:
        name = value["init"] + (f"+{value['control']}" if value["control"] else "")
        folder = root / value["task"] / name / f"seed-{value['seed']}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(value), encoding="utf-8")
    return root


@pytest.fixture
def table_of(tmp_path: Path) -> Callable[..., ScoreTable]:
    """Return the table of results after they went through files."""
    counter = iter(range(1000))
    return lambda *results: ScoreTable.read(write(tmp_path / f"d{next(counter)}", results))


@pytest.fixture(scope="session")
def make_segmentation() -> Callable[..., dict[str, Any]]:
    """Return :func:`segmentation`."""
    return segmentation


@pytest.fixture(scope="session")
def make_classification() -> Callable[..., dict[str, Any]]:
    """Return :func:`classification`."""
    return classification


@pytest.fixture(scope="session")
def write_results() -> Callable[..., Path]:
    """Return :func:`write`."""
    return write
