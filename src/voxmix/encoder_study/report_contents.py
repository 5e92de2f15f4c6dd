"""What the report of an encoder study shows: its images, runs, scores, laws and examples, as far as they are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from voxmix._io import naming_full_disk
from voxmix.encoder_study.examples import study_examples
from voxmix.encoder_study.laws import fit_study_laws
from voxmix.encoder_study.probing import score_table
from voxmix.encoder_study.scores_of import chosen_for_comparison, scored_of
from voxmix.encoder_study.training import trained_runs
from voxmix.encoder_study.view import EncoderView
from voxmix.errors import InputError, StepPendingError
from voxmix.probe_tasks import ProbeTask
from voxmix.runs.provenance import provenance
from voxmix.study.listener import QUIET, Listener

if TYPE_CHECKING:
    from voxmix.encoder_study.training import TrainedRun
    from voxmix.report.encoder_content import EncoderReportContent, RunSummary

_CONTROLS = {"more compute": "compute", "equal epochs": "epochs"}
_LARGE = 10**8
"""Numbers from which on zeros cannot be counted at a glance."""
_KINDS = {
    "labels": "which labels are present",
    "classes": "which class it is",
    "masks": "which pixels belong to a mask",
    "retrieval": "which report belongs to an image, and the reverse",
    "reports": "writing the report",
}


def make_encoder_report(
    view: EncoderView, hear: Listener = QUIET, *, pictures: bool = True
) -> EncoderReportContent | None:
    """Write ``report.html`` of an encoder study and return what it shows; None for a study without tasks.

    Args:
        pictures: whether images of held-out persons are shown.

    Raises:
        StepPendingError: the images are not prepared.
    """
    from voxmix.report import write_encoder_report

    if not view.config.tasks:
        return None
    with hear.waiting("writing the report"), naming_full_disk(view.root):
        content = encoder_content(view, pictures=pictures)
        write_encoder_report(content, view.study.report_path)
    return content


def encoder_content(view: EncoderView, *, pictures: bool = True) -> EncoderReportContent:
    """Return what the report of an encoder study shows, as far as it is there."""
    from voxmix.report.encoder_content import EncoderReportContent, SubsetSummary
    from voxmix.scores import compare

    config, made = view.config, provenance()
    design, items = config.design, view.source.items
    runs = trained_runs(view)
    parts: dict[str, Any] = {}
    try:
        table = score_table(view)
        parts["scored"] = scored_of(table.results)
        parts["comparison"] = compare(chosen_for_comparison(table))
        parts["laws"] = fit_study_laws(view)
        parts["failed"] = (
            *(reason for _, reason in table.set_aside),
            *_not_judged(table.unfinished),
        )
        if pictures:
            parts["examples"] = study_examples(view)
    except (StepPendingError, InputError) as error:
        parts["no_laws"] = str(error)
    return EncoderReportContent(
        study=config.name,
        made=made["time"],
        compute=f"{format(design.budget, ',' if design.budget < _LARGE else '.3g')} {design.budget_unit}",
        domains=dict(sorted(Counter(item.domain for item in items if item.split == "train").items())),
        tasks={name: _sentence(task) for name, task in config.tasks.items()},
        subsets=tuple(
            SubsetSummary(
                images=subset.images,
                persons=subset.persons,
                epochs=subset.epochs(design.budget) if design.budget_unit == "draws" else None,
            )
            for subset in view.subsets
        ),
        runs=tuple(_summaries(runs)),
        facts={
            "Versions": made["versions"],
            "Machine": {"kind": made["machine"]},
            "Data": {"prepared images": view.source.digest, "recipe": str(config.recipe.pixels) + " pixels"},
        },
        **parts,
    )


def _not_judged(unfinished: tuple[str, ...]) -> Iterator[str]:
    """Yield in one sentence how many probes of each task are not done, each named "task: encoder, seed"."""
    by_task = Counter(one.partition(": ")[0] for one in unfinished)
    if by_task:
        told = ", ".join(f"{count} of {task}" for task, count in by_task.items())
        yield f"not judged yet: {told} (e.g. {unfinished[0]}); voxmix probe judges them"


def _sentence(task: ProbeTask) -> str:
    about = ", ".join(task.labels or task.masks or ((task.column,) if task.column else ()))
    where = (
        "images of another place than encoders learn from" if task.outside else "images of persons held out"
    )
    head = f", read by {task.head}" if task.kind in ("labels", "classes") and task.head != "linear" else ""
    return f"{_KINDS[task.kind]}{f' ({about})' if about else ''}, on {where}{head}"


def _summaries(runs: tuple[TrainedRun, ...]) -> Iterator[RunSummary]:
    from voxmix.report.encoder_content import RunSummary

    groups: dict[tuple[str, str, int, str], list[TrainedRun]] = {}
    for run in runs:
        key = (
            run.planned.spec.objective,
            run.planned.start,
            run.planned.spec.samples,
            _CONTROLS.get(run.planned.kind, ""),
        )
        groups.setdefault(key, []).append(run)
    for (objective, start, samples, control), some in groups.items():
        found = [run.result for run in some if run.result is not None]
        yield RunSummary(
            objective=objective,
            start=start,
            samples=samples,
            control=control,
            done=len(found),
            planned=len(some),
            draws=sum(r.draws for r in found) / len(found) if found else None,
            seconds=sum(r.seconds for r in found) / len(found) if found else None,
            alarms=tuple(dict.fromkeys(line for r in found for line in r.alarms)),
        )
