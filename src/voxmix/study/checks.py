"""What in a study cannot work, found before anything is computed: names, limits, budgets, sizes."""

from collections.abc import Iterable
from dataclasses import replace

from voxmix.errors import InputError, StepPendingError, did_you_mean
from voxmix.settings import checked
from voxmix.study.folder import Study
from voxmix.study.upcoming import study_domains
from voxmix.study.view import StudyView


def check_study(study: Study | StudyView) -> None:
    """Check every setting of a study against the others, and against its prepared volumes once it has some.

    Raises:
        InputError: lists every problem.
    """
    view = StudyView.of(study)
    problems = study_problems(view)
    if problems:
        raise InputError(f"{view.study.path} cannot work:\n" + "\n".join(f"  - {line}" for line in problems))


def study_problems(study: Study | StudyView) -> tuple[str, ...]:
    """Return a sentence for each thing in a study that cannot work; () where nothing is found."""
    view = StudyView.of(study)
    parts = (_recipe, _targets, _names, _limits, _vertices, _prices, _budgets, _axes, _sizes)
    return tuple(line for part in parts for line in part(view))


def study_remarks(study: Study) -> tuple[str, ...]:
    """Return a sentence for each setting of a study that has no effect; () where all have one."""
    model = study.config.model
    names = ", ".join(f"model.{name}" for name in model.without_effect)
    if not names:
        return ()
    return (
        f"{names} {'has' if len(model.without_effect) == 1 else 'have'} no effect with model.name {model.name}; set "
        "model.name to mae for a network that reads them",
    )


def _recipe(view: StudyView) -> Iterable[str]:
    from voxmix.volumes.recipe import Recipe, spell_out

    try:
        checked(Recipe, spell_out(view.config.recipe), where="recipe")
    except InputError as error:
        yield str(error)


def _domains(view: StudyView) -> tuple[str, ...]:
    """Return the domains as far as they are known: prepared, chosen or made; () before that."""
    data = view.config.data
    try:
        return view.domains
    except StepPendingError:
        chosen = data.domains or (tuple(data.phantoms.counts) if data.phantoms else ())
    try:
        return tuple(sorted(set(chosen) - set(data.targets))) or study_domains(view)
    except InputError:
        return ()


def _evaluated(view: StudyView, domains: tuple[str, ...]) -> tuple[str, ...]:
    """Return what runs are evaluated on, as far as it is known."""
    return tuple(dict.fromkeys([*domains, *view.config.data.targets]))


def _targets(view: StudyView) -> Iterable[str]:
    data = view.config.data
    try:
        known = view.cache.domains
    except StepPendingError:
        known = data.domains or (tuple(data.phantoms.counts) if data.phantoms else ())
    for name in data.targets:
        if known and name not in known:
            yield f"data.targets names the unknown domain {name!r}; {did_you_mean(name, known)}"


def _names(view: StudyView) -> Iterable[str]:
    from voxmix.allocation.strategies import check_strategies

    domains, config = _domains(view), view.config
    if not domains:
        return
    if len(domains) < 2:
        beside = " besides those of data.targets" if config.data.targets else ""
        yield f"only one domain ({domains[0]}){beside}: a mixture needs two or more"
    twice = sorted({name for name in config.data.domains if config.data.domains.count(name) > 1})
    if twice:
        yield f"data.domains names {', '.join(twice)} twice"
    try:
        check_strategies(config.allocation.strategies, domains=domains)
    except InputError as error:
        yield f"allocation.strategies: {error}"
    for key in ("max_weight", "fixed", "volumes", "cost", "target_weights"):
        yield from (
            f"allocation.{key} names the unknown domain {name!r}; {did_you_mean(name, domains)}"
            for name in getattr(config.allocation, key)
            if name not in (_evaluated(view, domains) if key == "target_weights" else domains)
        )


def _limits(view: StudyView) -> Iterable[str]:
    from voxmix.allocation.limits import limits
    from voxmix.allocation.objective import importance_of

    domains, settings = _domains(view), view.config.allocation
    named = (settings.max_weight, settings.fixed, settings.volumes, settings.cost)
    targets = _evaluated(view, domains)
    if not domains or any(name not in domains for part in named for name in part):
        return
    if any(name not in targets for name in settings.target_weights):
        return
    try:
        asked = view.asked
    except StepPendingError:  # how many volumes there are is not known yet
        asked = settings if settings.volumes else replace(settings, max_epochs=None)
    try:
        importance_of(targets, settings.target_weights)
        limits(domains, asked)
    except InputError as error:
        yield f"allocation: {error}"


def _vertices(view: StudyView) -> Iterable[str]:
    domains, config = _domains(view), view.config
    if not domains or not config.design.vertex_seeds:
        return
    try:
        config.design.runs_by_kind(domains, min_weight=config.allocation.min_weight)
    except InputError as error:
        key = "allocation" if config.design.min_weight is None else "design"
        yield f"the vertex runs of {key}.min_weight: {error}"


def _prices(view: StudyView) -> Iterable[str]:
    from voxmix.allocation.strategies import find_strategy
    from voxmix.law.family import law_form

    if not view.config.allocation.cost:
        return
    for name in view.config.allocation.strategies:
        law = find_strategy(name).law
        if law and law_form(law).by_share:
            yield (
                f"allocation.cost has no meaning for the strategy {name}: its law {law} counts shares of the budget; leave "
                "one of the two out"
            )


def _budgets(view: StudyView) -> Iterable[str]:
    budgets = view.config.design.budgets
    if len(budgets) < 2:
        yield (
            f"design.budgets has one budget ({budgets[0]}), which shows nothing about how losses fall; give three or "
            "more, e.g. [500, 1000, 2000, 4000]"
        )


def _axes(view: StudyView) -> Iterable[str]:
    axes = view.config.model.axes
    if axes != 3:
        yield f"model.axes is {axes}, and voxmix prepares volumes, which have 3 axes; leave model.axes out"


def _sizes(view: StudyView) -> Iterable[str]:
    try:
        volumes = view.cache.columns
    except StepPendingError:
        return
    crop = view.config.model.crop
    small = volumes.smaller(crop)
    if small:
        count, least = sum(number for number, _ in small.values()), min(edge for _, edge in small.values())
        names = ", ".join(sorted(small))
        yield (
            f"model.crop is {crop} voxels, and {count} of {len(volumes)} prepared volumes ({names}) are smaller, "
            f"the least edge being {least}; set recipe.min_shape to {list(view.config.model.grid.crop)}, which pads them, or "
            f"model.crop to at most {least}"
        )
