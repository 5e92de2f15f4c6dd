"""Submitting jobs of workers to Slurm, once: where jobs of an earlier command live, no others are submitted."""

import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from voxmix.compute import ClusterSettings
from voxmix.engines.slurm_commands import queued, submit
from voxmix.engines.slurm_script import array_script
from voxmix.engines.submitted import forget, keep, kept, place_of
from voxmix.errors import HandedOver, VoxmixWarning


def submit_jobs(
    settings: ClusterSettings, command: Sequence[str], *, runs: Path, root: Path, most: int | None = None
) -> list[str]:
    """Submit an array of jobs whose workers run ``python COMMAND`` in ``root``; return the numbers of the arrays that live now.

    Args:
        runs: folder of the runs that they make; who submitted jobs for it before is found there.
        most: workers that have something to do; None: as many as are asked for.

    Raises:
        InputError: no Slurm here, or it refuses what is asked for.
        HandedOver: the script, where it is only to be shown.
    """
    place = place_of(runs)
    if not settings.dry_run and (living := _living(place)):
        return living
    jobs = settings.jobs if most is None else min(settings.jobs, math.ceil(most / settings.workers_per_job))
    python = settings.python or sys.executable
    text = array_script(settings, command, jobs=jobs, root=root, logs=place, python=python)
    if settings.dry_run:
        raise HandedOver(text)
    place.mkdir(parents=True, exist_ok=True)
    array = submit(text)
    keep(place, array, jobs=jobs)
    return [array]


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


def told(arrays: Sequence[str], place: Path) -> str:
    """Return what is said of jobs that nobody waits for."""
    numbers = " ".join(arrays)
    return (
        f"submitted: {numbers}. squeue -j {','.join(arrays)} shows the jobs, scancel {numbers} cancels them (states are kept), "
        f"their logs: {place}. The same command without --submit-only waits for them"
    )
