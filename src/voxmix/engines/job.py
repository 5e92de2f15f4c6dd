"""One job, run by this process: ``python -m voxmix.engines.job FOLDER [FOLDER ...]``.

The folder is all that the process needs. It goes on with a run that was stopped, leaves its progress, its warnings and the
reason of a failure in the folder, and ends with exit code 0, or 1 if a job failed. Under ``torchrun`` or ``srun`` every
process of a run that several share calls it with the same folder.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from voxmix._io import printable
from voxmix._progress import ProgressCallback, silent
from voxmix.engines.job_file import read_job
from voxmix.engines.progress import heartbeat, read_failure, read_notes, state_of, write_failure, write_notes
from voxmix.engines.work import Opened
from voxmix.errors import InputError, VoxmixError, VoxmixWarning
from voxmix.runs.files import FAILURE_FILE, JOB_FILE, PROGRESS_FILE


def run_job(
    folder: Path, *, opened: Opened | None = None, rank: int | None = None, device_index: int | None = None
) -> bool:
    """Run the job in a folder, or go on with it; return whether it has a result now.

    ``opened`` keeps what jobs of this process share. ``rank`` counts the processes that share a run, from 0 (None: as the
    environment says); the first one leaves progress and warnings.

    Raises:
        InputError: no job there, or one that another process is working on.
        VoxmixError: it failed and the folder does not take the reason.
    """
    try:
        job = read_job(folder)
    except InputError as error:
        if (folder / JOB_FILE).is_file():
            write_failure(folder, str(error))
            return False
        raise
    if rank is None:
        rank = _rank_of_environment() if job.work.compute.processes > 1 else 0
    if rank == 0:
        refuse_running(folder)
        (folder / FAILURE_FILE).unlink(missing_ok=True)
    shown: AbstractContextManager[ProgressCallback] = (
        heartbeat(folder, total=job.work.size) if rank == 0 else nullcontext(silent)
    )
    notes: list[str] = []
    with shown as progress:
        try:
            with _noting(notes):
                job.work.run(folder, opened=opened or Opened(), device_index=device_index, progress=progress)
            reason = None
        except VoxmixError as error:
            reason = str(error)
        if rank == 0:
            write_notes(folder, notes)
        if reason is not None:
            write_failure(folder, reason)
    if rank == 0 and reason is None:
        (folder / JOB_FILE).unlink(missing_ok=True)
    return reason is None


def refuse_running(folder: Path) -> None:
    """Refuse a job that another process is working on: two would spoil each other's states.

    Raises:
        InputError: there is one.
    """
    if state_of(folder) == "running":
        raise InputError(
            f"another process is working on {folder}; wait for it or stop it, then give the same command again. If there is "
            f"none (a machine was switched off), delete {PROGRESS_FILE} there"
        )


@contextmanager
def _noting(notes: list[str]) -> Iterator[None]:
    """Collect our own warnings instead of showing them in the middle of a progress bar."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", VoxmixWarning)
        try:
            yield
        finally:
            notes += [
                str(warning.message) for warning in caught if issubclass(warning.category, VoxmixWarning)
            ]


def _rank_of_environment() -> int:
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)


def main(arguments: Sequence[str]) -> int:
    """Run the jobs in these folders, one after another; what fails does not stop the others. Return the exit code."""
    if not arguments or arguments[0].startswith("-"):
        _say("usage: python -m voxmix.engines.job FOLDER [FOLDER ...]")
        return 2
    opened, failed = Opened(), 0
    for argument in arguments:
        folder = Path(argument)
        try:
            reason = None if run_job(folder, opened=opened) else read_failure(folder)
        except VoxmixError as error:
            reason = str(error)
        for note in read_notes(folder):
            _say(f"{folder}: {note}")
        if reason is not None:
            failed += 1
            _say(f"error: {folder}: {reason}")
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stderr.write(printable(text) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
