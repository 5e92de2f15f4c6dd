"""Strategies give the mixtures they are named for."""

import numpy as np
import pytest

from voxmix import allocate, fit
from voxmix.allocation import strategies
from voxmix.errors import InputError
from voxmix.law.simulate import random_law, simulate

VOLUMES = {"D0": 100, "D1": 300, "D2": 500}


@pytest.fixture(scope="module")
def laws():
    rng = np.random.default_rng(0)
    table = simulate(
        random_law(rng, 3, rho=0.6), budgets=(500, 1000, 2000), mixtures=[np.full(3, 1 / 3)], rng=rng
    )
    return {name: fit(table, law=name) for name in ("naive", "transfer", "diversity")}


def test_each_strategy_is_what_it_says(laws):
    found = strategies(laws, budget=5000, volumes=VOLUMES, temperature=2.0, single="D1")
    assert list(found) == [
        "uniform",
        "data-proportional",
        "temperature",
        "transfer-naive",
        "transfer-aware",
        "diversity-aware",
        "single",
    ]
    assert found["data-proportional"].weights == pytest.approx([1 / 9, 3 / 9, 5 / 9])
    root = np.sqrt([100, 300, 500])
    assert found["temperature"].weights == pytest.approx(root / root.sum())
    assert found["single"].source == "D1"
    assert found["diversity-aware"] == allocate(laws["diversity"], budget=5000).mixture
    assert found["transfer-aware"] != found["transfer-naive"]


def test_a_domain_without_count_is_named(laws):
    with pytest.raises(InputError, match="D2"):
        strategies(laws, budget=5000, volumes={"D0": 1, "D1": 2})
    with pytest.raises(InputError, match="law"):
        strategies({}, budget=5000)
