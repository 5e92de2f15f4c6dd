"""The verbs of a study: init, prepare, run, fit, allocate, pretrain, report, status, and all in order."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxmix._progress import progress_bar, waiting
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.training import (
    CompileOption,
    DeviceOption,
    DevicesOption,
    LoadersOption,
    MicroBatchOption,
    StrategyOption,
    TrackerOption,
    WorkersOption,
    computed_so,
    train_runs,
)
from voxmix.cli.volumes import prepare_outside_study, tell_space
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.report import ReportContent
    from voxmix.store import Study
    from voxmix.volumes import Preparation

StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of tables.")]


def open_study(root: Path) -> "Study":
    from voxmix.store import Study

    return Study.open(root)


@verb
def init(
    study: StudyArgument,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of volumes (a folder per domain, or a known layout), or a manifest."),
    ] = None,
    phantoms: Annotated[bool, typer.Option("--phantoms", help="Make phantom volumes instead.")] = False,
    preset: Annotated[
        str | None, typer.Option(help="Settings to start from: small or paper; demo for phantoms.")
    ] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Use only this domain; repeat for more.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a study: look at the volumes and write a study file to edit.

    Examples:

      voxmix init mystudy --data volumes/          (volumes/ABD-CT/..., volumes/HN-PET/...)

      voxmix init mystudy --data manifest.csv --preset paper

      voxmix init mystudy --phantoms
    """
    from voxmix.experiment import start_study

    chosen = preset or ("demo" if phantoms else "small")
    started, manifest = start_study(study, data=data, phantoms=phantoms, preset=chosen, domains=domain)
    if data is not None and data.is_dir():
        from voxmix.volumes.sources import detect_layout

        note(f"{data}: layout {detect_layout(data)} (detected; another one: voxmix manifest --layout)")
    counts = manifest.counts() if manifest else started.config.data.phantoms.counts  # type: ignore[union-attr]
    if as_json:
        emit_json({"study": str(study), "volumes": counts})
        return
    emit_table("Volumes", ["domain", "volumes"], [[name, str(count)] for name, count in counts.items()])
    emit(f"\nWrote {started.root / 'study.yaml'}: read it, then: voxmix study run {study}")


def _prepare(study: "Study") -> "Preparation":
    from voxmix.experiment import make_phantoms, prepare_study, study_recipe

    study_recipe(study)
    if study.config.data.phantoms is not None:
        with progress_bar("making phantoms", unit="volumes") as progress:
            make_phantoms(study, progress=progress)
    with progress_bar("preparing", unit="volumes") as progress:
        preparation = prepare_study(study, progress=progress, tell=tell_space)
    _say_what_was_odd(preparation)
    return preparation


def _say_what_was_odd(preparation: "Preparation") -> None:
    for aside in preparation.set_aside:
        note(f"set aside {aside.path}: {aside.reason}")
    for path, remark in preparation.notes:
        note(f"{path}: {remark}")


def _show_preparation(preparation: "Preparation") -> None:
    train, held_out = preparation.cache.counts("train"), preparation.cache.counts("validation")
    aside = [item.domain for item in preparation.set_aside]
    rows = [[name, str(train[name]), str(held_out[name]), str(aside.count(name))] for name in train]
    emit_table("Prepared volumes", ["domain", "training", "validation", "set aside"], rows)


