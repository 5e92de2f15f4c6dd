"""What a report shows of a study as it is now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from voxmix.errors import InputError, StepPendingError
from voxmix.runs import measurements, provenance
from voxmix.runs.files import MONTAGE_FILE, SLICES_FILE
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.rounds import REFINE_RUNS
from voxmix.study.scores import compare_scores
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.allocation import Allocation
    from voxmix.report import DomainSummary, Montage, Picture, ReportContent
    from voxmix.scores import ScoreTable
    from voxmix.volumes.auditing.fitness import Fitness


def report_content(study: Study | StudyView) -> ReportContent:
    """Return what a report shows of the study as it is now but for finetuning; what is not done yet is left out."""
    view = StudyView.of(study)
    content = answer_content(view)
    return replace(
        content,
        by_budget=_by_budget(view, content),
        pictures=_pictures(view.study, content.runs),
    )


def answer_content(study: Study | StudyView) -> ReportContent:
    """Return what is needed of a report for its answer and its main tables: all but pictures and the path of budgets."""
    from voxmix.report import Check, ReportContent

    view = StudyView.of(study)
    config = view.config
    parts: dict[str, Any] = {"study": config.name, "budget": config.allocation.budget}
    parts["min_weight"], parts["asked"] = config.allocation.min_weight, config.allocation
    made = provenance()
    parts["made"] = made["time"]
    facts: dict[str, dict[str, str]] = {"Versions": made["versions"], "Machine": {"kind": made["machine"]}}
    try:
        parts["domains"] = _domain_summaries(view)
        facts["Data"] = {"prepared volumes": view.cache_digest, "recipe": view.cache.recipe.digest}
        runs = view.results(view.proxies)
        parts["runs"] = runs
        parts["kinds"] = {spec.run_id: kind for kind, specs in view.proxies_by_kind.items() for spec in specs}
        rounds = tuple(spec for item in view.rounds for spec in item.specs(config, view.cache_digest))
        parts["kinds"] = dict.fromkeys((spec.run_id for spec in rounds), REFINE_RUNS) | parts["kinds"]
        parts["runs"] = (*runs, *(run for run in view.results(rounds) if run not in runs))
        if runs:
            left = view.study.pending(view.proxies)
            parts["measurements"] = measurements(runs, view.domains, view.targets) if left else view.table
        parts["refinement"], parts["no_refinement"] = view.refinement, view.refine_missing
        parts["laws"] = view.laws
        parts["notes"] = tuple(
            f"strategy {name} is not shown, because {why}; next: voxmix refine"
            for name, why in view.strategies_pending.items()
        )
        parts["strategies"] = view.allocations
        checks = {name: view.results(specs) for name, specs in view.checks_by_strategy.items()}
        parts["checks"] = tuple(
            Check(
                strategy=name,
                budget=config.allocation.budget,
                seed=result.spec.seed,
                target=target,
                loss=loss,
                loss_se=result.losses[target]["loss_se"],
            )
            for name, results in checks.items()
            for result in results
            for target in view.targets
            if (loss := result.losses[target]["loss"]) is not None
        )
        known = {run.run_id for run in parts["runs"]}
        unique = {result.run_id: result for results in checks.values() for result in results}
        parts["runs"] = (*parts["runs"], *(result for key, result in unique.items() if key not in known))
    except StepPendingError:
        pass  # the report names what is not there yet, and its command
    return _recommend(ReportContent(facts=facts, **parts))


def _recommend(content: ReportContent) -> ReportContent:
    """Return the content with the law's mixture as the answer, unless it was measured worse than another.

    A prediction that a measurement contradicts is no answer: then the answer is the first strategy, in the
    order of preference, that is tied with the best that was measured.
    """
    from voxmix.report.content import preferred_strategies
    from voxmix.report.findings import measured
    from voxmix.report.ranking import rank_by_objective

    favorite = content.answer
    if favorite is None or not content.checks or content.budget is None:
        return content
    ranking = rank_by_objective(content, measured(content, budget=content.budget))
    tied = ranking.tied
    if favorite in tied or favorite not in ranking.strategies:
        return content
    chosen = next((name for name in preferred_strategies() if name in tied), tied[0])
    note = (
        f"{chosen} is the answer because of the measurements: the mixture of the law, {favorite}, was trained too "
        "and was worse by more than noise"
    )
    return replace(content, recommended=chosen, notes=(*content.notes, note))


def _by_budget(view: StudyView, content: ReportContent) -> tuple[Allocation, ...]:
    """Return what the law of the answer gives from the smallest budget that was run to the study's own."""
    from voxmix.allocation import allocate

    if content.answer_law is None or not content.strategies or not content.runs:
        return ()
    settings, high = view.asked, view.config.allocation.budget
    low = min(run.budget for run in content.runs)
    budgets = np.unique(np.geomspace(low, max(low, high), 13).round())
    law = content.laws[content.answer_law]
    settings = settings.on(law.targets, of=view.targets)
    return tuple(allocate(law, settings, budget=int(budget)) for budget in budgets)


