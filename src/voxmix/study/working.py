"""Working on a study together with any number of other processes: runs as they come free, whole steps by one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._claims import Claim, Claims
from voxmix._io import digest, naming_full_disk
from voxmix._optional import require
from voxmix.errors import InputError
from voxmix.runs import is_finished
from voxmix.runs.unfinished import CLAIMS_FOLDER as RUN_CLAIMS
from voxmix.runs.unfinished import WORK_FOLDER
from voxmix.study.files import CLAIMS_FOLDER, RUNS_FOLDER
from voxmix.study.listener import QUIET, Listener
from voxmix.study.marks import STUDY_CLAIM
from voxmix.study.patience import Patience
from voxmix.study.step import Step, StepRuns, StepUnits, StepView, loaded
from voxmix.study.taking import take_side_by_side, take_units

if TYPE_CHECKING:
    from voxmix.engines.job_file import Job

DONE, FAILED, STOPPED = 0, 1, 75
"""Exit codes of a worker: nothing is left for it; something failed; it was stopped with work left (EX_TEMPFAIL)."""


@dataclass(kw_only=True, slots=True)
class Worked:
    """What a worker has done, and what it leaves.

    Attributes:
        made: ids of the runs that it finished.
        steps: whole steps that it did.
        failed: run or probe to reason, of every one that failed here or elsewhere.
        left: the step at which it ended; None where nothing is left of what it was asked for.
        others: who has what is left, in words, where it was left to them; "" else.
    """

    made: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: str | None = None
    others: str = ""

    @property
    def exit_code(self) -> int:
        """0: nothing is left, or others have it; 1: something failed; 75: it was stopped with work left."""
        if self.failed:
            return FAILED
        return DONE if self.left is None or self.others else STOPPED


def work_on(
    reopened: Callable[[], StepView],
    hear: Listener = QUIET,
    *,
    step: str | None = None,
    workers: int = 1,
    wait: bool = True,
    worked: Worked | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Worked:
    """Do what is left of a study, or of one step, as one of any number of workers, and return when nothing is left for it.

    Runs are claimed one by one, and the study is not held meanwhile. A step that writes one thing is done by the worker that
    holds the study; the others wait, and look again.

    Args:
        reopened: returns a view of the study as it is now.
        step: its name; None: every step of ``voxmix study run``.
        workers: processes that make runs, or units of a step, here at the same time; 1: this one.
        wait: for what others have, as long as it takes; else only until it is known that they live
            (:mod:`voxmix.study.patience`).
        worked: what is returned, filled as the work goes on: for whoever catches the signal that ends it.
        stopped: whether to begin nothing more.

    Raises:
        InputError: no such step, or one that is no worker's.
        VoxmixError: a step that writes one thing failed.
    """
    view = reopened()
    worked = Worked() if worked is None else worked
    worker = _Worker(
        reopened=reopened,
        hear=hear,
        workers=workers,
        stopped=stopped,
        root=view.root,
        worked=worked,
        patience=Patience(lease_seconds=view.lease_seconds, wait=wait, hear=hear),
    )
    for row in _rows(view, step):
        worked.left = row.name
        if not worker.does(row):
            worked.others = worker.patience.others
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
    patience: Patience
    claims: Claims = field(init=False)

    def __post_init__(self) -> None:
        self.claims = Claims(self.root / CLAIMS_FOLDER, lease_seconds=self.patience.lease_seconds)

    def does(self, row: Step) -> bool:
        """Do what is left of a step, with others; return whether nothing is."""
        while not self.stopped():
            view = self.reopened()
            missing = [view.steps[name] for name in row.needs if not view.steps[name].progress(view).done]
            if missing:
                self._check_begun(missing[0], view)
                if not self._waits(f"who works on step {missing[0].name}", row):
                    return False
                continue
            if row.runs:
                return self._makes(row, view)
            if row.progress(view).done:
                return True
            units: StepUnits | None = None
            if row.units:
                units = loaded(row.units)(view, self.hear, together=self.workers)
            if units is not None and not self._makes_units(row, view, units):
                return False
            with self._holding() as claim:
                if claim is None:
                    if not self._waits("another worker", row):
                        return False
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
                    if units is None or row.progress(now).done:
                        self.worked.steps.append(row.name)
                return True
        return False

    def _makes_units(self, row: Step, view: StepView, units: StepUnits) -> bool:
        """Make the units of a step that no other worker makes; return whether all are done."""
        if self.workers > 1:
            take_side_by_side(row, view, units, workers=self.workers, stopped=self.stopped, hear=self.hear)
        while not self.stopped():
            left = [unit for unit in units.units if not units.is_done(unit)]
            if not left:
                self.worked.failed |= units.failed()
                return True
            if take_units(row.name, units, left, self.claims, stopped=self.stopped):
                self.patience.is_new()
            if self.stopped() or all(units.is_done(unit) for unit in left):
                continue
            if not self._waits("other workers", row):
                return False
        return False

    def _makes(self, row: Step, view: StepView) -> bool:
        """Make the runs of a step that no other worker makes; return whether all are finished."""
        require("torch", extra="train")
        found: StepRuns = loaded(row.runs)(view, self.hear, together=self.workers)
        left = [job for job in found.jobs if not is_finished(job.folder)]
        if left:
            self.hear.inform(f"{row.name}: {len(left)} of {len(found.jobs)} runs are not finished")
            others = self._leaves(found)
            self.patience.is_new()
            if others:
                self.patience.leave(row.name, "the workers that make the runs that are left")
                return False
        finished = [job for job in found.jobs if is_finished(job.folder)]
        whole = len(finished) == len(found.jobs)
        if found.table is not None and (whole or found.table_of_part):
            return self._writes_table(row, found, finished) and whole
        return whole

    def _leaves(self, found: StepRuns) -> bool:
        """Make the runs that no other worker makes; return whether the rest is left to others."""
        from voxmix.engines.job_file import chains_of
        from voxmix.engines.local import local
        from voxmix.engines.progress import read_failure
        from voxmix.engines.pull import MOST_FAILED, is_settled, pull_jobs
        from voxmix.engines.together import start_together

        chains = chains_of(found.jobs)
        before = {job.folder for job in found.jobs if is_finished(job.folder)}
        if self.workers > 1:
            with closing(local(chains, workers=self.workers, wait=self.patience.wait)) as working:
                for _ in working:
                    if self.stopped():
                        break
            self.worked.made += [
                job.folder.name for job in found.jobs if job.folder not in before and is_finished(job.folder)
            ]
            others = any(not is_settled(job) for job in found.jobs) and not self.stopped()
        else:
            others = pull_jobs(
                chains,
                shared=start_together,
                most_failed=MOST_FAILED,
                wait=self.patience.wait,
                stopped=self.stopped,
                tell=lambda job, reason: self._tell(found, job, reason),
            ).others
        for job in found.jobs:
            if not is_finished(job.folder) and (reason := read_failure(job.folder)) is not None:
                self.worked.failed[job.folder.name] = reason
        return others

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
                    if not self._waits("another worker", row):
                        return False
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
        self.patience.is_new()
        with claim:
            yield claim

    def _check_begun(self, needed: Step, view: StepView) -> None:
        """Refuse to wait for a step on which nobody has worked for a lease.

        Raises:
            StepPendingError: names the command that does it.
        """
        works = bool(self.claims.holders()) or (view.root / RUNS_FOLDER / WORK_FOLDER / RUN_CLAIMS).is_dir()
        if self.patience.nobody_for(somebody=works) > self.patience.lease_seconds:
            raise needed.pending(view)

    def _waits(self, whom: str, row: Step) -> bool:
        """Wait a little for others; return whether to look again."""
        holder = self.claims.holder(STUDY_CLAIM)
        return self.patience.waits(row.name, whom if holder is None else holder.words)
