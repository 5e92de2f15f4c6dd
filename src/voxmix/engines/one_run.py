"""Making one run under a claim: in an attempt of its own, with its progress, its warnings and how it ended in files."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from voxmix._claims import Claim
from voxmix._parallel import WorkerKilledError
from voxmix._progress import ProgressCallback, silent
from voxmix.engines.attempts import Attempt, clear_desk, last_attempt
from voxmix.engines.job_file import Job
from voxmix.engines.progress import heartbeat, write_failure, write_notes
from voxmix.engines.work import Opened
from voxmix.errors import VoxmixError, VoxmixWarning
from voxmix.runs import is_finished
from voxmix.runs.files import FAILURE_FILE
from voxmix.runs.unfinished import desk_of
from voxmix.training.interrupt import Stopped, stop_when

Ended = tuple[str | None, Sequence[str]]
"""Why the work on a run could not be finished, None where it was, and what it warned of."""
Lost = Callable[[], bool]
Shared = Callable[[Job, Path, Path, Lost], Ended]
"""Lets several processes share a run: given the job, the attempt's folder, the file of its progress, and what says that
another process has taken over, whereupon it raises :class:`ClaimLost`."""


class ClaimLost(BaseException):
    """Another process has taken over what this one works on. It stops at once and writes nothing more."""


def make_run(
    job: Job,
    claim: Claim,
    *,
    opened: Opened,
    device_index: int | None = None,
    shared: Shared | None = None,
    launch: str = "",
) -> str | None:
    """Make a run, or go on with it, under a claim; return why it failed, None where it has a result now.

    The reason stands on its desk too. What it warned of stands there until somebody has read it.

    Raises:
        ClaimLost: another process has taken over.
        VoxmixError: it failed and the disk does not take the reason.
    """
    run = job.folder
    if is_finished(run):
        clear_desk(run)
        return None
    with suppress(OSError):
        (desk_of(run) / FAILURE_FILE).unlink()
    while True:
        try:
            attempt = Attempt.begin(run, claim=claim.name, launch=launch)
        except (VoxmixError, OSError) as error:
            if claim.lost or is_finished(run):  # whoever took over has cleared the desk
                raise ClaimLost from error
            if not isinstance(error, VoxmixError):
                raise
            write_failure(run, str(error), attempts=last_attempt(run)[0])
            return str(error)
        try:
            reason, notes = _tried(
                attempt, job, claim, opened=opened, device_index=device_index, shared=shared
            )
            break
        except WorkerKilledError as error:  # one of the processes that share the run
            attempt.end("broken", reason=str(error))
    write_notes(run, notes)
    if reason is not None:
        reason = reason.replace(str(attempt.folder), str(desk_of(run)))
        attempt.end("failed", reason=reason)
        write_failure(run, reason, attempts=attempt.facts.number, job=attempt.facts.job)
    return reason


def _tried(
    attempt: Attempt,
    job: Job,
    claim: Claim,
    *,
    opened: Opened,
    device_index: int | None,
    shared: Shared | None,
) -> Ended:
    """Do the work of an attempt and publish it; return why that cannot be, and what it warned of."""
    folder, shown = attempt.folder, attempt.progress_path
    ended: Ended = (None, ())
    try:
        if is_finished(folder):  # by a process that was killed before it could publish
            pass
        elif shared is not None:
            ended = shared(job, folder, shown, lambda: claim.lost)
        else:
            ended = work_in(
                job,
                folder,
                progress_path=shown,
                lost=lambda: claim.lost,
                opened=opened,
                device_index=device_index,
            )
        if claim.lost:
            raise ClaimLost
        if ended[0] is None:
            attempt.publish()
    except ClaimLost:
        attempt.discard()
        raise
    except WorkerKilledError:
        raise
    except VoxmixError as error:  # of publishing
        return str(error), ended[1]
    except Exception as error:
        if claim.lost:
            attempt.discard()
            raise ClaimLost from error
        attempt.end("broken", reason=f"{type(error).__name__}: {error}")
        raise
    except BaseException:  # stopped from outside: its state is kept
        attempt.end("stopped")
        raise
    return ended


def work_in(
    job: Job,
    folder: Path,
    *,
    progress_path: Path | None,
    lost: Lost = lambda: False,
    opened: Opened | None = None,
    device_index: int | None = None,
) -> Ended:
    """Do the work of a job in a folder; return why it could not be finished, and what it warned of.

    Args:
        progress_path: where it says how far it is; None where another process that shares the run does.
        lost: asked after every step.

    Raises:
        ClaimLost: another process has taken over.
    """
    shown: AbstractContextManager[ProgressCallback] = (
        nullcontext(silent) if progress_path is None else heartbeat(progress_path, total=job.work.size)
    )
    notes: list[str] = []
    with shown as told, _noting(notes):
        try:
            with stop_when(lambda: "leave" if lost() else None):
                job.work.run(folder, opened=opened or Opened(), device_index=device_index, progress=told)
        except Stopped as stopped:
            if stopped.saved:
                raise
            raise ClaimLost from stopped
        except VoxmixError as error:
            if lost():
                raise ClaimLost from error
            return str(error), notes
    return None, notes


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
