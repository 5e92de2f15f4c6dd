"""The verbs that train, run and pretrain, and what they share: flags for how runs are computed."""

import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from voxmix._progress import time_text, waiting
from voxmix._stopping import EndedBySignal
from voxmix.cli.app import INTERRUPTED, TERMINAL, emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, open_study, takes_flags, whole_draws
from voxmix.cli.checks import show_regime
from voxmix.cli.kinds import do
from voxmix.cli.study import show
from voxmix.errors import InputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from voxmix.cost.estimate import CostEstimate
    from voxmix.engines.started import Launch
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
    nodes: Annotated[
        int | None,
        typer.Option(
            "--nodes",
            min=1,
            help="Machines that share the run of voxmix pretrain, started by srun or torchrun.",
        ),
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
        int | None,
        typer.Option(
            "--loaders",
            help="Threads per run that read crops ahead; 0: none; up to 8 on a GPU, none on a CPU if left out.",
        ),
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
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", help="Where runs are made: local (this machine) or slurm (jobs of a cluster)."
        ),
    ] = None
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="With --engine slurm: how many jobs are submitted.")
    ] = None
    partition: Annotated[
        str | None, typer.Option("--partition", help="With --engine slurm: where jobs are queued.")
    ] = None
    submit_only: Annotated[
        bool | None,
        typer.Option("--submit-only", help="With --engine slurm: submit jobs and do not wait for them."),
    ] = None
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run", help="With --engine slurm: print what sbatch would be given.")
    ] = None

    def applied_to(self, view: "StudyView") -> "StudyView":
        """Return the study with these settings; its file is left as it is.

        Raises:
            InputError: a value that cannot be used.
        """
        from voxmix.study import with_compute

        given = {name: value for name, value in asdict(self).items() if value is not None}
        workers = given.pop("workers", None)
        jobs: dict[str, Any] = {
            name: given.pop(name) for name in ("jobs", "partition", "dry_run") if name in given
        }
        if given.pop("submit_only", False):
            jobs["wait"] = False
        return with_compute(view, given, workers=workers, cluster=jobs, where="the command line")

    def hand_over(self, view: "StudyView") -> None:
        """Leave every step of a study to workers in jobs of a cluster, where the command shall not wait for them.

        Raises:
            HandedOver: that was done.
            InputError: no Slurm here, or it refuses what is asked for.
        """
        from voxmix.compute import ClusterSettings

        compute = view.config.compute
        settings = compute.cluster or ClusterSettings()
        if compute.engine != "slurm" or (settings.wait and not settings.dry_run):
            return
        from voxmix.engines.slurm_submit import handed_over, submit_jobs
        from voxmix.engines.submitted import place_of

        root, runs = view.root.absolute(), view.study.runs_dir.absolute()
        threads = compute.threads_of_each(1, cores=1)  # those of a job, which its workers share
        command = ["-m", "voxmix", "work", str(root), *replace(self, threads=threads)._arguments()]
        raise handed_over(submit_jobs(compute, command, runs=runs, root=root), place_of(runs))

    def _arguments(self) -> list[str]:
        """Return the flags that a worker is given."""
        given = []
        for name, value in asdict(self).items():
            flag = f"--{name.replace('_', '-')}"
            if name in _OF_THE_COMMAND or value is None:
                continue
            if isinstance(value, bool):
                given.append(flag if value else f"--no-{name}")
            elif isinstance(value, list):
                given += [part for one in value for part in ("--tracker", one)]
            else:
                given += [flag, str(value)]
        return given


_OF_THE_COMMAND = ("engine", "jobs", "partition", "submit_only", "dry_run", "workers")

takes_compute_flags = takes_flags(ComputeFlags)
"""Gives a verb every flag of :class:`ComputeFlags`, as one argument ``flags``."""


