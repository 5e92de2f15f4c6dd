"""The verbs that train, run and pretrain, and what they share: flags for how runs are computed, what became of runs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from voxmix._progress import progress_bar, waiting
from voxmix.cli.app import emit, emit_json, note, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, open_study
from voxmix.cli.study import show
from voxmix.errors import VoxmixError

if TYPE_CHECKING:
    from voxmix.design import RunSpec
    from voxmix.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeFlags:
    """How runs are computed, as far as the command line says; None where it does not."""

    device: Annotated[
        str | None,
        typer.Option("--device", help="auto, cpu, cuda or mps; the study's compute.device if left out."),
    ] = None
    devices: Annotated[
        int | None, typer.Option("--devices", help="Processes that share every batch of one run.")
    ] = None
    sharing: Annotated[
        str | None,
        typer.Option(
            "--sharing",
            help="How devices share a batch: ddp (whole network in each) or fsdp (a part in each).",
        ),
    ] = None
    micro_batch: Annotated[
        int | None,
        typer.Option("--micro-batch", help="Draws computed at once: less memory, the same result."),
    ] = None
    compile: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Fuse the network with torch.compile.")
    ] = None
    loaders: Annotated[
        int | None, typer.Option("--loaders", help="Threads per run that read crops ahead; 0: none.")
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", help="CPU threads per run; if left out, the cores are divided among the runs."
        ),
    ] = None
    trackers: Annotated[
        list[str] | None, typer.Option("--tracker", help="tensorboard, mlflow, wandb; repeat for more.")
    ] = None
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Runs at the same time; every GPU or core if left out."),
    ] = None

    def applied_to(self, study: "Study") -> "Study":
        """Return the study with these settings; its file is left as it is.

        Raises:
            InputError: a value that cannot be used.
        """
        from voxmix.compute import ComputeSettings
        from voxmix.settings import checked

        given = {name: value for name, value in asdict(self).items() if value is not None}
        workers = given.pop("workers", study.config.workers)
        compute = study.config.compute
        if given:
            compute = checked(ComputeSettings, asdict(compute) | given, where="the command line")
        return replace(study, config=replace(study.config, compute=compute, workers=workers))


def takes_compute_flags(function: Callable[..., None]) -> Callable[..., None]:
    """Give a verb every flag of :class:`ComputeFlags`; it gets their values as one argument ``flags``."""
    hints = get_type_hints(ComputeFlags, include_extras=True)
    options = [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=None, annotation=hints[f.name])
        for f in fields(ComputeFlags)
    ]
    names = [option.name for option in options]

    def run(**values: Any) -> None:
        flags = ComputeFlags(**{name: values.pop(name) for name in names})
        function(**values, flags=flags)

    own = signature(function, eval_str=True)
    rest = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own.parameters.values() if p.name != "flags"]
    at = list(own.parameters).index("flags")
    parameters = [*rest[:at], *options, *rest[at:]]
    run.__name__, run.__doc__, run.__module__ = function.__name__, function.__doc__, function.__module__
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def train_runs(study: "Study", specs: tuple["RunSpec", ...], label: str) -> None:
    """Train the runs that are pending and say which failed, and which begun ones no longer belong to the study.

    Raises:
        VoxmixError: a run failed; the others are kept.
    """
    from voxmix.study import other_volumes_sentence
    from voxmix.study.training import check_fitness, train_pending

    pending = study.pending(specs)
    if pending:
        check_fitness(study)
    left = study.left_behind()
    if left:
        note(
            f"{len(left)} run(s) were begun with settings that {study.root / 'study.yaml'} no longer has "
            f"({', '.join(path.name for path in left[:3])}{', ...' if len(left) > 3 else ''}); they are kept: "
            "restore the settings to continue them, or delete their folders"
        )
    if not pending:
        return
    if others := other_volumes_sentence(study):
        note(others)
    with progress_bar(label, unit=pending[0].budget_unit) as progress:
        failed = train_pending(study, specs, progress=progress)
    if failed:
        by_reason: dict[str, list[RunSpec]] = {}
        for failure in failed:
            by_reason.setdefault(failure.reason, []).append(failure.spec)
        for reason, concerned in by_reason.items():
            named = ", ".join(f"{spec.run_id} ({_words(spec)})" for spec in concerned[:3])
            more = f" and {len(concerned) - 3} more" if len(concerned) > 3 else ""
            note(f"run {named}{more} failed: {reason}")
        raise VoxmixError(
            f"{len(failed)} of {len(pending)} runs failed (see above); the others are kept. "
            "Fix the cause and give the same command again"
        )


def _words(spec: "RunSpec") -> str:
    return f"{spec.mixture.source or 'a mixture'}, {spec.budget:,} {spec.budget_unit}"


@verb
@takes_compute_flags
def run(
    study: StudyArgument,
    flags: ComputeFlags,
    as_json: JsonOption = False,
) -> None:
    """Train the pending proxy runs, as many at a time as there are cores; Ctrl-C loses nothing.

    Flags override study.yaml's compute for this command. They change speed and memory, not results; a study may
    continue with other flags.

    Examples:

      voxmix run mystudy

      voxmix run mystudy --device cuda --devices 4 --tracker tensorboard --tracker mlflow
    """
    from voxmix.study import proxy_runs, proxy_table

    opened = flags.applied_to(open_study(study))
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


@verb
@takes_compute_flags
def pretrain(
    study: StudyArgument,
    flags: ComputeFlags,
    as_json: JsonOption = False,
) -> None:
    """Train every strategy's mixture at the allocated budget; compare measured with predicted losses.

    Takes the flags of voxmix run.

    Example:

      voxmix pretrain mystudy --devices 8 --sharing fsdp --micro-batch 2
    """
    from voxmix.study import check_runs, report_content

    opened = flags.applied_to(open_study(study))
    with opened.lock():
        train_runs(opened, check_runs(opened), "training mixtures")
        with waiting("collecting results"):
            content = report_content(opened)
    show(content, ("predicted-measured",), as_json=as_json)
