"""The trunk that runs of several budgets share: its last state, left by one run and taken up by the next.

A run on a trunk is a run of its own: trained alone it gives the same weights, bit for bit on a CPU. Taking the trunk
up only saves the draws that another run has made already.
"""

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from voxmix._io import atomic_path
from voxmix.compute import ComputeSettings
from voxmix.errors import InputError, VoxmixWarning
from voxmix.runs.files import METRICS_FILE
from voxmix.training.checkpoint import load_state, save_state


def how_computed(compute: ComputeSettings, fabric: Fabric) -> dict[str, Any]:
    """Return what rounding depends on: device, processes, threads, pieces, compiler."""
    return {
        "device": fabric.device.type,
        "devices": compute.processes,
        "strategy": compute.sharing if compute.processes > 1 else None,
        "micro_batch": compute.micro_batch,
        "compile": compute.compile,
        "threads": torch.get_num_threads(),
        # Left out where it is not used: trunks of before have no word for it.
        **({"tf32": True} if compute.tf32 and fabric.device.type == "cuda" else {}),
    }


def take_trunk(folder: Path, *, trunk_id: str, most: int, how: dict[str, Any]) -> dict[str, Any] | None:
    """Return the trunk's state if it stands at ``most`` steps or before; None where there is none to use.

    Warns:
        VoxmixWarning: the state is damaged, or was computed in another way, so that the run would not be
            the one it is alone; it then starts from its beginning.
    """
    try:
        state = load_state(folder)
    except InputError as error:
        warnings.warn(f"the trunk is not used: {error}", VoxmixWarning, stacklevel=2)
        return None
    if state is None or state["trunk_id"] != trunk_id or state["steps"] > most:
        return None
    if trunk_steps(folder) < state["steps"]:  # two processes have left it at once
        return None
    if state["how"] != how:
        differing = {name: (state["how"].get(name), value) for name, value in how.items()}
        listed = ", ".join(f"{name} {a} then, {b} now" for name, (a, b) in differing.items() if a != b)
        warnings.warn(
            f"the trunk in {folder} is not used, it was computed in another way: {listed}",
            VoxmixWarning,
            stacklevel=2,
        )
        return None
    return state


def leave_trunk(
    folder: Path, state: dict[str, Any], *, trunk_id: str, how: dict[str, Any], metrics: Path
) -> None:
    """Keep a run's state at its branch as the trunk's, unless a longer run has been here.

    The metrics of the trunk are written first, so that they are never behind its state.
    """
    known = folder / METRICS_FILE
    if trunk_steps(folder) > state["steps"]:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(known) as temporary:
        shutil.copyfile(metrics, temporary)
    save_state(folder, {"trunk_id": trunk_id, "how": how, **state})


def trunk_steps(folder: Path) -> int:
    """Return of how many steps a trunk, or a run, has metrics."""
    path = folder / METRICS_FILE
    return len(path.read_bytes().splitlines()) if path.exists() else 0
