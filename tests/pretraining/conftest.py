"""A tiny prepared cache of blobs, and settings that train in a second."""

from collections.abc import Callable

import numpy as np
import pytest

from voxmix.design import EvaluationSettings, ModelSettings, TrainingSettings
from voxmix.pretraining import EvaluationSet
from voxmix.volumes.cache import PreparedCache, PreparedVolume
from voxmix.volumes.intensity import IntensityRule
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


@pytest.fixture(scope="session")
def evaluation(cache, model_settings, evaluation_settings) -> EvaluationSet:
    return EvaluationSet.build(cache, model=model_settings, evaluation=evaluation_settings)
