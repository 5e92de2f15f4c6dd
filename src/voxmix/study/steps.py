"""The steps of a study that need no torch: plan its runs, fit the laws, allocate."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from voxmix._io import as_argument, digest, naming_full_disk
from voxmix._progress import ProgressCallback, silent
from voxmix.design import RunSpec, identity
from voxmix.errors import InputError, StepPendingError, VoxmixWarning
from voxmix.mixture import Mixture
from voxmix.runs import measurements
from voxmix.runs.files import CARD_FILE
from voxmix.study import Study
from voxmix.study.plan import check_specs, proxy_specs

if TYPE_CHECKING:
    from voxmix.allocation import Allocation, Situation
    from voxmix.law import FittedLaw
    from voxmix.measurement import MeasurementTable
    from voxmix.volumes import PreparedCache


def study_cache(study: Study) -> PreparedCache:
    """Return the prepared volumes of a study.

    Raises:
        StepPendingError: nothing is prepared yet; names the command.
    """
    from voxmix.volumes import PreparedCache

    if not study.is_made("prepare", study.preparation_inputs):
        raise StepPendingError(
            f"the study's volumes are not prepared with its present settings; first: voxmix prepare {as_argument(study.root)}"
        )
    return PreparedCache.open(study.cache_dir)


def proxy_runs(study: Study) -> tuple[RunSpec, ...]:
    """Return every proxy run of the study, finished or not."""
    cache = study_cache(study)
    return proxy_specs(study.config, cache.domains, cache=cache.digest)


def other_volumes_sentence(study: Study) -> str:
    """Return how many finished runs are not the study's because they are of other volumes, in words; "" where none are."""
    try:
        others = study.of_other_volumes(study_cache(study).digest)
    except StepPendingError:
        return ""
    return (
        f"{others} finished run(s) are of other prepared volumes, or of a voxmix whose losses counted padding; they are "
        "kept and not used"
        if others
        else ""
    )


def proxy_table(study: Study) -> MeasurementTable:
    """Return what the finished proxy runs measured.

    Raises:
        StepPendingError: proxy runs are pending; says how many, and the command.
    """
    specs = proxy_runs(study)
    pending = study.pending(specs)
    if pending:
        others = other_volumes_sentence(study)
        why = f" ({others})" if others else ""
        raise StepPendingError(
            f"{len(pending)} of {len(specs)} proxy runs are not done{why}; first: voxmix run {as_argument(study.root)}"
        )
    return measurements(study.results(specs), study_cache(study).domains)


def fit_inputs(study: Study) -> str:
    """Digest of what the laws are fitted to, and how."""
    from voxmix.law import law_form

    specs = proxy_runs(study)
    inputs: dict[str, Any] = {
        "runs": [study.run_dir(spec).name for spec in specs],
        "fit": identity(study.config.fit),
    }
    if more := [name for name in laws_wanted(study) if not law_form(name).in_every_study]:
        inputs["laws"] = more
    odd = _outliers(study, specs)
    return digest(inputs | {"outliers": odd} if odd else inputs)


def _outliers(study: Study, specs: tuple[RunSpec, ...]) -> list[list[str]]:
    """Return run and target of the losses that no noise explains; none before every proxy run is finished."""
    from voxmix.law.outliers import find_outliers

    if study.pending(specs):
        return []
    table = measurements(study.results(specs), study_cache(study).domains)
    return [[item.run, item.target] for item in find_outliers(table)]


def allocation_inputs(study: Study) -> str:
    """Digest of what the allocations are made from."""
    return digest({"fit": fit_inputs(study), "allocation": identity(study.config.allocation)})


def laws_wanted(study: Study) -> tuple[str, ...]:
    """Return the laws a study fits, the plainest first: those of every study, and those that its strategies ask for.

    Without anchors, laws whose numbers only runs of mixtures tell are left out.
    """
    from voxmix.law.family import preferred_forms

    anchors, asked = study.config.design.anchor_seeds, study.config.allocation.strategies
    return tuple(
        form.name
        for form in reversed(preferred_forms())
        if (form.in_every_study or form.strategy in asked) and (anchors or not form.needs_mixtures)
    )


