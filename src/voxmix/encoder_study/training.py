"""Training what an encoder study asks for, several runs at a time, and the table of what came of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxmix._io import mean_text, naming_full_disk, write_text
from voxmix._optional import require
from voxmix.encoder_study.specs import PlannedRun, training_pool
from voxmix.encoder_study.view import EncoderView
from voxmix.errors import InputError
from voxmix.objective_rows import OBJECTIVES
from voxmix.probe_tasks import SCRATCH
from voxmix.study.listener import QUIET, Listener
from voxmix.study.making import at_once, finish_specs, tell_failures, threads_of_each
from voxmix.study.step import StepRuns
from voxmix.subsets import write_keys

if TYPE_CHECKING:
    from voxmix.encoder_runs import EncoderSpec
    from voxmix.engines.work import EncoderWork
    from voxmix.runs.encoder_results import EncoderResult


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedRun:
    """A planned run and what it measured; None where it is not finished."""

    planned: PlannedRun
    result: EncoderResult | None


def train_encoders(view: EncoderView, hear: Listener = QUIET) -> tuple[TrainedRun, ...]:
    """Train the runs that are pending, write ``runs.csv``, and return every run of the design.

    Raises:
        VoxmixError: a run failed; the others are kept, and stand in the table.
    """
    require("torch", extra="train")
    check_texts(view)
    for line in subset_lines(view):
        hear.tell(line)
    write_subsets(view)
    try:
        if view.pending:
            _train(view, hear)
    finally:
        runs = trained_runs(view)
        write_runs(view, runs)
    return runs


def _train(view: EncoderView, hear: Listener) -> None:
    together = at_once(view.config.compute, workers=view.config.workers, most=len(view.planned))
    work = _works(view, together=together)
    pending = len(view.pending)
    with hear.bar("training encoders", unit=view.config.design.budget_unit) as progress:
        failed = finish_specs(
            [run.spec for run in view.planned],
            work_of=work,
            folder_of=view.study.run_dir,
            together=together,
            progress=progress,
        )
    tell_failures(failed, of=pending, words=words_of, hear=hear)


def _works(view: EncoderView, *, together: int) -> Callable[[EncoderSpec], EncoderWork]:
    """Return how the run of a spec is made, where so many go on at the same time."""
    from voxmix.engines.work import EncoderWork

    study, compute = view.study, view.config.compute
    threads = threads_of_each(compute, together=together)
    starts = {run.spec.run_id: run.start for run in view.planned}

    def work(spec: EncoderSpec) -> EncoderWork:
        return EncoderWork(
            spec=spec,
            cache=study.prepared_dir,
            subset=study.subset_path(spec.subset),
            start=study.start_folder(starts[spec.run_id]),
            compute=compute,
            threads=threads,
            watch_images=view.config.watch.images,
            watch_times=view.config.watch.times,
        )

    return work


def encoder_runs(view: EncoderView, hear: Listener = QUIET, *, together: int = 1) -> StepRuns:
    """Return the runs of the design, for workers of which so many go on at the same time on this machine."""
    from voxmix.engines.job_file import Job

    require("torch", extra="train")
    if view.pending:
        check_texts(view)
        write_subsets(view)
    work = _works(view, together=together)
    jobs = [Job(folder=view.study.run_dir(run.spec), work=work(run.spec)) for run in view.planned]
    return StepRuns(
        jobs=jobs,
        words=words_of,
        table=lambda now: write_runs(now, trained_runs(now)),
        table_of_part=True,
    )


def words_of(spec: Any) -> str:
    """Return what a run is, in words."""
    start = SCRATCH if spec.start is None else spec.start.name
    return f"{spec.objective} from {start}, {spec.samples:,} images, seed {spec.seed}, {spec.budget:,} {spec.budget_unit}"


def check_texts(view: EncoderView) -> None:
    """Refuse reports, or labels, that are all alike: there is nothing to tell images apart by.

    Raises:
        InputError: names the objective and what is alike.
    """
    source = view.source
    pool = training_pool(view.config, source)
    for name, plan in view.config.objectives.items():
        if not OBJECTIVES[name].reads_texts:
            continue
        targets = getattr(plan.settings, "targets", "reports")
        ways = {"report": source.tokens, "set of labels": source.label_tokens}
        wanted = {"reports": ("report",), "labels": ("set of labels",)}.get(targets, tuple(ways))
        for what in wanted:
            different: set[bytes] = set()
            for item in pool:
                if text := ways[what](item).tobytes():
                    different.add(text)
                if len(different) > 1:
                    break
            else:
                found = "is the same for all" if different else "is missing from all"
                raise InputError(
                    f"objective {name} tells images apart by their {what}, which {found} of the {len(pool):,} training images; "
                    "mend the table, or take dino or mae"
                )


def write_subsets(view: EncoderView) -> None:
    """Write the keys of the images of every subset, for the processes that train."""
    pool = training_pool(view.config, view.source)
    with naming_full_disk(view.root):
        for subset in view.subsets:
            write_keys(view.study.subset_path(subset.digest), [pool[place].key for place in subset.items])


def trained_runs(view: EncoderView) -> tuple[TrainedRun, ...]:
    """Return every run of the design with what it measured."""
    return tuple(TrainedRun(planned=run, result=view.result(run)) for run in view.planned)


COLUMNS = (
    "run", "objective", "start", "kind", "samples", "persons", "epochs", "repeats", "seed", "budget", "unit", "draws",
    "held_out_loss", "held_out_se", "loss", "flops", "seconds", "alarms",
)  # fmt: skip
"""Columns of ``runs.csv``: one row per finished run."""


def run_rows(runs: Sequence[TrainedRun]) -> Iterator[dict[str, Any]]:
    """Yield a row for each finished run; nothing in it names a person."""
    for run in runs:
        result = run.result
        if result is None:
            continue
        spec, held_out = result.spec, result.held_out or {}
        yield {
            "run": spec.run_id,
            "objective": spec.objective,
            "start": run.planned.start,
            "kind": run.planned.kind,
            "samples": result.images,
            "persons": result.persons,
            "epochs": round(result.epochs, 4),
            "repeats": run.planned.subset.repeats(result.draws),
            "seed": spec.seed,
            "budget": spec.budget,
            "unit": spec.budget_unit,
            "draws": result.draws,
            "held_out_loss": held_out.get("loss"),
            "held_out_se": held_out.get("loss_se"),
            "loss": result.final.get("loss"),
            "flops": result.flops,
            "seconds": result.seconds,
            "alarms": "; ".join(result.alarms),
        }


def write_runs(view: EncoderView, runs: Sequence[TrainedRun]) -> None:
    """Write the table of finished runs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(run_rows(runs))
    with naming_full_disk(view.root):
        write_text(view.study.table_path, text.getvalue())


