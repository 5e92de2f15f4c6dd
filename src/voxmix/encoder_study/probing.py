"""Judging the encoders of a study, frozen, on its tasks; what was judged before is never judged again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import naming_full_disk
from voxmix._optional import require
from voxmix.encoder_study.candidates import Candidate, candidates
from voxmix.encoder_study.judging import Outcome, judge_all
from voxmix.encoder_study.probe_failures import failure_mark, forget_failures, read_failures
from voxmix.encoder_study.task_data import StudyTasks, study_tasks
from voxmix.encoder_study.view import EncoderView
from voxmix.errors import InputError
from voxmix.study.listener import QUIET, Listener

if TYPE_CHECKING:
    from voxmix.probes.data import ProbeData
    from voxmix.scores import ScoreTable
    from voxmix.scores.result import DownstreamResult


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedProbe:
    """A probe that could not be made: task, encoder, seed of its run, and why."""

    task: str
    encoder: str
    seed: int
    reason: str

    @classmethod
    def of(cls, probe: Probe, reason: str) -> FailedProbe:
        """Return a probe with why it failed."""
        judged = probe.candidate.judged
        return cls(task=probe.data.name, encoder=judged.name, seed=judged.seed, reason=reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbedStudy:
    """The scores of a study's encoders, and what of them was made now.

    Attributes:
        results: of all probes that are done.
        made: how many were made now.
        failed: what failed now.
        set_aside: tasks that cannot be judged, and why.
        notes: what to know of the probes, in plain sentences.
    """

    results: tuple[DownstreamResult, ...]
    made: int = 0
    failed: tuple[FailedProbe, ...] = ()
    set_aside: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """One encoder on one task: where its scores lie or will lie, and whether they do."""

    data: ProbeData
    candidate: Candidate
    folder: Path
    done: bool


def planned_probes(
    view: EncoderView, tasks: StudyTasks, found: Sequence[Candidate] | None = None
) -> tuple[Probe, ...]:
    """Return every encoder that can be judged now on every task, encoder after encoder."""
    return tuple(
        _probe(view, data, candidate)
        for candidate in (candidates(view) if found is None else found)
        for data in tasks.data
        if data.axes == view.config.backbone.axes
    )


def _probe(view: EncoderView, data: ProbeData, candidate: Candidate) -> Probe:
    from voxmix.probes.done import is_done, probe_folder

    folder = probe_folder(view.study.probes_dir, data, candidate.judged)
    done = bool(candidate.judged.encoder) and is_done(
        folder, data, candidate.judged, settings=view.study.probe_settings
    )
    return Probe(data=data, candidate=candidate, folder=folder, done=done)


def probe_encoders(view: EncoderView, hear: Listener = QUIET, *, tasks: Sequence[str] = ()) -> ProbedStudy:
    """Judge every finished run and every reference on every task, where that is not done, and return all scores.

    Several encoders are judged at a time, as many as runs are trained (``workers``, :mod:`voxmix.encoder_study.judging`). A task
    that cannot be judged, and a probe that fails, is told and counted, and the others go on.

    Args:
        tasks: names of tasks; left out: all.

    Raises:
        InputError: a name that no task has, no task that can be judged, or no such device here.
    """
    if not view.config.tasks:
        return ProbedStudy(results=())
    require("torch", extra="train")
    with hear.waiting("reading tasks"):
        found = study_tasks(view, tasks)
        probes = planned_probes(view, found)
    tell_set_aside(view, found, hear)
    forget_failures(view.study)
    left = [probe for probe in probes if not probe.done]
    outcomes: list[Outcome] = []
    with hear.bar("judging encoders", unit="probes") as progress, naming_full_disk(view.root):
        progress(len(probes) - len(left), len(probes))
        with closing(
            judge_all(view, found.data, [(probe.candidate, probe.data.name) for probe in left])
        ) as judging:
            for outcome in judging:
                outcomes.append(outcome)
                progress(len(probes) - len(left) + len(outcomes), len(probes))
    judged = {outcome.place: outcome for outcome in outcomes}
    by_place = [judged[place] for place in range(len(left))]
    failed = [
        FailedProbe.of(probe, outcome.reason)
        for probe, outcome in zip(left, by_place, strict=True)
        if outcome.reason
    ]
    notes = [("", note) for data in found.data for note in data.notes]
    notes += [
        (probe.candidate.judged.name, note)
        for probe, outcome in zip(left, by_place, strict=True)
        for note in outcome.notes
    ]
    for line in failure_lines(failed, of=len(probes)):
        hear.tell(line)
    return ProbedStudy(
        results=results(view, planned_probes(view, found)),
        made=sum(outcome.made for outcome in by_place),
        failed=tuple(failed),
        set_aside=found.set_aside,
        notes=_note_lines(notes),
    )


def _note_lines(notes: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return each note once: as it is where it is of a task, else with the encoder's name, or of how many encoders it is."""
    whose: dict[str, dict[str, None]] = {}
    for name, note in notes:
        whose.setdefault(note, {})[name] = None
    lines = []
    for note, found in whose.items():
        names = list(found)
        who = names[0] if len(names) == 1 else f"{len(names)} encoders (e.g. {names[0]})"
        lines.append(f"{who}: {note}" if names[0] else note)
    return tuple(lines)


