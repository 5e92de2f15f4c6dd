"""The runs that a study will make, also where its mixtures are not known yet."""

from dataclasses import replace

from voxmix.design import RunSpec
from voxmix.errors import InputError, StepPendingError
from voxmix.mixture import Mixture
from voxmix.study.folder import Study
from voxmix.study.plan import specs_by_kind
from voxmix.study.view import StudyView


def study_domains(study: Study | StudyView) -> tuple[str, ...]:
    """Return the domains that a study trains on: of its prepared volumes, or those that its file has a rule for.

    Raises:
        InputError: nothing is prepared and the study file names no domains.
    """
    view = StudyView.of(study)
    try:
        return view.domains
    except StepPendingError:
        only = view.config.data.targets
        named = tuple(name for name in sorted(view.config.recipe.get("intensity", {})) if name not in only)
    if not named:
        raise InputError(
            str(view.steps["prepare"].pending(view, f"the domains of {view.root} are not known yet"))
        )
    return named


def study_targets(study: Study | StudyView) -> tuple[str, ...]:
    """Return what runs are evaluated on: the domains of the study, then those that are only evaluated."""
    view = StudyView.of(study)
    try:
        return view.targets
    except StepPendingError:
        return tuple(dict.fromkeys([*study_domains(view), *view.config.data.targets]))


def runs_left(study: Study | StudyView) -> dict[str, tuple[RunSpec, ...]]:
    """Return the runs that are not finished, by kind: those of :data:`voxmix.design.KINDS`, then mixture runs.

    Before the strategies' mixtures are found, each stands with the uniform one, which costs the same; where draws have
    prices, about the same.
    """
    view = StudyView.of(study)
    try:
        digest = view.cache_digest
    except StepPendingError:
        digest = ""
    proxies = specs_by_kind(view.config, study_domains(view), cache=digest)
    kinds = {**proxies, "mixture runs": _mixture_runs(view)}
    return {kind: view.study.pending(specs) for kind, specs in kinds.items()}


def _mixture_runs(view: StudyView) -> tuple[RunSpec, ...]:
    try:
        return view.checks
    except StepPendingError:
        pass
    config, uniform = view.config, Mixture.uniform(study_domains(view))
    spec = RunSpec(
        mixture=uniform,
        budget=config.allocation.draws_to_train(uniform),
        seed=0,
        model=config.model,
        training=config.training,
        evaluation=config.evaluation,
    )
    count = len(config.allocation.strategies) * config.allocation.seeds
    return tuple(replace(spec, seed=number) for number in range(count))  # seeds apart, so that no two are one
