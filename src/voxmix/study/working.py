"""Working on a study together with any number of other processes: runs as they come free, whole steps by one at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._claims import LEASE_SECONDS, Claim, Claims
from voxmix._io import digest, naming_full_disk
from voxmix._optional import require
from voxmix.errors import InputError
from voxmix.runs import is_finished
from voxmix.runs.unfinished import CLAIMS_FOLDER as RUN_CLAIMS
from voxmix.runs.unfinished import WORK_FOLDER
from voxmix.study.files import CLAIMS_FOLDER, RUNS_FOLDER
from voxmix.study.listener import QUIET, Listener
from voxmix.study.marks import STUDY_CLAIM
from voxmix.study.step import Step, StepRuns, StepUnits, StepView, Unit, loaded

if TYPE_CHECKING:
    from voxmix.engines.job_file import Job

DONE, FAILED, STOPPED = 0, 1, 75
"""Exit codes of a worker: nothing is left; something failed; it was stopped with work left (EX_TEMPFAIL)."""
_LEAST_WAIT, _MOST_WAIT = 0.2, 5.0


@dataclass(kw_only=True, slots=True)
class Worked:
    """What a worker has done, and what it leaves.

    Attributes:
        made: ids of the runs that it finished.
        steps: whole steps that it did.
        failed: run to reason, of every run that failed here or elsewhere.
        left: the step at which it stopped; None where nothing is left of what it was asked for.
    """

    made: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: str | None = None

    @property
    def exit_code(self) -> int:
        """0: nothing is left; 1: runs failed; 75: it was stopped with work left."""
        if self.failed:
            return FAILED
        return DONE if self.left is None else STOPPED


def work_on(
    reopened: Callable[[], StepView],
    hear: Listener = QUIET,
    *,
    step: str | None = None,
    workers: int = 1,
    worked: Worked | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Worked:
    """Do what is left of a study, or of one step, as one of any number of workers, and return when nothing is left.

    Runs are claimed one by one, and the study is not held meanwhile. A step that writes one thing is done by the worker that
    holds the study; the others wait, and look again.

    Args:
        reopened: returns a view of the study as it is now.
        step: its name; None: every step of ``voxmix study run``.
        workers: processes that make runs here, at the same time; 1: this one.
        worked: what is returned, filled as the work goes on: for whoever catches the signal that ends it.
        stopped: whether to begin nothing more.

    Raises:
        InputError: no such step, or one that is no worker's.
        VoxmixError: a step that writes one thing failed.
    """
    view = reopened()
    worked = Worked() if worked is None else worked
    worker = _Worker(
        reopened=reopened, hear=hear, workers=workers, stopped=stopped, root=view.root, worked=worked
    )
    for row in _rows(view, step):
        worked.left = row.name
        if not worker.does(row):
            return worked
    worked.left = None
    return worked


def _rows(view: StepView, step: str | None) -> tuple[Step, ...]:
    if step is None:
        return view.steps.of_a_run()
    row = view.steps[step]
    if row.on_request and not row.runs:
        raise InputError(f"step {step} is done by one command alone; give {row.call(view.root)}")
    return (row,)


@dataclass(kw_only=True, slots=True)
class _Worker:
    reopened: Callable[[], StepView]
    hear: Listener
    workers: int
    stopped: Callable[[], bool]
    root: Path
    worked: Worked
    pause: float = _LEAST_WAIT
    idle_since: float = field(default_factory=time.monotonic)
    claims: Claims = field(init=False)

    def __post_init__(self) -> None:
        self.claims = Claims(self.root / CLAIMS_FOLDER)

    def does(self, row: Step) -> bool:
        """Do what is left of a step, with others; return whether nothing is."""
        while not self.stopped():
            view = self.reopened()
            missing = [view.steps[name] for name in row.needs if not view.steps[name].progress(view).done]
            if missing:
                self._check_begun(missing[0], view)
                self._wait(f"step {missing[0].name}", row)
                continue
            if row.runs:
                return self._makes(row, view)
            if row.progress(view).done:
                return True
            units: StepUnits | None = loaded(row.units)(view) if row.units else None
            if units is not None and not self._makes_units(row, units):
                return False
            with self._holding() as claim:
                if claim is None:
                    self._wait("another worker", row)
                    continue
                view = self.reopened()
                if not row.progress(view).done:
                    self.hear.inform(f"{row.name}: this worker does it")
                    if units is None:
                        row.run(view, self.hear)
                    else:
                        units.join(self.hear)
                    if claim.lost:  # frozen meanwhile: whoever took over says what is done
                        continue
                    now = view.after(row.name)
                    if row.inputs is not None and not now.is_made(row.name):
                        now.mark_made(row.name)
                    self.worked.steps.append(row.name)
                return True
        return False

    def _makes_units(self, row: Step, units: StepUnits) -> bool:
        """Make the units of a step that no other worker makes; return whether all are done."""
        while not self.stopped():
            left = [unit for unit in units.units if not units.is_done(unit)]
            if not left:
                return True
            for unit in left:
                with naming_full_disk(self.root):
                    claim = self.claims.take(f"{row.name}-{unit.name}")
                if claim is None:
                    continue
                with claim:
                    if not units.is_done(
                        unit
                    ):  # looked at again: another may have made it before it gave it back
                        self._make_unit(units, unit, claim)
                self.pause = _LEAST_WAIT
                if self.stopped():
                    break
            else:
                if any(not units.is_done(unit) for unit in left):
                    self._wait("other workers", row)
        return False

    def _make_unit(self, units: StepUnits, unit: Unit, claim: Claim) -> None:
        # Not the first number: the process that had it before is gone, and the unit may be why.
        units.make(unit, careful=claim.number > 1, stop=lambda: self.stopped() or claim.lost)

    def _makes(self, row: Step, view: StepView) -> bool:
        """Make the runs of a step that no other worker makes; return whether all are finished."""
        require("torch", extra="train")
        found: StepRuns = loaded(row.runs)(view, self.hear, together=self.workers)
        left = [job for job in found.jobs if not is_finished(job.folder)]
        if left:
            self.hear.inform(f"{row.name}: {len(left)} of {len(found.jobs)} runs are not finished")
            self._pull(found)
        finished = [job for job in found.jobs if is_finished(job.folder)]
        whole = len(finished) == len(found.jobs)
        if found.table is not None and (whole or found.table_of_part):
            return self._writes_table(row, found, finished) and whole
        return whole

    def _pull(self, found: StepRuns) -> None:
        from voxmix.engines.job_file import chains_of
        from voxmix.engines.local import local
        from voxmix.engines.progress import read_failure
        from voxmix.engines.pull import MOST_FAILED, pull_jobs
        from voxmix.engines.together import start_together

        chains = chains_of(found.jobs)
        before = {job.folder for job in found.jobs if is_finished(job.folder)}
        if self.workers > 1:
            with closing(local(chains, workers=self.workers)) as working:
                for _ in working:
                    if self.stopped():
                        break
            self.worked.made += [
                job.folder.name for job in found.jobs if job.folder not in before and is_finished(job.folder)
            ]
        else:
            pull_jobs(
                chains,
                shared=start_together,
                most_failed=MOST_FAILED,
                stopped=self.stopped,
                tell=lambda job, reason: self._tell(found, job, reason),
            )
        for job in found.jobs:
            if not is_finished(job.folder) and (reason := read_failure(job.folder)) is not None:
                self.worked.failed[job.folder.name] = reason

    def _tell(self, found: StepRuns, job: Job, reason: str | None) -> None:
        from voxmix.engines.progress import clear, read_notes

        name = f"run {job.folder.name} ({found.words(job.work.spec)})"
        for text in read_notes(job.folder):
            self.hear.tell(f"{name}: {text}")
        clear(job.folder)
        if reason is None:
            self.worked.made.append(job.folder.name)
            self.hear.inform(f"{name} is finished")
        else:
            self.hear.tell(f"{name} failed: {reason}")

    def _writes_table(self, row: Step, found: StepRuns, finished: list[Job]) -> bool:
        """Write the table of finished runs where no worker has; return whether it is written."""
        assert found.table is not None
        inputs = digest(sorted(job.folder.name for job in finished))
        while not self.stopped():
            with self._holding() as claim:
                if claim is None:
                    self._wait("another worker", row)
                    continue
                view = self.reopened()
                if view.made().get(row.name) != inputs:
                    found.table(view)
                    view.mark(row.name, inputs)
                return True
        return False

    @contextmanager
    def _holding(self) -> Iterator[Claim | None]:
        """Hold the study; None where another process does."""
        with naming_full_disk(self.root):
            claim = self.claims.take(STUDY_CLAIM)
        if claim is None:
            yield None
            return
        self.pause = _LEAST_WAIT
        with claim:
            yield claim

    def _check_begun(self, needed: Step, view: StepView) -> None:
        """Refuse to wait for a step on which nobody has worked for a lease.

        Raises:
            StepPendingError: names the command that does it.
        """
        now = time.monotonic()
        if self.claims.holders() or (view.root / RUNS_FOLDER / WORK_FOLDER / RUN_CLAIMS).is_dir():
            self.idle_since = now
        if now - self.idle_since > LEASE_SECONDS:
            raise needed.pending(view)

    def _wait(self, what: str, row: Step) -> None:
        if self.pause == _LEAST_WAIT:
            holder = self.claims.holder(STUDY_CLAIM)
            self.hear.inform(f"{row.name}: waits for {what if holder is None else holder.words}")
        time.sleep(self.pause * random.uniform(0.5, 1.0))
        self.pause = min(1.5 * self.pause, _MOST_WAIT)