@verb
def prepare(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A study; or a manifest or a folder of volumes, with --out."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Without a study: the folder for the prepared volumes.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Without a study: a YAML file with spacing_mm, min_shape, intensity, ..."),
    ] = None,
    validation: Annotated[
        float, typer.Option(help="Share of subjects to hold out, where the manifest has no split.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Decides who is held out.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; every core when left out.")] = None,
    codec: Annotated[
        str | None,
        typer.Option(help="Without a study: how arrays are stored, npy or blosc2 (half the size)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn files into arrays that training reads fast; files that cannot be used are set aside.

    RAS axes, cubic voxels, intensities to [0, 1] by the domain's rule, foreground, padding. What is finished is
    never made again: stop it at any moment and give the same command.

    Examples:

      voxmix prepare mystudy

      voxmix prepare manifest.csv --recipe recipe.yaml --out prepared

      voxmix prepare manifest.csv --codec blosc2 --out prepared     (half the disk; for slow disks and networks)
    """
    if (source / "study.yaml").exists() or source.name == "study.yaml":
        if out is not None or recipe is not None or codec is not None:
            raise InputError(
                f"{source} is a study: recipe, codec and cache are its own (study.yaml); leave --out, --recipe and "
                "--codec out"
            )
        opened = open_study(source)
        with opened.lock():
            preparation = _prepare(opened)
    else:
        preparation = prepare_outside_study(
            source,
            out=out,
            recipe=recipe,
            validation=validation,
            seed=seed,
            workers=workers,
            codec=codec or "npy",
        )
        _say_what_was_odd(preparation)
    if as_json:
        cache = preparation.cache
        emit_json(
            {
                "training": cache.counts("train"),
                "validation": cache.counts("validation"),
                "set_aside": [
                    {"domain": item.domain, "reason": item.reason} for item in preparation.set_aside
                ],
            }
        )
        return
    _show_preparation(preparation)


@verb
def run(
    study: StudyArgument,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    strategy: StrategyOption = None,
    micro_batch: MicroBatchOption = None,
    compiled: CompileOption = None,
    loaders: LoadersOption = None,
    tracker: TrackerOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the proxy runs that are pending, as many at a time as there are cores; Ctrl-C loses nothing.

    Flags say how runs are computed, for this time; study.yaml's part compute says it for good. None of them
    changes what a run is: a study may go on with others.

    Examples:

      voxmix run mystudy

      voxmix run mystudy --device cuda --devices 4 --tracker tensorboard --tracker mlflow
    """
    from voxmix.analysis import proxy_runs, proxy_table

    opened = computed_so(
        open_study(study),
        workers=workers,
        device=device,
        devices=devices,
        strategy=strategy,
        micro_batch=micro_batch,
        compile=compiled,
        loaders=loaders,
        trackers=tracker,
    )
    with opened.lock():
        specs = proxy_runs(opened)
        train_runs(opened, specs, "training proxies")
        table = proxy_table(opened)
        table.to_csv(opened.measurements_path)
    value = {"runs": len(specs), "measurements": len(table.run), "table": str(opened.measurements_path)}
    if as_json:
        emit_json(value)
    else:
        emit(f"{value['runs']} proxy runs, {value['measurements']} measurements: {value['table']}")


def fit_study(root: Path, *, as_json: bool) -> None:
    """Fit the laws of a study to its proxy runs."""
    from voxmix.analysis import fit_laws, report_content

    opened = open_study(root)
    with opened.lock():
        with progress_bar("fitting", unit="laws") as progress:
            laws = fit_laws(opened, progress=progress)
        if as_json:
            emit_json({name: law.to_dict() for name, law in laws.items()})
            return
        with waiting("collecting results"):
            content = report_content(opened)
        _show(content, ("transfer",), as_json=False)


def allocate_study(root: Path, *, as_json: bool) -> None:
    """Find the mixture of every strategy of a study at its budget."""
    from voxmix.analysis import allocate_strategies, report_content
    from voxmix.mixture import Mixture

    opened = open_study(root)
    with opened.lock():
        with waiting("allocating"):
            found = allocate_strategies(opened)
        if as_json:
            emit_json(
                {
                    name: {"weights": item.as_dict()} if isinstance(item, Mixture) else item.to_dict()
                    for name, item in found.items()
                }
            )
            return
        with waiting("collecting results"):
            content = report_content(opened)
        _show(content, ("answer",), as_json=False)


@verb
def pretrain(
    study: StudyArgument,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    strategy: StrategyOption = None,
    micro_batch: MicroBatchOption = None,
    compiled: CompileOption = None,
    loaders: LoadersOption = None,
    tracker: TrackerOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train every strategy's mixture at the allocated budget and set measured beside predicted losses.

    Flags as of voxmix run.

    Example:

      voxmix pretrain mystudy --devices 8 --strategy fsdp --micro-batch 2
    """
    from voxmix.analysis import check_runs, report_content

    opened = computed_so(
        open_study(study),
        workers=workers,
        device=device,
        devices=devices,
        strategy=strategy,
        micro_batch=micro_batch,
        compile=compiled,
        loaders=loaders,
        trackers=tracker,
    )
    with opened.lock():
        train_runs(opened, check_runs(opened), "training mixtures")
        with waiting("collecting results"):
            content = report_content(opened)
    _show(content, ("predicted-measured",), as_json=as_json)


@verb
def report(
    study: StudyArgument,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show slices of held-out volumes, or none.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Write report.html: one file with the answer, its figures, and a table behind each.

    It holds no path and no name of a subject, but slices of held-out volumes: leave them out with
    --no-pictures before you pass it on, where they may not be shown.

    Example:

      voxmix report mystudy --no-pictures
    """
    from voxmix.analysis import make_report

    opened = open_study(study)
    with opened.lock(), waiting("writing the report"):
        make_report(opened, pictures=pictures)
    if as_json:
        emit_json({"report": str(opened.report_path)})
    else:
        emit(f"report: {opened.report_path}")


@verb
def status(study: StudyArgument, as_json: JsonOption = False) -> None:
    """Say what is done, what is out of date and what comes next."""
    from voxmix.analysis import finetuning_counts, study_status

    opened = open_study(study)
    steps = study_status(opened)
    finished, unfinished = finetuning_counts(opened)
    following = next((step for step in steps if not step.done), None)
    command = f"voxmix {following.name} {study}" if following else None
    if as_json:
        emit_json(
            {
                "steps": [{"step": s.name, "done": s.done, "detail": s.detail} for s in steps],
                "next": command,
                "finetuning": {"finished": finished, "unfinished": unfinished},
            }
        )
        return
    rows = [[step.name, "done" if step.done else "to do", step.detail] for step in steps]
    emit_table("Study", ["step", "state", "detail"], rows)
    emit(f"\nnext: {command}  (or all that is left: voxmix study run {study})" if command else "\nall done")
    if finished or unfinished:
        emit(f"finetuning: {finished} runs finished, {unfinished} not; their scores: voxmix compare {study}")


@verb
def study_run(study: StudyArgument, as_json: JsonOption = False) -> None:
    """Do every step that is left, in order: prepare, run, fit, allocate, pretrain, report."""
    opened = open_study(study)
    with opened.lock():
        _run_all(opened, as_json=as_json)


def _run_all(study: "Study", *, as_json: bool) -> None:
    from voxmix import analysis

    preparation = _prepare(study)
    if not as_json:
        _show_preparation(preparation)
    train_runs(study, analysis.proxy_runs(study), "training proxies")
    analysis.proxy_table(study).to_csv(study.measurements_path)
    with progress_bar("fitting", unit="laws") as progress:
        analysis.fit_laws(study, progress=progress)
    with waiting("allocating"):
        analysis.allocate_strategies(study)
    train_runs(study, analysis.check_runs(study), "training mixtures")
    with waiting("writing the report"):
        content = analysis.make_report(study)
    _show(content, as_json=as_json)
    if not as_json:
        emit(f"\nreport: {study.report_path}")


def _show(content: "ReportContent", only: tuple[str, ...] | None = None, *, as_json: bool) -> None:
    """Print the report's main tables, or those whose names begin so."""
    from voxmix.report import summary_tables

    tables = [table for table in summary_tables(content) if only is None or table.name.startswith(only)]
    if as_json:
        emit_json({table.name: table.records() for table in tables})
        return
    for table in tables:
        emit_table(table.title, table.headers, table.text_rows())
        emit("")


@verb
def demo(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A new folder, or the demo to go on with.")
    ] = Path("demo-study"),
    as_json: JsonOption = False,
) -> None:
    """The whole method on phantom volumes, in minutes: nothing is downloaded.

    Example:

      voxmix demo
    """
    from voxmix.experiment import start_study
    from voxmix.store import Study

    if (study / "study.yaml").exists():
        opened = Study.open(study)
        if opened.config.data.phantoms is None:
            raise InputError(f"{study} is a study of your own; go on with: voxmix study run {study}")
    else:
        opened, _ = start_study(study, data=None, phantoms=True, preset="demo", domains=None)
    with opened.lock():
        _run_all(opened, as_json=as_json)
