"""What a study does without torch: plan its runs, fit the laws, allocate, compare, report."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from voxmix._io import digest
from voxmix._progress import ProgressCallback, silent
from voxmix.design import RunSpec
from voxmix.errors import StepPendingError
from voxmix.mixture import Mixture
from voxmix.store import Study, measurements, provenance
from voxmix.store.plan import check_specs, proxy_specs

if TYPE_CHECKING:
    from voxmix.allocation import Allocation
    from voxmix.law import FittedLaw
    from voxmix.measurement import MeasurementTable
    from voxmix.report import DomainSummary, Picture, ReportContent
    from voxmix.volumes import PreparedCache

_LAW_OF_STRATEGY = {"transfer-naive": "naive", "transfer-aware": "transfer", "diversity-aware": "diversity"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a study: its verb, whether it is done and up to date, and how far it is."""

    name: str
    done: bool
    detail: str


def study_cache(study: Study) -> PreparedCache:
    """Return the prepared volumes of a study.

    Raises:
        StepPendingError: nothing is prepared yet; names the command.
    """
    from voxmix.volumes import PreparedCache

    if not study.is_made("prepare", study.preparation_inputs):
        raise StepPendingError(
            f"the study's volumes are not prepared as it says now; first: voxmix prepare {study.root}"
        )
    return PreparedCache.open(study.cache_dir)


def proxy_runs(study: Study) -> tuple[RunSpec, ...]:
    """Return every proxy run of the study, finished or not."""
    cache = study_cache(study)
    return proxy_specs(study.config, cache.domains, cache=cache.digest)


def proxy_table(study: Study) -> MeasurementTable:
    """Return what the finished proxy runs measured.

    Raises:
        StepPendingError: proxy runs are pending; says how many, and the command.
    """
    specs = proxy_runs(study)
    pending = study.pending(specs)
    if pending:
        raise StepPendingError(
            f"{len(pending)} of {len(specs)} proxy runs are not done; first: voxmix run {study.root}"
        )
    return measurements(study.results(specs), study_cache(study).domains)


def _fit_inputs(study: Study) -> str:
    return digest({"runs": [spec.run_id for spec in proxy_runs(study)], "fit": asdict(study.config.fit)})


def _allocation_inputs(study: Study) -> str:
    return digest({"fit": _fit_inputs(study), "allocation": asdict(study.config.allocation)})


def laws_wanted(study: Study) -> tuple[str, ...]:
    """Return the laws a study fits: those without transfer, the paper's, and diversity where anchors tell."""
    return ("naive", "transfer", "diversity") if study.config.design.anchor_seeds else ("naive", "transfer")


def fit_laws(study: Study, *, progress: ProgressCallback = silent) -> dict[str, FittedLaw]:
    """Fit every law of the study to its proxy runs and keep them; nothing is fitted again in vain."""
    from voxmix.law import fit

    table = proxy_table(study)
    wanted = laws_wanted(study)
    if study.is_made("fit", _fit_inputs(study)):
        return read_laws(study)
    settings = study.config.fit
    laws = {}
    for done, name in enumerate(wanted):
        progress(done, len(wanted))
        law = fit(
            table,
            law=name,
            max_exponent=settings.max_exponent,
            max_transfer=settings.max_transfer,
            bootstrap=settings.bootstrap,
        )
        law.save(study.law_path(name))
        laws[name] = law
    study.mark_made("fit", _fit_inputs(study))
    progress(len(wanted), len(wanted))
    return laws


def read_laws(study: Study) -> dict[str, FittedLaw]:
    """Return the laws that were fitted to the study as it is now.

    Raises:
        StepPendingError: none yet, or the study has changed since; names the command.
    """
    from voxmix.law import FittedLaw

    if not study.is_made("fit", _fit_inputs(study)):
        raise StepPendingError(f"no law is fitted to the study as it is now; first: voxmix fit {study.root}")
    return {name: FittedLaw.load(study.law_path(name)) for name in laws_wanted(study)}


def allocate_strategies(study: Study) -> dict[str, Allocation | Mixture]:
    """Find the mixture of every strategy at the study's budget; keep those that a law gave."""
    from voxmix.allocation import allocate

    if study.is_made("allocate", _allocation_inputs(study)):
        return read_allocations(study)
    laws = read_laws(study)
    settings = study.config.allocation
    volumes = study_cache(study).counts("train")
    for strategy in strategies_wanted(study):
        if strategy in _LAW_OF_STRATEGY:
            law = laws[_LAW_OF_STRATEGY[strategy]]
            found = allocate(law, budget=settings.budget, min_weight=settings.min_weight, volumes=volumes)
            found.save(study.allocation_path(strategy))
    study.mark_made("allocate", _allocation_inputs(study))
    return read_allocations(study)


