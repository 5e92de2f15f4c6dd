"""The verb doctor: what this machine has, and what would be slow on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxmix._io import size_text
from voxmix._progress import waiting
from voxmix.cli.app import emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption

if TYPE_CHECKING:
    from voxmix.machine import Device, Machine


@verb
def doctor(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where a study lies or would lie; its disk is tried.")
    ] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Look at this machine: versions, devices, threads, memory, disk, extras; and what would be slow, with the reason.

    Writes 16 MB into the folder and takes them away again, to see how fast its disk is. Names no user, host or path.

    Examples:

      voxmix doctor

      voxmix doctor mystudy --json
    """
    from voxmix.machine import this_machine

    with waiting("looking at this machine"):
        found = this_machine(folder)
    if as_json:
        emit_json(found.as_dict())
    else:
        _show(found)


def _show(found: "Machine") -> None:
    emit_table("Versions", ["what", "version"], [list(item) for item in found.versions.items()])
    disk = found.disk
    speed = (
        "cannot be written to"
        if disk.write_bytes_per_second is None
        else f"{size_text(round(disk.write_bytes_per_second))}/s written, {1000 * (disk.seconds_per_small_file or 0):.1f} ms a small file"
    )
    threads = ", ".join(f"{name}={value}" for name, value in found.threads.items())
    rows = [
        ["system", found.system],
        *([one.kind, _device(one)] for one in found.devices),
        ["cores", f"{found.cores} of {found.machine_cores}"],
        ["threads", threads or "not limited"],
        ["memory", "not known" if found.memory_bytes is None else size_text(found.memory_bytes)],
        ["disk", f"{size_text(disk.free_bytes)} free of {size_text(disk.total_bytes)}"],
        ["file system", f"{disk.file_system or 'not known'}, {speed}"],
    ]
    emit("")
    emit_table("This machine", ["what", "found"], rows)
    emit("")
    extras = [
        [name, "installed" if not lacks else "missing", ", ".join(lacks) or "–"]
        for name, lacks in found.extras.items()
    ]
    emit_table("Extras", ["extra", "state", "lacks"], extras)
    missing = ",".join(name for name, lacks in found.extras.items() if lacks)
    emit(f'\nfor all that is missing:\n  pip install "voxmix[{missing}]"' if missing else "")
    for line in found.slow():
        emit(f"- {line}")
    if not found.slow():
        emit("- nothing here is known to be slow")


def _device(device: "Device") -> str:
    memory = "" if device.memory_bytes is None else f", {size_text(device.memory_bytes)}"
    return f"{device.name}{memory}{', bfloat16' if device.bfloat16 else ''}"
