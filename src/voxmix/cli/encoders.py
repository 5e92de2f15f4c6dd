"""What the verbs of studies do for an encoder study."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from voxmix._io import as_argument, size_text
from voxmix._progress import time_text
from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, note
from voxmix.cli.encoder_scores import answer, show_answer, show_laws
from voxmix.cli.probing import probes_value, show_probes
from voxmix.cli.steps import say_next, show_going_on, show_steps
from voxmix.errors import InputError
from voxmix.runs.files import CARD_FILE

if TYPE_CHECKING:
    from voxmix.encoder_study import EncoderView
    from voxmix.encoder_study.costs import EncoderStudyCost, ProbesCost
    from voxmix.encoder_study.preparing import PreparedStudy
    from voxmix.encoder_study.training import TrainedRun


def open_encoders(root: Path, *, check: bool = True) -> "EncoderView":
    """Return a view of an encoder study."""
    from voxmix.encoder_study import EncoderView

    view = EncoderView.open(root)
    if check:
        view.check()
    return view


def prepared_images(root: Path) -> Path:
    """Return where its images lie prepared, or the volumes that it learns from."""
    from voxmix.encoder_study import EncoderStudy

    return EncoderStudy.open(root).prepared_dir


def export(view: "EncoderView", *, mixture_for: str | None = None) -> None:
    """Refuse, since which of its runs is wanted is not known: each has an encoder."""
    finished = sorted(path.parent for path in view.study.runs_dir.glob(f"*/{CARD_FILE}"))
    example = (
        f"e.g. voxmix export {as_argument(finished[0])} ({view.study.table_path.name} there names them all)"
        if finished
        else f"none is finished yet: voxmix status {as_argument(view.root)}"
    )
    raise InputError(
        f"{view.root} is a study of encoders, of which each run has an encoder; give the folder of a run, {example}"
    )


def prepare(view: "EncoderView", *, as_json: bool = False) -> None:
    """Prepare its images, reports and starts, and print what there is."""
    from voxmix.encoder_study import run_step

    preparation = run_step("prepare", view, TERMINAL)
    if as_json:
        emit_json(_preparation_value(preparation))
    else:
        show_preparation(preparation)


def show_preparation(preparation: "PreparedStudy") -> None:
    """Print the images, persons, reports and labels of each domain."""
    everything, aside = (
        preparation.source.items,
        () if preparation.images is None else preparation.images.set_aside,
    )
    read = preparation.images is not None and preparation.images.texts is not None
    rows = []
    for name in sorted({item.domain for item in everything}):
        items = [item for item in everything if item.domain == name]
        train = [item for item in items if item.split == "train"]
        rows.append(
            [
                name,
                f"{len(train):,}",
                f"{len(items) - len(train):,}",
                f"{len({item.person for item in items}):,}",
                f"{sum(item.has_text for item in items):,}" if read else "-",
                f"{sum(bool(item.labels) for item in items):,}",
                f"{sum(one.domain == name for one in aside):,}",
            ]
        )
    headers = ["domain", "training", "validation", "persons", "with report", "with labels", "set aside"]
    emit_table("Prepared volumes" if preparation.images is None else "Prepared images", headers, rows)


def _preparation_value(preparation: "PreparedStudy") -> dict[str, Any]:
    source, images = preparation.source, preparation.images
    texts, aside = (None, ()) if images is None else (images.texts, images.set_aside)
    counts = {
        side: Counter(item.domain for item in source.items if item.split == split)
        for side, split in (("training", "train"), ("validation", "validation"))
    }
    return {
        **{side: dict(sorted(found.items())) for side, found in counts.items()},
        "made": 0 if images is None else images.made,
        "labels": list(source.label_names),
        "set_aside": [{"domain": item.domain, "reason": item.reason} for item in aside],
        "texts": None
        if texts is None
        else {
            "with_text": texts.texts,
            "empty": texts.empty,
            "different": texts.different,
            "cut": texts.cut,
            "replaced": dict(texts.replaced),
        },
    }


def run(view: "EncoderView", *, as_json: bool = False) -> None:
    """Train its pending runs and print what came of all."""
    from voxmix.encoder_study import run_step

    runs = run_step("run", view, TERMINAL)
    if as_json:
        emit_json(runs_value(view, runs))
    else:
        show_runs(view, runs)


def runs_value(view: "EncoderView", runs: "Sequence[TrainedRun]") -> dict[str, Any]:
    """Return the finished runs as JSON-like data."""
    from voxmix.encoder_study.training import run_rows

    return {"runs": list(run_rows(runs)), "table": str(view.study.table_path)}


def show_runs(view: "EncoderView", runs: "Sequence[TrainedRun]") -> None:
    """Print the finished runs: subsets, epochs, losses before and after, cost, and what collapsed."""
    from voxmix.encoder_study.training import alarm_lines, summary_table

    headers, rows = summary_table(runs)
    emit_table("Encoders", headers, rows)
    alarmed = [run for run in runs if run.result is not None and run.result.alarms]
    emit(
        "\nheld-out loss: on images of persons kept aside, mean of seeds and half their range; losses of different objectives "
        "cannot be compared"
    )
    for line in alarm_lines(runs):
        note(line)
    emit(f"\n{len(runs)} runs, {len(alarmed)} with an alarm: {view.study.table_path}")


def status(view: "EncoderView", *, as_json: bool = False) -> bool:
    """Print what is done, the subsets, what goes on, and what comes next; return whether all is done."""
    from voxmix.encoder_study import study_state
    from voxmix.study import next_step
    from voxmix.study.going_on import going_on

    state = study_state(view)
    following, now = next_step(state.steps), going_on(view.root, state.steps)
    if as_json:
        emit_json(state.as_dict() | {"next": following.command if following else None, "now": now.as_dict()})
        if state.problems:
            raise typer.Exit(InputError.exit_code)
        return following is None
    show_steps("Study of encoders", state.steps)
    if state.subsets:
        emit("")
        headers = ["samples", "images", "persons", "epochs", "repeats", "domains"]
        emit_table("Nested subsets", headers, [one.row() for one in state.subsets])
        emit("")
        emit_table("Runs", ["objective", "start", "finished", "begun", "with an alarm"], state.run_rows())
    show_going_on(now)
    for line in state.notes:
        note(line)
    if state.problems:
        raise InputError(f"{view.root} cannot go on:\n" + "\n".join(f"  - {line}" for line in state.problems))
    say_next(following, view.root)
    return following is None


def study_run(view: "EncoderView", *, as_json: bool = False) -> None:
    """Do every step that is not done, in order, and say what came of it."""
    from voxmix.study import run_steps

    value: dict[str, Any] = {}
    with view.lock():
        for name, outcome in run_steps(view, TERMINAL):
            if name not in _SHOWN or outcome is None:
                continue
            if as_json:
                value |= _SHOWN[name].value(view, outcome)
            else:
                _SHOWN[name].show(view, outcome)
    if as_json:
        emit_json(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shown:
    """How what came of a step is printed, and what of it is in the JSON of ``voxmix study run``."""

    show: "Callable[[EncoderView, Any], None]"
    value: "Callable[[EncoderView, Any], dict[str, Any]]"


_SHOWN = {
    "prepare": _Shown(show=lambda view, found: show_preparation(found), value=lambda view, found: {}),
    "run": _Shown(
        show=lambda view, found: show_runs(view, found), value=lambda view, found: runs_value(view, found)
    ),
    "scale": _Shown(
        show=lambda view, found: show_laws(found), value=lambda view, found: {"laws": found.as_dict()}
    ),
    "report": _Shown(
        show=show_answer,
        value=lambda view, found: {"report": str(view.study.report_path), "answer": list(answer(found))},
    ),
    "probe": _Shown(
        show=lambda view, found: show_probes(found), value=lambda view, found: probes_value(found)
    ),
}


def estimate(
    view: "EncoderView", *, seconds: float = 5.0, tflops: float | None = None, as_json: bool = False
) -> None:
    """Print what its unfinished runs and probes will cost."""
    from voxmix.encoder_study.costs import estimate_cost, estimate_probes

    cost = estimate_cost(view, TERMINAL, seconds=seconds, tflops=tflops)
    probes = estimate_probes(view, cost)
    if as_json:
        emit_json(
            {"runs_left": 0 if cost is None else sum(one.runs for one in cost.work)}
            | ({} if cost is None else asdict(cost))
            | ({} if probes is None else {"probes": asdict(probes)})
        )
        return
    if cost is not None:
        _show_cost(cost, tflops=tflops)
    elif probes is None:
        emit("every run is finished: nothing is left to compute")
    if probes is not None:
        _show_probes_cost(probes)


def _show_probes_cost(probes: "ProbesCost") -> None:
    slow = f" ({probes.decoders:,} train a decoder of reports: up to minutes each)" if probes.decoders else ""
    emit(
        f"probes: {probes.probes:,} left, {probes.images:,} images through each of {probes.encoders:,} encoders: about "
        f"{time_text(probes.seconds)}, and seconds for each head{slow}; {size_text(probes.disk_bytes)} of features are kept"
    )


def _show_cost(cost: "EncoderStudyCost", *, tflops: float | None) -> None:
    from voxmix.cli.estimate import operations

    rows = [
        [
            one.objective,
            one.start,
            str(one.runs),
            "-" if one.draws is None else f"{one.draws:,}",
            operations(one.each.flops_per_draw),
            "-" if one.flops is None else operations(one.flops),
            size_text(one.each.run_bytes),
            time_text(one.seconds),
        ]
        for one in cost.work
    ]
    headers = [
        "objective",
        "start",
        "runs",
        "draws",
        "a draw",
        "operations",
        "memory of a run",
        "one after the other",
    ]
    emit_table("What is left", headers, rows)
    image = max(one.each.image_bytes for one in cost.work)
    emit(
        f"\nmemory is at least so much: weights, gradients, optimizer and what autograd keeps; a prepared image has {size_text(image)}"
    )
    for one in cost.work:
        if (found := one.each.measured) is not None:
            emit(
                f"{one.objective} from {one.start}: {found.steps} steps of {found.batch} draws on {found.device} "
                f"({found.threads} thread(s)), {1 / found.seconds_per_draw:,.3g} draws/s"
            )
    if tflops is not None:
        emit(f"no probe: {tflops:g} TFLOP/s taken as given")
    emit(f"disk: {size_text(cost.disk_bytes)} for weights, and states of runs under way")
    emit(f"in all: {time_text(cost.seconds)} with {cost.at_once} run(s) at a time")