def strategies_wanted(study: Study) -> tuple[str, ...]:
    """Return the strategies of the study; those whose law cannot be fitted are left out."""
    laws = laws_wanted(study)
    return tuple(
        name for name in study.config.allocation.strategies if _LAW_OF_STRATEGY.get(name, laws[0]) in laws
    )


def read_allocations(study: Study) -> dict[str, Allocation | Mixture]:
    """Return the mixtures of the strategies: an Allocation where a law gave it.

    Raises:
        StepPendingError: none yet, or the study has changed since; names the command.
    """
    from voxmix.allocation import Allocation

    if not study.is_made("allocate", _allocation_inputs(study)):
        raise StepPendingError(
            f"no mixture is allocated for the study as it is now; first: voxmix allocate {study.root}"
        )
    cache = study_cache(study)
    fixed = {
        "uniform": Mixture.uniform(cache.domains),
        "data-proportional": Mixture.from_counts(cache.counts("train")),
    }
    return {
        name: fixed[name] if name in fixed else Allocation.load(study.allocation_path(name))
        for name in strategies_wanted(study)
    }


def check_runs(study: Study) -> tuple[RunSpec, ...]:
    """Return the runs that train every strategy's mixture at the allocated budget."""
    by_strategy = _checks(study)
    return tuple(spec for specs in by_strategy.values() for spec in specs)


def _checks(study: Study) -> dict[str, tuple[RunSpec, ...]]:
    mixtures = {
        name: found if isinstance(found, Mixture) else found.mixture
        for name, found in read_allocations(study).items()
    }
    return check_specs(study.config, mixtures, cache=study_cache(study).digest)


def report_content(study: Study) -> ReportContent:
    """Return everything a report can show of the study as it is now; what is not done yet is left out."""
    from voxmix.allocation import allocate
    from voxmix.report import Check, ReportContent

    config = study.config
    parts: dict[str, Any] = {"study": config.name, "budget": config.allocation.budget}
    parts["min_weight"] = config.allocation.min_weight
    made = provenance()
    parts["made"] = made["time"]
    facts: dict[str, dict[str, str]] = {"Versions": made["versions"], "Machine": {"kind": made["machine"]}}
    runs: tuple[Any, ...] = ()
    try:
        cache = study_cache(study)
        parts["domains"] = _domain_summaries(study, cache)
        facts["Data"] = {"prepared volumes": cache.digest, "recipe": cache.recipe.digest}
        runs = study.results(proxy_runs(study))
        parts["runs"] = runs
        if runs:
            parts["measurements"] = measurements(runs, cache.domains)
        laws = read_laws(study)
        parts["laws"] = laws
        parts["strategies"] = read_allocations(study)
        judge = laws.get("diversity", laws["transfer"])
        parts["by_budget"] = tuple(
            allocate(
                judge, budget=budget, min_weight=config.allocation.min_weight, volumes=cache.counts("train")
            )
            for budget in _budget_path(study)
        )
        checks = {name: study.results(specs) for name, specs in _checks(study).items()}
        parts["checks"] = tuple(
            Check(
                strategy=name,
                budget=result.spec.budget,
                seed=result.spec.seed,
                target=target,
                loss=loss,
                loss_se=result.losses[target]["loss_se"],
            )
            for name, results in checks.items()
            for result in results
            for target in cache.domains
            if (loss := result.losses[target]["loss"]) is not None
        )
        unique = {result.run_id: result for results in checks.values() for result in results}
        runs = (*runs, *(result for key, result in unique.items() if key not in {r.run_id for r in runs}))
        parts["runs"] = runs
    except StepPendingError:
        pass  # the report names what is not there yet, and its command
    parts["pictures"] = _pictures(study, runs)
    return _recommend(ReportContent(facts=facts, **parts))