def subset_lines(view: EncoderView) -> Iterator[str]:
    """Yield what is in no subset, and which sizes hold the same images, in sentences."""
    train = [item for item in view.source.items if item.split == "train"]
    left_out = len(train) - len(training_pool(view.config, view.source))
    if left_out:
        yield (
            f"{left_out:,} of {len(train):,} training images have no report and are in no subset, so that every objective sees "
            "the same images; design.only_with_reports: false lets objectives without reports use them"
        )
    if len(view.subsets) < len(view.config.design.samples):
        kept = ", ".join(f"{subset.images:,}" for subset in view.subsets)
        yield f"sizes of design.samples that hold the same images are one; the subsets have {kept} images"


def summary_table(runs: Sequence[TrainedRun]) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows: a row per objective, start and subset, with the mean over seeds and their range."""
    groups: dict[tuple[str, str, str, int, int], list[TrainedRun]] = {}
    for run in runs:
        spec = run.planned.spec
        groups.setdefault(
            (spec.objective, run.planned.start, run.planned.kind, spec.samples, spec.budget), []
        ).append(run)
    rows = []
    for (objective, start, kind, samples, _), some in sorted(groups.items(), key=lambda group: group[0]):
        found = [run.result for run in some if run.result is not None]
        losses = [r.held_out["loss"] for r in found if r.held_out is not None]
        rows.append(
            [
                objective,
                start,
                kind,
                f"{samples:,}",
                f"{some[0].planned.subset.persons:,}",
                f"{found[0].epochs:.3g}" if found else "-",
                f"{len(found)} of {len(some)}",
                mean_text(losses),
                mean_text([r.final["loss"] for r in found]),
                f"{sum(r.seconds for r in found) / len(found):.0f}" if found else "-",
                str(sum(bool(r.alarms) for r in found)),
            ]
        )
    headers = [
        "objective",
        "start",
        "compute",
        "images",
        "persons",
        "epochs",
        "runs",
        "held-out loss",
        "training loss",
        "seconds",
        "alarms",
    ]
    return headers, rows


def alarm_lines(runs: Sequence[TrainedRun]) -> Iterator[str]:
    """Yield a sentence for each objective of which runs collapsed or learned nothing: how many, and the first one's words."""
    for objective in dict.fromkeys(run.planned.spec.objective for run in runs):
        own = [
            run.result for run in runs if run.planned.spec.objective == objective and run.result is not None
        ]
        alarmed = [result for result in own if result.alarms]
        if alarmed:
            first = f"run {alarmed[0].spec.run_id}: {alarmed[0].alarms[0]}"
            yield f"{objective}: {len(alarmed)} of {len(own)} runs have an alarm (runs.csv names each), e.g. {first}"
