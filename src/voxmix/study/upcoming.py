"""The runs that a study will make, also where its mixtures are not known yet."""

from dataclasses import replace

from voxmix._io import as_argument
from voxmix.design import RunSpec
from voxmix.errors import InputError, StepPendingError
from voxmix.mixture import Mixture
from voxmix.study import Study
from voxmix.study.plan import proxy_specs
from voxmix.study.steps import check_runs, study_cache


def study_domains(study: Study) -> tuple[str, ...]:
    """Return the domains of a study: of its prepared volumes, or those that its file has a rule for.

    Raises:
        InputError: nothing is prepared and the study file names no domains.
    """
    try:
        prepared: tuple[str, ...] = study_cache(study).domains
        return prepared
    except StepPendingError:
        named = tuple(sorted(study.config.recipe.get("intensity", {})))
    if not named:
        raise InputError(
            f"the domains of {study.root} are not known yet; first: voxmix prepare {as_argument(study.root)}"
        )
    return named


def runs_left(study: Study) -> dict[str, tuple[RunSpec, ...]]:
    """Return the runs that are not finished, by kind: pure runs, anchors, mixture runs.

    Before the strategies' mixtures are found, each stands with the uniform one, which costs the same.
    """
    try:
        digest = study_cache(study).digest
    except StepPendingError:
        digest = ""
    proxies = proxy_specs(study.config, study_domains(study), cache=digest)
    kinds = {
        "pure runs": tuple(spec for spec in proxies if spec.mixture.source is not None),
        "anchors": tuple(spec for spec in proxies if spec.mixture.source is None),
        "mixture runs": _mixture_runs(study),
    }
    return {kind: study.pending(specs) for kind, specs in kinds.items()}


def _mixture_runs(study: Study) -> tuple[RunSpec, ...]:
    try:
        return check_runs(study)
    except StepPendingError:
        pass
    config = study.config
    spec = RunSpec(
        mixture=Mixture.uniform(study_domains(study)),
        budget=config.allocation.budget,
        seed=0,
        model=config.model,
        training=config.training,
        evaluation=config.evaluation,
    )
    count = len(config.allocation.strategies) * config.allocation.seeds
    return tuple(replace(spec, seed=number) for number in range(count))  # seeds apart, so that no two are one