def _recommend(content: ReportContent) -> ReportContent:
    """Return the content with the law's mixture as the answer, unless it was measured worse than another.

    A prediction that a measurement contradicts is no answer: then the answer is the first strategy, in the
    order of preference, that cannot be told apart from the best that was measured.
    """
    from voxmix.report.content import PREFERRED
    from voxmix.report.findings import measured, rank_strategies

    favorite = content.answer
    if favorite is None or not content.checks or content.budget is None:
        return content
    tied = rank_strategies(measured(content, budget=content.budget)).tied
    if favorite in tied or not tied:
        return content
    chosen = next((name for name in PREFERRED if name in tied), tied[0])
    note = (
        f"{chosen} is the answer because it was measured so: the mixture of the law, {favorite}, was trained too "
        "and was worse by more than the seeds' noise"
    )
    return replace(content, recommended=chosen, notes=(*content.notes, note))


def _budget_path(study: Study) -> tuple[int, ...]:
    low, high = study.config.design.budgets[0], study.config.allocation.budget
    return tuple(int(b) for b in np.unique(np.geomspace(low, max(low, high), 13).round()))


def _domain_summaries(study: Study, cache: PreparedCache) -> tuple[DomainSummary, ...]:
    from voxmix.domain import PAPER_DOMAINS
    from voxmix.report import DomainSummary

    known = {domain.name: domain for domain in PAPER_DOMAINS}
    train, held_out = cache.counts("train"), cache.counts("validation")
    return tuple(
        DomainSummary(
            name=name,
            modality=known[name].modality if name in known else "",
            anatomy=known[name].anatomy if name in known else "",
            training=train[name],
            validation=held_out[name],
            set_aside=Counter(item["reason"] for item in cache.set_aside if item["domain"] == name),
        )
        for name in cache.domains
    )


def _pictures(study: Study, runs: tuple[Any, ...]) -> tuple[Picture, ...]:
    """Return the slices of the run with the largest budget and several sources, the last such run."""
    from voxmix.report import Picture

    mixed = [run for run in runs if run.spec.mixture.source is None]
    if not mixed:
        return ()
    best = max(mixed, key=lambda run: run.spec.budget)
    path = study.run_dir(best.spec) / "pictures.npz"
    if not path.exists():
        return ()
    with np.load(path, allow_pickle=False) as stored:
        return tuple(
            Picture(
                domain=str(name),
                original=stored[f"{index}/original"],
                masked=stored[f"{index}/masked"],
                reconstructed=stored[f"{index}/reconstructed"],
            )
            for index, name in enumerate(stored["domains"])
        )


def make_report(study: Study, *, pictures: bool = True) -> ReportContent:
    """Write the report, with or without slices of volumes, and return what it shows."""
    from voxmix.report import write_report

    content = report_content(study)
    if not pictures:
        content = replace(content, pictures=())
    write_report(content, study.report_path)
    return content


def study_status(study: Study) -> tuple[Step, ...]:
    """Return the steps of a study in order, each with whether it is done and how far it is."""
    try:
        cache = study_cache(study)
    except StepPendingError:
        return tuple(Step(name=name, done=False, detail="not begun") for name in _STEPS)
    count = sum(cache.counts().values())
    steps = [Step(name="prepare", done=True, detail=f"{count} volumes, {len(cache.set_aside)} set aside")]
    proxies = proxy_runs(study)
    left = len(study.pending(proxies))
    steps.append(
        Step(name="run", done=not left, detail=f"{len(proxies) - left} of {len(proxies)} proxy runs")
    )
    fitted = study.is_made("fit", _fit_inputs(study)) and not left
    steps.append(Step(name="fit", done=fitted, detail="up to date" if fitted else "to be fitted"))
    allocated = fitted and study.is_made("allocate", _allocation_inputs(study))
    steps.append(Step(name="allocate", done=allocated, detail="up to date" if allocated else "to be found"))
    checks = tuple({spec.run_id: spec for spec in check_runs(study)}.values()) if allocated else ()
    waiting = len(study.pending(checks))
    trained = allocated and not waiting
    detail = f"{len(checks) - waiting} of {len(checks)} mixture runs" if allocated else "after allocate"
    steps.append(Step(name="pretrain", done=trained, detail=detail))
    reported = trained and study.report_path.exists() and _is_newer(study)
    steps.append(Step(name="report", done=reported, detail="report.html" if reported else "to be written"))
    return tuple(steps)


_STEPS = ("prepare", "run", "fit", "allocate", "pretrain", "report")


def _is_newer(study: Study) -> bool:
    written = study.report_path.stat().st_mtime
    return all(path.stat().st_mtime <= written for path in study.runs_dir.glob("*/result.json"))