def fit_laws(study: Study, *, progress: ProgressCallback = silent) -> dict[str, FittedLaw]:
    """Fit every law of the study to its proxy runs and keep them; skip fits that are up to date.

    Where the laws disagree tenfold on a transfer, the notes of those with transfer say so.

    Warns:
        VoxmixWarning: some losses are explained by no noise; they are named.
    """
    from voxmix.law import fit, law_form
    from voxmix.law.doubt import disagreement_sentence

    table = proxy_table(study)
    wanted = laws_wanted(study)
    if study.is_made("fit", fit_inputs(study)):
        try:
            return read_laws(study)
        except InputError as error:
            warnings.warn(f"{error}: they are fitted again now", VoxmixWarning, stacklevel=2)
    settings = study.config.fit
    laws: dict[str, FittedLaw] = {}
    for done, name in enumerate(wanted):
        progress(done, len(wanted))
        with warnings.catch_warnings():
            if laws:  # the first law has named the outliers of the table
                warnings.simplefilter("ignore", VoxmixWarning)
            form = law_form(name)
            together = form.needs_mixtures or not form.in_two_stages
            law = fit(
                table,
                law=name,
                method=settings.diversity_method if together else "two-stage",
                loss=settings.diversity_loss if together else "mse",
                repetition=settings.repetition,
                max_exponent=settings.max_exponent,
                max_transfer=settings.max_transfer,
                bootstrap=settings.bootstrap,
                keep_outliers=settings.keep_outliers,
                rho=settings.rho,
            )
        laws[name] = law
    differing = disagreement_sentence(laws)
    for name, law in laws.items():
        told = replace(law, notes=(*law.notes, differing)) if differing and law.form.transfers else law
        with naming_full_disk(study.law_path(name)):
            told.save(study.law_path(name))
        laws[name] = told
    study.mark_made("fit", fit_inputs(study))
    progress(len(wanted), len(wanted))
    return laws


def read_laws(study: Study) -> dict[str, FittedLaw]:
    """Return the laws that were fitted to the study as it is now.

    Raises:
        StepPendingError: none yet, or the study has changed since; names the command.
        InputError: the file of a law is gone or damaged.
    """
    from voxmix.law import FittedLaw

    if not study.is_made("fit", fit_inputs(study)):
        raise StepPendingError(
            f"no law is fitted with the study's present settings; first: voxmix fit {as_argument(study.root)}"
        )
    try:
        return {name: FittedLaw.load(study.law_path(name)) for name in laws_wanted(study)}
    except InputError as error:
        raise InputError(
            f"a law of the study cannot be read ({error}); voxmix fit {as_argument(study.root)} fits all again"
        ) from None


def allocate_strategies(study: Study) -> dict[str, Allocation | Mixture]:
    """Find the mixture of every strategy at the study's budget; keep those that a law gave."""
    from voxmix.allocation import Allocation, candidates

    if study.is_made("allocate", allocation_inputs(study)):
        try:
            return read_allocations(study)
        except InputError as error:
            warnings.warn(f"{error}: they are found again now", VoxmixWarning, stacklevel=2)
    cache = study_cache(study)
    found = candidates(
        strategies_wanted(study),
        domains=cache.domains,
        settings=study.config.allocation,
        volumes=cache.counts("train"),
        laws=read_laws(study),
    )
    for strategy, item in found.items():
        if isinstance(item, Allocation):
            with naming_full_disk(study.allocation_path(strategy)):
                item.save(study.allocation_path(strategy))
    study.mark_made("allocate", allocation_inputs(study))
    return read_allocations(study)


