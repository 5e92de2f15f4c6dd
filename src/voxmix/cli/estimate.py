"""The verb that says what a study will cost before it is run."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._io import size_text
from voxmix._progress import time_text
from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, StudyArgument
from voxmix.cli.kinds import do

if TYPE_CHECKING:
    from voxmix.cost.estimate import CostEstimate
    from voxmix.cost.probe import Probe
    from voxmix.study import StudyView


@verb
def estimate(
    study: StudyArgument,
    seconds: Annotated[
        float, typer.Option(help="Time limit of the probe; it runs at least two steps.")
    ] = 5.0,
    tflops: Annotated[
        float | None,
        typer.Option(help="No probe: the rate in TFLOP/s that another device sustains."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate what the unfinished runs will cost: operations, memory, disk and time.

    Time and peak memory come from a few steps of the real training loop on this machine's device, with the study's
    settings on random volumes. For another device give --tflops, the rate it sustains (a third of its peak is a
    fair guess); then no step is run. Memory is what autograd keeps of a draw, without libraries and workspaces.

    Examples:

      voxmix estimate mystudy

      voxmix estimate mystudy --tflops 40
    """
    do("estimate", study, seconds=seconds, tflops=tflops, as_json=as_json)


def estimate_mixtures(
    view: "StudyView", *, seconds: float = 5.0, tflops: float | None = None, as_json: bool = False
) -> None:
    """Print what the unfinished runs of a mixture study will cost."""
    from voxmix.study.costs import estimate_cost

    cost = estimate_cost(view, TERMINAL, seconds=seconds, tflops=tflops)
    if cost is None:
        if as_json:
            emit_json({"runs_left": 0})
        else:
            emit("every run is finished: nothing is left to compute")
        return
    found, measured = cost.found, cost.measured
    if as_json:
        emit_json(_value(found, measured))
        return
    _show(found, measured, tflops=tflops)


def _value(found: "CostEstimate", measured: "Probe | None") -> dict[str, Any]:
    return {
        "runs_left": sum(item.runs for item in found.work),
        **asdict(found),
        "run_bytes": found.run_bytes,
        "probe": None if measured is None else asdict(measured),
    }


def _show(found: "CostEstimate", measured: "Probe | None", *, tflops: float | None) -> None:
    rows = [
        [
            item.kind,
            str(item.runs),
            f"{item.draws:,}",
            f"{item.evaluated:,}",
            operations(item.flops),
            time_text(item.seconds),
        ]
        for item in found.work
    ]
    headers = ["kind", "runs", "draws", "crops measured", "operations", "one after the other"]
    emit_table("What is left", headers, rows)
    each = (
        f"{found.parameters:,} parameters, {operations(found.flops_per_draw)} a draw (forward and backward)"
    )
    emit(f"\none run: {each}")
    memory = (
        f"at least {size_text(found.run_bytes)}: {size_text(found.state_bytes)} for weights, gradients and optimizer, "
        f"{found.rows} x {size_text(found.draw_bytes)} for draws"
    )
    emit(f"memory of one run: {memory}")
    if measured is not None:
        rate = found.flops_per_draw / measured.seconds_per_draw / 1e9
        what = (
            "in use on the GPU"
            if measured.device not in ("cpu", "mps")
            else "of the process, libraries included"
        )
        emit(
            f"probe: {measured.steps} steps of {measured.batch} draw(s) on {measured.device} ({measured.threads} thread(s)), "
            f"{1 / measured.seconds_per_draw:,.3g} draws/s, {rate:,.3g} GFLOP/s, peak {size_text(measured.peak_bytes)} {what}"
        )
    elif tflops is not None:
        emit(f"no probe: {tflops:g} TFLOP/s taken as given")
    emit(f"disk: {size_text(found.disk_bytes)} for weights, and states of runs under way")
    emit(f"in all: {time_text(found.seconds)} with {found.at_once} run(s) at a time{_threads(measured)}")
    if measured is not None:
        _warn(found, measured)


def _warn(found: "CostEstimate", measured: "Probe") -> None:
    together = 1 if measured.on_gpu else found.at_once  # a run to a GPU, but all in one machine's memory
    needed, where = together * found.run_bytes, measured.device if measured.on_gpu else "this machine"
    if measured.installed_bytes is not None and needed > measured.installed_bytes:
        note(
            f"{together} run(s) at a time need at least {size_text(needed)}, and {where} has "
            f"{size_text(measured.installed_bytes)}; set compute.micro_batch, lower workers, crop or width, or use a "
            "GPU with more memory"
        )


def _threads(measured: "Probe | None") -> str:
    if measured is None or measured.on_gpu:
        return ""
    return f", {measured.threads} thread(s) each (compute.threads, --threads, OMP_NUM_THREADS)"


def operations(count: float) -> str:
    """Return a number of floating-point operations as people say it."""
    for unit, size in (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12)):
        if count >= size:
            return f"{count / size:,.3g} {unit}"
    return f"{count / 1e9:,.3g} GFLOP"
