"""What the verbs of studies do for an encoder study."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from voxmix._io import as_argument, size_text
from voxmix._progress import progress_bar
from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, note
from voxmix.errors import InputError
from voxmix.study.files import ENCODERS, is_study, kind_of

if TYPE_CHECKING:
    from voxmix.encoder_study import EncoderView
    from voxmix.encoder_study.preparing import PreparedStudy
    from voxmix.encoder_study.training import TrainedRun
    from voxmix.images.audit import ImageAudit


def begin(
    study: Path,
    *,
    images: Path | None,
    volumes: Path | None,
    slices: bool,
    objective: Sequence[str] | None,
    samples: str | None,
    start: Sequence[str] | None,
    edge: int | None,
    label: Sequence[str] | None,
    preset: str,
    domains: Sequence[str],
    exclude: Sequence[str],
    as_json: bool,
) -> None:
    """Start a study of encoders, print what was found, and where its settings are."""
    from voxmix.encoder_study import MadeRadiographs, start_encoder_study

    begun = start_encoder_study(
        study,
        images=images,
        radiographs=MadeRadiographs() if images is None and volumes is None else None,
        volumes=volumes,
        slices=slices,
        objectives=[name.strip() for given in objective or () for name in given.split(",") if name.strip()],
        samples=sample_sizes(samples),
        starts=start_folders_of(start),
        preset=preset,
        edge=edge,
        labels=label or (),
        domains=domains,
        exclude=exclude,
    )
    config = begun.study.config
    if as_json:
        emit_json(
            {
                "study": str(study),
                "seen": list(begun.seen),
                "training_images": begun.training_images,
                "objectives": list(config.objectives),
                "samples": list(config.design.samples),
                "starts": {
                    name: None if name not in begun.starts else begun.starts[name].digest
                    for name in config.starts
                },
                "seeds": config.design.seeds,
                "budget": config.design.budget,
                "budget_unit": config.design.budget_unit,
                "study_file": str(begun.study.path),
            }
        )
        return
    for line in begun.seen:
        emit(line)
    sizes = ", ".join(str(size) for size in config.design.samples)
    what = "images" if config.backbone.axes == 2 else "volumes"
    emit(
        f"\n{', '.join(config.objectives)} from {', '.join(config.starts)} on {sizes} of {begun.training_images:,} training "
        f"{what}, {config.design.seeds} seeds, {config.design.budget:,} {config.design.budget_unit} each"
    )
    emit(f"\nWrote {begun.study.path}: read it, then: voxmix study run {as_argument(study)}")


def begin_demo(root: Path) -> None:
    """Start the demo in a new folder; one that is there is gone on with.

    Raises:
        InputError: the folder is a study of another kind, or of images of the user's.
    """
    from voxmix.encoder_study import EncoderView, start_encoder_study
    from voxmix.encoder_study.presets import DEMO_RADIOGRAPHS

    if not is_study(root):
        start_encoder_study(root, radiographs=DEMO_RADIOGRAPHS, preset="demo")
        return
    if kind_of(root) != ENCODERS or EncoderView.open(root).config.data.radiographs is None:
        raise InputError(
            f"{root} is a study, and not this demo; continue it with: voxmix study run {as_argument(root)}"
        )


def sample_sizes(text: str | None) -> tuple[int | str, ...]:
    """Return sizes of subsets from a text such as "64,256,all".

    Raises:
        InputError: a part that is neither a whole number nor all.
    """
    from voxmix.subsets import ALL

    found: list[int | str] = []
    for part in (text or "").replace(" ", "").split(","):
        if part and part != ALL and not part.isdecimal():
            raise InputError(
                f"--samples {text!r}: {part!r} is no number of images; e.g. --samples 64,256,1024,all"
            )
        if part:
            found.append(part if part == ALL else int(part))
    return tuple(found)


def start_folders_of(given: Sequence[str] | None) -> dict[str, Path | None] | None:
    """Return start to folder from texts such as "rad-dino=FOLDER"; scratch has none. None where nothing is given.

    Raises:
        InputError: a text without a name or a folder, or a name twice.
    """
    from voxmix.encoder_study.config import SCRATCH

    found: dict[str, Path | None] = {}
    for text in given or ():
        name, separator, folder = text.partition("=")
        if text != SCRATCH and not (separator and name and folder and name != SCRATCH):
            raise InputError(
                f"--start {text!r} should be NAME=FOLDER (a folder of weights on this machine), or {SCRATCH}"
            )
        if name in found:
            raise InputError(f"--start names {name} twice; give every start once")
        found[name] = None if text == SCRATCH else Path(folder)
    return found or None


def open_encoders(root: Path, *, check: bool = True) -> "EncoderView":
    """Return a view of an encoder study."""
    from voxmix.encoder_study import EncoderView

    view = EncoderView.open(root)
    if check:
        view.check()
    return view


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
    emit_table("Prepared images", headers, rows)


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

    show_runs(view, run_step("run", view, TERMINAL), as_json=as_json)


def show_runs(view: "EncoderView", runs: "Sequence[TrainedRun]", *, as_json: bool) -> None:
    """Print the finished runs: subsets, epochs, losses before and after, cost, and what collapsed."""
    from voxmix.encoder_study.training import alarm_lines, run_rows, summary_table

    if as_json:
        emit_json({"runs": list(run_rows(runs)), "table": str(view.study.table_path)})
        return
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


def status(view: "EncoderView", *, as_json: bool = False) -> None:
    """Print what is done, the subsets, and what comes next."""
    from voxmix.encoder_study import study_state
    from voxmix.study import next_step

    state = study_state(view)
    following = next_step(state.steps)
    if as_json:
        emit_json(state.as_dict() | {"next": following.command if following else None})
        if state.problems:
            raise typer.Exit(InputError.exit_code)
        return
    rows = [[step.name, "done" if step.done else "to do", step.detail] for step in state.steps]
    emit_table("Study of encoders", ["step", "state", "detail"], rows)
    if state.subsets:
        emit("")
        headers = ["samples", "images", "persons", "epochs", "repeats", "domains"]
        emit_table("Nested subsets", headers, [one.row() for one in state.subsets])
        emit("")
        emit_table("Runs", ["objective", "start", "finished", "begun", "with an alarm"], state.run_rows())
    for line in state.notes:
        note(line)
    if state.problems:
        raise InputError(f"{view.root} cannot go on:\n" + "\n".join(f"  - {line}" for line in state.problems))
    emit(
        f"\nnext: {following.command}  (or every remaining step: voxmix study run {as_argument(view.root)})"
        if following
        else "\nall done"
    )


def study_run(view: "EncoderView", *, as_json: bool = False) -> None:
    """Do every step that is not done, in order."""
    from voxmix.study import run_steps

    with view.lock():
        for name, outcome in run_steps(view, TERMINAL):
            if name == "prepare" and not as_json:
                show_preparation(outcome)
            elif name == "run":
                show_runs(view, outcome, as_json=as_json)


def estimate(
    view: "EncoderView", *, seconds: float = 5.0, tflops: float | None = None, as_json: bool = False
) -> None:
    """Print what its unfinished runs will cost."""
    from voxmix.cli.estimate import operations, time_text
    from voxmix.encoder_study.costs import estimate_cost

    cost = estimate_cost(view, TERMINAL, seconds=seconds, tflops=tflops)
    if as_json:
        emit_json(
            {"runs_left": 0}
            if cost is None
            else {"runs_left": sum(one.runs for one in cost.work), **asdict(cost)}
        )
        return
    if cost is None:
        emit("every run is finished: nothing is left to compute")
        return
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


_FEW = 5


def audit(source: Path, *, sheets: Path | None, workers: int | None, as_json: bool) -> None:
    """Print what is odd about the images of a folder, a table or an encoder study; exit code 1 when there is a leak."""
    from voxmix.encoder_study.config import ImageData
    from voxmix.encoder_study.preparing import read_table
    from voxmix.images.audit import audit_images, write_image_sheets
    from voxmix.runs import cores

    place, data = source, ImageData(path=str(source))
    if is_study(source):
        study = open_encoders(source).study
        place, data = study.source, study.config.data
        if data.volumes is not None:
            raise InputError(
                f"{source} is a study of prepared volumes; audit the volumes that they were made from"
            )
    read = read_table(place, data)
    table, seen = read.split(seed=data.split_seed, fraction=data.validation_fraction), read.summary()
    with progress_bar("auditing", unit="images") as progress:
        found = audit_images(table, workers=workers or cores(), progress=progress)
    written = write_image_sheets(found, sheets) if sheets is not None else ()
    if as_json:
        emit_json(
            {
                "images": len(found.surveys),
                "seen": list(seen),
                "counts": found.counts(),
                "findings": [
                    {
                        "kind": f.kind,
                        "domain": f.domain,
                        "id": f.name,
                        "path": str(f.path),
                        "message": f.message,
                    }
                    for f in found.findings
                ],
                "written": [str(path) for path in written],
            }
        )
    else:
        for line in seen:
            emit(line)
        _show_findings(found)
        for path in written:
            if path.suffix == ".html":
                emit(f"\nlook at: {path}  (shows patients: keep it with the data)")
    if found.counts().get("leak"):
        raise typer.Exit(1)


def _show_findings(found: "ImageAudit") -> None:
    """Print the first findings of each kind and domain, and how many there are."""
    images = Counter(survey.record.domain for survey in found.surveys)
    groups: dict[tuple[str, str], list[str]] = {}
    for finding in found.findings:
        groups.setdefault((finding.kind, finding.domain), []).append(f"  {finding.path}: {finding.message}")
    for (kind, domain), lines in groups.items():
        emit(f"{kind}, {domain}: {len(lines)} of {images[domain]:,} images")
        for line in lines[:_FEW]:
            emit(line)
        if len(lines) > _FEW:
            emit(f"  ... and {len(lines) - _FEW} more (--json lists all)")
    if not groups:
        emit("nothing odd was found")
