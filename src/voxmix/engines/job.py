"""One job, run by this process: ``python -m voxmix.engines.job FOLDER [FOLDER ...]``.

The folder of the run is all that the process needs. It goes on with a run that was stopped, waits while another process
works on it, leaves its progress, its warnings and the reason of a failure on the run's desk, and ends with exit code 0, or 1
if a job failed. Under ``torchrun`` or ``srun`` every process of a run that several share calls it with the same folder.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from voxmix._io import digest, printable
from voxmix._stopping import run_to_end
from voxmix.engines.attempts import joined
from voxmix.engines.job_file import Job, read_job
from voxmix.engines.one_run import work_in
from voxmix.engines.progress import read_failure, read_notes, write_failure
from voxmix.engines.pull import pull_jobs
from voxmix.engines.work import Opened
from voxmix.errors import InputError, VoxmixError
from voxmix.runs import is_finished
from voxmix.runs.files import FAILURE_FILE, JOB_FILE
from voxmix.runs.unfinished import desk_of

_JOIN_SECONDS = 600.0
_LAUNCH = (
    "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT",
    "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "LSB_JOBID", "PBS_JOBID",
)  # fmt: skip


def run_job(
    folder: Path, *, opened: Opened | None = None, rank: int | None = None, device_index: int | None = None
) -> bool:
    """Run the job of a run's folder, or go on with it; return whether it has a result now.

    While another process works on it, this one waits. ``opened`` keeps what jobs of this process share. ``rank`` counts the
    processes that share a run, from 0 (None: as the environment says); the first one leaves progress and warnings.

    Raises:
        InputError: no job there.
        VoxmixError: it failed and the folder does not take the reason.
    """
    if is_finished(folder):
        return True
    try:
        job = read_job(folder)
    except InputError as error:
        if (desk_of(folder) / JOB_FILE).is_file():
            write_failure(folder, str(error))
            return False
        raise
    shared = job.work.compute.processes > 1
    if rank is None:
        rank = _rank_of_environment() if shared else 0
    if rank:
        return _follow(job, opened or Opened())
    (desk_of(folder) / FAILURE_FILE).unlink(missing_ok=True)
    found = pull_jobs([[job]], opened=opened, device_index=device_index, launch=_launch() if shared else "")
    return not found.failed


def _follow(job: Job, opened: Opened) -> bool:
    """Share the attempt that the first process of this launch has begun; return whether the work is done."""
    deadline = time.monotonic() + _JOIN_SECONDS
    while (folder := joined(job.folder, launch=_launch())) is None:
        if is_finished(job.folder):
            return True
        if time.monotonic() > deadline:
            raise VoxmixError(
                f"the first of the processes that share {job.folder} has not begun after {_JOIN_SECONDS:.0f} s; look at "
                "its log"
            )
        time.sleep(0.1)
    reason, _ = work_in(job, folder, progress_path=None, opened=opened)
    return reason is None


def _launch() -> str:
    """Return what the processes that were started together have in common, and no others."""
    return digest([os.environ.get(name, "") for name in _LAUNCH])


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
    run_to_end(main)