def _domain_summaries(view: StudyView) -> tuple[DomainSummary, ...]:
    from voxmix.domain import PAPER_DOMAINS
    from voxmix.report import DomainSummary

    known = {domain.name: domain for domain in PAPER_DOMAINS}
    cache = view.cache
    train, held_out = view.counts, cache.counts("validation")
    fitness = {item.domain: item for item in view.fitness}
    return tuple(
        DomainSummary(
            padding=fitness[name].padding,
            one_value=fitness[name].commonest,
            at_low=fitness[name].at_low,
            at_high=fitness[name].at_high,
            complaints=_sentences(fitness[name]),
            name=name,
            modality=known[name].modality if name in known else "",
            anatomy=known[name].anatomy if name in known else "",
            training=train.get(name, 0),
            only_evaluated=name not in view.domains,
            validation=held_out[name],
            set_aside=Counter(item["reason"] for item in cache.set_aside if item["domain"] == name),
        )
        for name in view.targets
    )


def _sentences(fitness: Fitness) -> tuple[str, ...]:
    return tuple(
        f"{complaint.message}. In study.yaml, {complaint.remedy.replace('`', '')}."
        for complaint in fitness.complaints
    )


def _pictures(study: Study, runs: tuple[Any, ...]) -> tuple[Picture, ...]:
    """Return the slices of the run with the largest budget and several sources, the last such run."""
    from voxmix.report import Picture

    mixed = [run for run in runs if run.spec.mixture.source is None]
    if not mixed:
        return ()
    best = max(mixed, key=lambda run: run.budget)
    path = study.run_dir(best.spec) / SLICES_FILE
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


def _scores(view: StudyView) -> dict[str, Any]:
    """Return what the finetuning runs say, or why they cannot be compared."""
    try:
        comparison, agreements = compare_scores(view)
    except StepPendingError:
        return {}
    except InputError as error:
        return {"no_comparison": f"The finetuned encoders cannot be compared: {error}."}
    montages = (_montage(view.study, comparison.table, task) for task in comparison.table.tasks)
    return {
        "comparison": comparison,
        "agreements": agreements,
        "montages": tuple(item for item in montages if item is not None),
    }


def _montage(study: Study, table: ScoreTable, task: str) -> Montage | None:
    """Return one test case as every initialization predicted it with its first seed; None without pictures."""
    from voxmix.report import Montage

    found = {}
    for init in table.inits:
        runs = table.select(task, init=init)
        stored = _read_montage(study.downstream_dir / runs[0].folder / MONTAGE_FILE) if runs else None
        if stored is not None:
            found[init] = stored
    if not found:
        return None
    first = next(iter(found.values()))
    same = {
        name: stored
        for name, stored in found.items()
        if stored["cases"][0] == first["cases"][0] and stored["0/image"].shape == first["0/image"].shape
    }
    return Montage(
        task=task,
        case=str(first["cases"][0]),
        classes=tuple(str(name) for name in first["classes"]),
        image=first["0/image"],
        reference=first["0/reference"],
        predictions={name: stored["0/prediction"] for name, stored in same.items()},
    )


def _read_montage(path: Path) -> dict[str, Any] | None:
    """Return the first slice of a run's montage; None where there is none, or it is damaged."""
    names = ("cases", "classes", "0/image", "0/reference", "0/prediction")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


def make_report(study: Study | StudyView, hear: Listener = QUIET, *, pictures: bool = True) -> ReportContent:
    """Write the report, with or without slices of volumes, and return what it shows."""
    from voxmix.report import write_report

    view = StudyView.of(study)
    with hear.waiting("writing the report"):
        content = replace(report_content(view), **_scores(view))
        if not pictures:
            content = replace(content, pictures=(), montages=())
        write_report(content, view.study.report_path)
    return content


def report_studies(
    studies: Mapping[str, Study | StudyView], path: Path, hear: Listener = QUIET
) -> dict[str, ReportContent]:
    """Write one page of several studies by their labels, and return what it shows of each.

    Raises:
        InputError: fewer than two studies, or studies without a domain in common.
    """
    from voxmix.report import write_studies_report

    with hear.waiting("writing the report"):
        views = {label: StudyView.of(study) for label, study in studies.items()}
        found = {label: replace(answer_content(view), **_scores(view)) for label, view in views.items()}
        write_studies_report(found, path, made=provenance()["time"])
    return found
