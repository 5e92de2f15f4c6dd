"""Submitting jobs of workers to Slurm, once: where jobs of an earlier command live, no others are submitted."""

import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from voxmix.compute import ClusterSettings, ComputeSettings
from voxmix.engines.slurm_commands import queued, submit
from voxmix.engines.slurm_script import array_script
from voxmix.engines.submitted import forget, keep, kept, place_of
from voxmix.errors import HandedOver, InputError, VoxmixWarning


def submit_jobs(
    compute: ComputeSettings, command: Sequence[str], *, runs: Path, root: Path, most: int | None = None
) -> list[str]:
    """Submit an array of jobs whose workers run ``python COMMAND`` in ``root``; return the numbers of the arrays that live now.

    Args:
        runs: folder of the runs that they make; who submitted jobs for it before is found there.
        most: workers that have something to do; None: as many as are asked for.

    Raises:
        InputError: no Slurm here, or it refuses what is asked for; a job cannot make runs that so many devices share.
        HandedOver: the script, where it is only to be shown.
    """
    settings, place = compute.cluster or ClusterSettings(), place_of(runs)
    _check_shared(compute, settings)
    if not settings.dry_run and (living := _living(place)):
        return living
    jobs = settings.jobs if most is None else min(settings.jobs, math.ceil(most / settings.workers_per_job))
    python = settings.python or sys.executable
    text = array_script(settings, command, jobs=jobs, root=root, logs=place, python=python)
    if settings.dry_run:
        raise HandedOver(text, {"script": text})
    place.mkdir(parents=True, exist_ok=True)
    array = submit(text)
    keep(place, array, jobs=jobs)
    return [array]


def _check_shared(compute: ComputeSettings, settings: ClusterSettings) -> None:
    """Check that a job has room for what its runs are shared by.

    Raises:
        InputError: several machines, too few GPUs, or several workers.
    """
    if compute.nodes > 1:
        raise InputError(
            f"compute.nodes is {compute.nodes}, and a job of engine slurm has one machine; start a run that several machines "
            "share with srun (docs/how-to/training.md), or leave nodes out"
        )
    if compute.devices == 1:
        return
    if settings.workers_per_job > 1:
        raise InputError(
            f"compute.devices is {compute.devices} and compute.cluster.workers_per_job {settings.workers_per_job}: a run that "
            "devices share has a job for itself; leave workers_per_job out"
        )
    wants = compute.device == "cuda" or (compute.device == "auto" and settings.gpus > 0)
    if wants and settings.gpus < compute.devices:
        raise InputError(
            f"compute.devices is {compute.devices} and compute.cluster.gpus {settings.gpus}: each of the processes that share a "
            f"run has a GPU; set gpus to {compute.devices}, or device to cpu"
        )


def _living(place: Path) -> list[str]:
    """Return the arrays of earlier commands of which jobs live; the others are forgotten."""
    known = kept(place)
    alive = {job.id.partition("_")[0] for job in queued(tuple(known))}
    for array in known.keys() - alive:
        forget(place, array)
    found = sorted(known.keys() & alive)
    if found:
        warnings.warn(
            f"jobs of an earlier command go on ({', '.join(found)}), so no more are submitted; to submit others, cancel them "
            f"first: scancel {' '.join(found)}",
            VoxmixWarning,
            stacklevel=3,
        )
    return found


def handed_over(arrays: Sequence[str], place: Path) -> HandedOver:
    """Return what is said of jobs that nobody waits for; ``place`` is the folder of their logs."""
    numbers = " ".join(arrays)
    return HandedOver(
        f"submitted: {numbers}. squeue -j {','.join(arrays)} shows the jobs, scancel {numbers} cancels them (states are kept), "
        f"their logs: {place}. The same command without --submit-only waits for them",
        {"submitted": list(arrays), "logs": str(place)},
    )
