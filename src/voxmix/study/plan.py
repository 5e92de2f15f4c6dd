"""Which runs a study asks for: proxies first, then the mixtures that strategies chose."""

from collections.abc import Mapping
from typing import Any

from voxmix.design import RunSpec
from voxmix.mixture import Mixture
from voxmix.study.config import StudyConfig


def _common(config: StudyConfig, cache: str) -> dict[str, Any]:
    return {
        "model": config.model,
        "training": config.training,
        "evaluation": config.evaluation,
        "cache": cache,
    }


def specs_by_kind(
    config: StudyConfig, domains: tuple[str, ...], *, cache: str
) -> dict[str, tuple[RunSpec, ...]]:
    """Return the proxy runs of the study's design, kind by kind; ``cache`` is the digest of the prepared volumes."""
    common = _common(config, cache) | {"budget_unit": config.design.budget_unit}
    kinds = config.design.runs_by_kind(domains, min_weight=config.allocation.min_weight)
    return {
        kind: tuple(
            RunSpec(mixture=mixture, budget=budget, seed=seed, **common) for mixture, budget, seed in runs
        )
        for kind, runs in kinds.items()
    }


def proxy_specs(config: StudyConfig, domains: tuple[str, ...], *, cache: str) -> tuple[RunSpec, ...]:
    """Return every proxy run of the study's design."""
    return tuple(spec for specs in specs_by_kind(config, domains, cache=cache).values() for spec in specs)


def check_specs(
    config: StudyConfig, mixtures: Mapping[str, Mixture], *, cache: str
) -> dict[str, tuple[RunSpec, ...]]:
    """Return, for each strategy, the runs that train its mixture at the allocated budget, one per seed.

    With costs the budget is money: strategies are compared at equal money, each on the draws that it buys. Strategies with the same mixture share their runs: the same spec is the same run.
    """
    common = _common(config, cache)
    return {
        strategy: tuple(
            RunSpec(mixture=mixture, budget=config.allocation.draws_to_train(mixture), seed=seed, **common)
            for seed in range(config.allocation.seeds)
        )
        for strategy, mixture in mixtures.items()
    }