def failed_count(view: EncoderView) -> int:
    """Return how many of the probes that are left were tried by workers and failed."""
    found = read_failures(view.study)
    left = (probe for probe in view.probes if found and not probe.done)
    return sum(failure_mark(view.study, probe.data, probe.candidate) in found for probe in left)


def tell_set_aside(view: EncoderView, found: StudyTasks, hear: Listener) -> None:
    """Tell which tasks cannot be judged, and why.

    Raises:
        InputError: none can.
    """
    for name, reason in found.set_aside:
        hear.tell(f"set aside: {reason}" if name in reason else f"set aside: task {name}: {reason}")
    if not found.data:
        raise InputError(
            f"no task can be judged; the first one: {found.set_aside[0][1]}. Mend tasks in {view.study.path}"
        )


def failure_lines(failed: Sequence[FailedProbe], *, of: int) -> Iterator[str]:
    """Yield a sentence for each reason: how many probes failed for it, and one of them by name."""
    for reason, count in Counter(one.reason for one in failed).items():
        first = next(one for one in failed if one.reason == reason)
        yield (
            f"{count} of {of} probes failed (e.g. {first.encoder}, seed {first.seed}, on {first.task}): {reason}"
        )


def results(view: EncoderView, probes: Sequence[Probe]) -> tuple[DownstreamResult, ...]:
    """Return the scores of the probes that are done."""
    from voxmix.runs.files import RESULT_FILE
    from voxmix.scores import read_result

    return tuple(
        replace(
            read_result(probe.folder / RESULT_FILE),
            folder=probe.folder.relative_to(view.study.probes_dir).as_posix(),
        )
        for probe in probes
        if probe.done
    )


def score_table(view: EncoderView, tasks: Sequence[str] = ()) -> ScoreTable:
    """Return the scores of every probe that is done with the present settings.

    Raises:
        InputError: a name that no task has, or a study without tasks.
        StepPendingError: no probe is done, or the images are not prepared.
    """
    from voxmix.scores import ScoreTable

    if not view.config.tasks:
        raise InputError(f"{view.root} has no tasks to judge encoders on; add tasks to {view.study.path}")
    found = study_tasks(view, tasks) if tasks else view.tasks
    probes = planned_probes(view, found) if tasks else view.probes
    read = results(view, probes)
    if not read:
        raise view.steps["probe"].pending(view, f"no encoder of {view.root} is judged yet")
    left = tuple(
        f"{probe.data.name}: {probe.candidate.judged.name}, seed {probe.candidate.judged.seed}"
        for probe in probes
        if not probe.done
    )
    return ScoreTable(results=read, unfinished=left, set_aside=found.set_aside)
