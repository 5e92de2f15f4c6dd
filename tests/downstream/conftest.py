"""Tiny labeled images: bright boxes in noise, in two modalities, as files and as prepared cases."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix.datasets.task import Task
from voxmix.downstream.build_cases import build_cases
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.protocol import FinetuneSettings, Protocol
from voxmix.run_settings import ModelSettings
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.recipe import Recipe

EDGE = 20
RULE = IntensityRule(kind="window", low=0, high=1)
RECIPE = Recipe(
    spacing_mm=2.0,
    min_shape=(16, 16, 16),
    crop_foreground=False,
    intensity=dict.fromkeys(("CT", "MR", "ABD-CT", "HN-CT", "BRAIN-T1", "HN-PET"), RULE),
)
MODEL = ModelSettings(
    crop=16, patch=4, width=24, depth=2, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
)
TASK = Task(
    name="boxes",
    kind="segmentation",
    domain="CT",
    classes={"background": (0,), "box": (1,), "bar": (2,)},
    split=(0.6, 0.2, 0.2),
    settings={"draws": 32, "batch_size": 4, "feature_size": 4, "validations": 2, "learning_rate": 2e-3},
)


def _write_image(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(data, np.diag([2.0, 2, 2, 1]) if affine is None else affine).to_filename(path)
    return path


def boxes(seed: int, *, edge: int = EDGE) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its labels: a box (1) and a brighter bar (2)."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0, 0.3, (edge,) * 3).astype(np.float32)
    labels = np.zeros((edge,) * 3, np.uint8)
    x, y, z = rng.integers(2, edge - 9, 3)
    labels[x : x + 6, y : y + 6, z : z + 6] = 1
    labels[x + 2 : x + 4, y : y + 7, z + 1 : z + 3] = 2
    image[labels == 1] += 0.4
    image[labels == 2] += 0.7
    return image, labels


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Ten subjects in the folder layout."""
    root = tmp_path / "data"
    for number in range(10):
        image, labels = boxes(number)
        _write_image(root / f"CT/p{number}/p{number}.nii.gz", image)
        _write_image(root / f"CT/p{number}/p{number}_seg.nii.gz", labels)
    return root


Build = Callable[..., CaseSet]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return a function that prepares a task's cases."""

    def make(task: Task, data: Path, **options: object) -> CaseSet:
        root = tmp_path / f"cases {task.name} {len(list(tmp_path.glob('cases *')))}"
        cases, _ = build_cases(task, data, root=root, recipe=RECIPE, crop=MODEL.crop, **options)  # type: ignore[arg-type]
        return cases

    return make


@pytest.fixture
def cases(dataset: Path, build: Build) -> CaseSet:
    return build(TASK, dataset)


@pytest.fixture(scope="session")
def model_settings() -> ModelSettings:
    return MODEL


@pytest.fixture(scope="session")
def task() -> Task:
    return TASK


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return RECIPE


@pytest.fixture(scope="session")
def write_image() -> Callable[..., Path]:
    """Return the function that writes an array as NIfTI, at 2 mm if no affine is given."""
    return _write_image


@pytest.fixture(scope="session")
def protocol_of() -> Callable[..., Protocol]:
    """Return a function that gives the protocol of some cases, with changed settings."""

    def make(cases: CaseSet, **changes: object) -> Protocol:
        settings = FinetuneSettings(**{**cases.task.settings, **changes})
        return Protocol(task=cases.task, model=MODEL, cases=cases.digest, settings=settings)

    return make