@verb
@takes_compute_flags
def run(
    study: StudyArgument,
    flags: ComputeFlags,
    pilot: Annotated[
        bool,
        typer.Option(
            "--pilot", help="Only try budgets with the uniform mixture, and say which let data matter."
        ),
    ] = False,
    up_to: Annotated[
        int | None,
        typer.Option(
            parser=whole_draws,
            metavar="DRAWS",
            help="With --pilot: the largest budget, as 4000 or 4k; the design's if left out.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="With --pilot: begin no budget that would take longer than this in all."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="With --pilot: write the proposed budgets into study.yaml.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the pending runs of a study's design, as many at a time as there are cores; Ctrl-C loses nothing.

    Flags override study.yaml's compute for this command. They change speed and memory, not results; a study may
    continue with other flags.

    With --pilot: two seeds of the uniform mixture, the smallest budget first. Prints how far each target falls, the
    time of a draw, the budgets to use and what the design then costs. Runs that the design has too are kept for it.

    Examples:

      voxmix run mystudy

      voxmix run mystudy --pilot --minutes 20

      voxmix run mystudy --device cuda --devices 4 --tracker tensorboard --tracker mlflow
    """
    do("run", study, flags=flags, pilot=pilot, up_to=up_to, minutes=minutes, write=write, as_json=as_json)


def run_proxies(
    view: "StudyView",
    *,
    pilot: bool = False,
    up_to: int | None = None,
    minutes: float | None = None,
    write: bool = False,
    as_json: bool = False,
) -> None:
    """Train the pending proxy runs of a mixture study, or only pilot runs."""
    from voxmix.study import run_step

    only = {"--up-to": up_to is not None, "--minutes": minutes is not None, "--write": write}
    if not pilot and any(only.values()):
        raise InputError(
            f"{', '.join(name for name, given in only.items() if given)} goes with --pilot; add it"
        )
    if pilot:
        _pilot(view, up_to=up_to, minutes=minutes, write=write, as_json=as_json)
        return
    done = run_step("run", view, TERMINAL)
    table = view.study.measurements_path
    runs, measured = len(done.specs), len(done.table.run)
    if as_json:
        emit_json({"runs": runs, "kinds": dict(done.kinds), "measurements": measured, "table": str(table)})
    else:
        kinds = ", ".join(f"{count} {kind}" for kind, count in done.kinds.items())
        emit(f"{runs} proxy runs ({kinds}), {measured} measurements: {table}")


def _pilot(
    view: "StudyView", *, up_to: int | None, minutes: float | None, write: bool, as_json: bool
) -> None:
    """Train the pilot runs and print what they show."""
    from voxmix.study import run_pilot, write_budgets

    with view.study.lock():
        found = run_pilot(view, TERMINAL, up_to=up_to, minutes=minutes)
        wanted = found.proposal.budgets
        written = write and bool(wanted) and wanted != view.config.design.budgets
        if written:
            write_budgets(view.study, wanted)
    if as_json:
        emit_json(
            {
                "budgets": list(found.budgets),
                "runs": found.runs,
                "falls_per_doubling": {name: list(values) for name, values in found.falls.items()},
                "regime": found.regime.to_dict(),
                "seconds_per_draw": found.seconds_per_draw,
                "proposal": {"budgets": list(wanted), "reason": found.proposal.reason},
                "cost": {
                    name: None if cost is None else asdict(cost)
                    for name, cost in (("now", found.now), ("proposed", found.proposed))
                },
                "stopped": found.stopped,
                "written": written,
            }
        )
        return
    steps = [f"to {budget:,}" for budget in found.budgets[1:]]
    rows = [
        [item.target, item.verdict, *(f"{-fall:+.1%}" for fall in found.falls[item.target])]
        for item in found.regime.targets
    ]
    emit_table(
        f"Change of the loss per doubling, from {found.budgets[0]:,}", ["target", "verdict", *steps], rows
    )
    show_regime(found.regime, table=False)
    emit(f"{found.runs} pilot runs; {found.seconds_per_draw * 1000:,.3g} ms per draw")
    if found.stopped:
        emit(found.stopped)
    emit(f"- {found.proposal.reason}")
    if not wanted:
        return
    same = wanted == view.config.design.budgets
    emit(f"proposed, below design in study.yaml:\n\n  {found.proposal.line}\n")
    emit(
        f"what is left to run: {_cost_text(found.now)} with the budgets of now"
        + ("" if same else f", {_cost_text(found.proposed)} with these")
    )
    if same:
        emit("these are the study's budgets already")
    elif written:
        emit(f"wrote them to {view.study.path}")


def _cost_text(cost: "CostEstimate | None") -> str:
    if cost is None:
        return "nothing"
    runs, draws = sum(item.runs for item in cost.work), sum(item.draws for item in cost.work)
    return f"{runs:,} runs, {draws:,} draws, {time_text(cost.seconds)}"


@verb
@takes_compute_flags
def pretrain(
    study: StudyArgument,
    flags: ComputeFlags,
    as_json: JsonOption = False,
) -> None:
    """Train every strategy's mixture at the allocated budget; compare measured with predicted losses.

    Takes the flags of voxmix run. Over several machines, or with processes of your own: start this command once per
    device, by srun or torchrun, with --nodes and --devices as there; the first process alone prints.

    Examples:

      voxmix pretrain mystudy --devices 8 --sharing fsdp --micro-batch 2

      srun --nodes 2 --ntasks-per-node 4 voxmix pretrain mystudy --nodes 2 --devices 4
    """
    from voxmix.study import answer_content, run_step

    view = flags.applied_to(open_study(study))
    with _with_others(view) as launch:
        if launch is not None and not launch.is_first:
            follow(launch)
        run_step("pretrain", view, TERMINAL)
    with waiting("collecting results"):
        content = answer_content(view)
    show(content, ("predicted-measured", "law-", "strategy-"), as_json=as_json)


def _with_others(view: "StudyView") -> "AbstractContextManager[Launch | None]":
    """Meet the processes that were started with this one; None where there are none, or no torch to train with."""
    if find_spec("torch") is None:
        return nullcontext()
    from voxmix.engines.started import joined

    return joined(view.config.compute, root=view.root, settings=view.study.path)


def follow(launch: "Launch") -> NoReturn:
    """Take part in the runs of the first process, and end as it ends, without a word."""
    try:
        code = launch.follow()
    except EndedBySignal as ended:
        code = 128 + ended.number
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
