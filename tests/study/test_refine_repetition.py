"""A hub of ten volumes whose repeats are worth little: what cures the law, in a world whose truth is known."""

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "refine_repetition.py"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="there are no benchmarks beside the tests")


@pytest.fixture(scope="module")
def module() -> Any:
    spec = spec_from_file_location("refine_repetition", FILE)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def answers(module: Any, tmp_path: Path) -> Callable[..., tuple[Any, float]]:
    """Return a function from a way to its answer and its regret."""
    world = module.World.made(0)
    least = world.loss(world.best(module.BUDGET), module.BUDGET).mean()

    def of(way: Callable[..., Any], fit: dict[str, Any], **settings: Any) -> tuple[Any, float]:
        view = module.study_of(world, tmp_path / way.__name__ / "-".join(fit), bootstrap=0, **fit)
        found = way(view, world, **settings)
        return found, float(world.loss(found.weights, module.BUDGET).mean() / least - 1)

    return of


def test_a_law_that_counts_every_repeat_in_full_gives_the_hub_far_too_much(module: Any, answers: Any) -> None:
    found, regret = answers(module.law_alone, {})
    assert found.weights[-1] > 0.5
    assert regret > 0.1


def test_repetition_in_the_law_is_the_cure(module: Any, answers: Any) -> None:
    found, regret = answers(module.law_alone, {"repetition": "fitted"})
    assert regret < 0.01
    world = module.World.made(0)
    assert abs(found.predicted / world.loss(found.weights, module.BUDGET).mean() - 1) < 0.03


def test_refine_at_a_proxy_budget_is_none_and_says_that_the_mixture_moves_with_the_budget(
    module: Any, tmp_path: Path
) -> None:
    world = module.World.made(0)
    view = module.study_of(world, tmp_path / "study", bootstrap=0, repetition="fitted")
    found = module.rounds_of(view, world, rounds=1)
    assert "at 16,000 draws the same law would give HUB" in found.budget_words
    assert found.choice.weights[-1] > found.later.weights[-1] + 0.05
    assert np.isclose(found.later.weights[-1], world.best(module.BUDGET)[-1], atol=0.05)
