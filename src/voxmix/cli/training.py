"""The verbs that train, run and pretrain, and what they share: flags for how runs are computed."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from voxmix._progress import waiting
from voxmix.cli.app import TERMINAL, emit, emit_json, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, open_study, takes_flags
from voxmix.cli.study import show

if TYPE_CHECKING:
    from voxmix.study import StudyView


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

    def applied_to(self, view: "StudyView") -> "StudyView":
        """Return the study with these settings; its file is left as it is.

        Raises:
            InputError: a value that cannot be used.
        """
        from voxmix.study import with_compute

        given = {name: value for name, value in asdict(self).items() if value is not None}
        workers = given.pop("workers", None)
        return with_compute(view, given, workers=workers, where="the command line")


takes_compute_flags = takes_flags(ComputeFlags)
"""Gives a verb every flag of :class:`ComputeFlags`, as one argument ``flags``."""


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
    from voxmix.study import run_step

    view = flags.applied_to(open_study(study))
    done = run_step("run", view, TERMINAL)
    table = view.study.measurements_path
    runs, measured = len(done.specs), len(done.table.run)
    if as_json:
        emit_json({"runs": runs, "kinds": dict(done.kinds), "measurements": measured, "table": str(table)})
    else:
        kinds = ", ".join(f"{count} {kind}" for kind, count in done.kinds.items())
        emit(f"{runs} proxy runs ({kinds}), {measured} measurements: {table}")


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
    from voxmix.study import answer_content, run_step

    view = flags.applied_to(open_study(study))
    run_step("pretrain", view, TERMINAL)
    with waiting("collecting results"):
        content = answer_content(view)
    show(content, ("predicted-measured", "strategy-"), as_json=as_json)