def allocations_if(study: Study, **changed: Any) -> dict[str, Allocation]:
    """Return the mixtures of the laws' strategies with some settings of the allocation changed; nothing is kept."""
    from voxmix.allocation import allocate
    from voxmix.allocation.strategies import find_strategy

    laws, settings = read_laws(study), study.config.allocation
    options = {"volumes": study_cache(study).counts("train"), **changed}
    rows = {name: find_strategy(name) for name in strategies_wanted(study)}
    return {
        name: allocate(laws[row.law], settings, **options)
        for name, row in rows.items()
        if row.mixture is None
    }


def strategies_wanted(study: Study) -> tuple[str, ...]:
    """Return the strategies of the study; those whose law cannot be fitted are left out."""
    from voxmix.allocation.strategies import find_strategy

    laws = laws_wanted(study)
    rows = {name: find_strategy(name) for name in study.config.allocation.strategies}
    return tuple(name for name, row in rows.items() if not row.law or row.law in laws)


def read_allocations(study: Study) -> dict[str, Allocation | Mixture]:
    """Return the mixtures of the strategies: an Allocation where a law gave it.

    Raises:
        StepPendingError: none yet, or the study has changed since; names the command.
        InputError: the file of an allocation is gone or damaged.
    """
    from voxmix.allocation import Allocation, Situation

    if not study.is_made("allocate", allocation_inputs(study)):
        raise StepPendingError(
            f"no mixture is allocated with the study's present settings; first: voxmix allocate {as_argument(study.root)}"
        )
    cache = study_cache(study)
    now = Situation(domains=cache.domains, volumes=cache.counts("train"), settings=study.config.allocation)
    try:
        return {
            name: guess_of(study, name, now) or Allocation.load(study.allocation_path(name))
            for name in strategies_wanted(study)
        }
    except InputError as error:
        raise InputError(
            f"a mixture of the study cannot be read ({error}); voxmix allocate {as_argument(study.root)} makes all again"
        ) from None


def guess_of(study: Study, name: str, now: Situation) -> Mixture | None:
    """Return the mixture of a strategy that makes its own; None where a law has allocated it."""
    from voxmix.allocation.strategies import find_strategy, strategy_mixture

    row = find_strategy(name)
    if row.law and row.mixture is not None:
        now = replace(now, law=read_laws(study)[row.law])
    return strategy_mixture(name, now)


def check_runs(study: Study) -> tuple[RunSpec, ...]:
    """Return the runs that train every strategy's mixture at the allocated budget."""
    by_strategy = checks_by_strategy(study)
    return tuple(spec for specs in by_strategy.values() for spec in specs)


def checks_by_strategy(study: Study) -> dict[str, tuple[RunSpec, ...]]:
    """Return the runs that train each strategy's mixture at the allocated budget."""
    mixtures = {
        name: found if isinstance(found, Mixture) else found.mixture
        for name, found in read_allocations(study).items()
    }
    return check_specs(study.config, mixtures, cache=study_cache(study).digest)


def encoder_runs(study: Study, init: str, *, domain: str) -> tuple[RunSpec, ...]:
    """Return the pretraining runs whose encoders an initialization starts from, one per seed.

    ``single`` is pretraining on the task's own ``domain`` alone, at the budget of the strategies; any other name
    is a strategy of the study.

    Raises:
        InputError: no such strategy, or the study has no such domain.
        StepPendingError: no mixture is allocated yet; names the command.
    """
    cache = study_cache(study)
    if init == "single":
        if domain not in cache.domains:
            raise InputError(
                f"single pretrains on the task's domain {domain}, the study has {list(cache.domains)}; leave it out, "
                "or set the task's domain"
            )
        mixture = Mixture.pure(cache.domains, domain)
        return check_specs(study.config, {init: mixture}, cache=cache.digest)[init]
    strategies = strategies_wanted(study)
    if init not in strategies:
        raise InputError(
            f"unknown initialization {init!r}; choose scratch, single, one of the study's strategies "
            f"{list(strategies)}, or the folder of a checkpoint (with its {CARD_FILE})"
        )
    return checks_by_strategy(study)[init]
