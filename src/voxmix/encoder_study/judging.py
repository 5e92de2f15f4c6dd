"""Judging encoders on tasks: one after another in this process, or several at a time in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from voxmix._claims import Claims
from voxmix._parallel import alone, worker_pool
from voxmix.encoder_study.candidates import Candidate, keep_digest, load, weights_name
from voxmix.encoder_study.folder import EncoderStudy
from voxmix.encoder_study.task_data import study_tasks
from voxmix.encoder_study.view import EncoderView
from voxmix.errors import VoxmixError
from voxmix.study.files import CLAIMS_FOLDER
from voxmix.study.making import at_once, threads_of_each

if TYPE_CHECKING:
    from voxmix.probes.data import ProbeData
    from voxmix.probes.encoder import LoadedEncoder
    from voxmix.probes.features import FeatureStore

CLAIM = "probe-"
"""Before the name of an encoder's weights: the claim of whoever judges it."""
_FAILURES = (VoxmixError, RuntimeError, ArithmeticError, ValueError, MemoryError)
"""What one probe may fail by without stopping the others; torch and LAPACK raise their own kinds of the middle three."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one probe.

    Attributes:
        place: of the probe among those that were asked for.
        made: whether it was made now; False where it lay there, or failed.
        reason: why it failed; "" where it did not.
        notes: what to know of it beyond what is known of the task.
    """

    place: int
    made: bool = False
    reason: str = ""
    notes: tuple[str, ...] = ()


Ask = tuple[int, Candidate, str]
"""A probe: its place, its encoder, the name of its task."""
_WAIT_SECONDS = 0.5
"""Between two looks at an encoder that another process judges."""


def processes_of(view: EncoderView) -> int:
    """Return how many encoders are judged at a time: as many as runs are trained."""
    return at_once(view.config.compute, workers=view.config.workers, most=len(view.planned))


def judge_all(
    view: EncoderView, tasks: Sequence[ProbeData], probes: Sequence[tuple[Candidate, str]]
) -> Generator[Outcome, None, None]:
    """Judge encoders on tasks, each encoder on all of its tasks in one process; yield what came of each probe as it is done.

    So features of an encoder are computed once. Scores are the same bit for bit for any number of processes of equal threads
    (``compute.threads``). A probe that fails stops no other; being closed, what is done stays done. An encoder that another
    process judges is claimed by it: it comes last, and what is done by then is not done again.

    Args:
        tasks: their cases.
        probes: encoders, and for each the name of a task.

    Raises:
        InputError: no such device here.
        VoxmixError: a process was killed from outside.
    """
    if not probes:
        return
    asked: dict[str, list[Ask]] = {}
    for place, (candidate, task) in enumerate(probes):
        asked.setdefault(weights_name(view.study, candidate), []).append((place, candidate, task))
    compute, together = view.config.compute, processes_of(view)
    threads = threads_of_each(compute, together=together)
    judge = Judge.of(view, tasks, threads=threads)
    if min(together, len(asked)) == 1:
        for few in _in_turn(_claims(view.study), asked):
            yield from judge.outcomes(few)
        return
    spawn = get_context("spawn")
    arguments = (view.study, tuple(each.name for each in tasks), threads, spawn.Value("i", 0))
    with worker_pool(min(together, len(asked)), initializer=_start_worker, arguments=arguments) as pool:
        going = {pool.submit(_judge_there, name, few): name for name, few in asked.items()}
        while going:
            for future in wait(going, return_when=FIRST_COMPLETED).done:
                name, found = going.pop(future), future.result()
                if found is None:
                    going[pool.submit(_judge_there, name, asked[name])] = name
                else:
                    yield from found


def judge_alone(study: EncoderStudy, asked: Ask, *, threads: int) -> Outcome:
    """Make one probe in a process of its own, which may be ended by it."""
    killed = Outcome(place=asked[0], reason=_KILLED)
    return alone(_judge_alone, (study, asked, threads), killed=killed)


_KILLED = (
    "the process that judged it was killed, twice: probably for lack of memory; give it more, or leave the task or the "
    "encoder out"
)


def _judge_alone(given: tuple[EncoderStudy, Ask, int]) -> Outcome:
    study, asked, threads = given
    view = EncoderView(study)
    [outcome] = Judge.of(view, study_tasks(view, (asked[2],)).data, threads=threads).outcomes([asked])
    return outcome


def _claims(study: EncoderStudy) -> Claims:
    return Claims(study.root / CLAIMS_FOLDER, lease_seconds=study.config.compute.lease_seconds)


def _in_turn(claims: Claims, asked: Mapping[str, Sequence[Ask]]) -> Iterator[Sequence[Ask]]:
    """Yield what is asked of each encoder while its claim is held; those that others hold come last."""
    left = dict(asked)
    while left:
        before = len(left)
        for name in list(left):
            claim = claims.take(f"{CLAIM}{name}")
            if claim is not None:
                with claim:
                    yield left.pop(name)
        if len(left) == before:
            time.sleep(_WAIT_SECONDS)


_worker: dict[str, Any] = {}


def _start_worker(study: EncoderStudy, tasks: tuple[str, ...], threads: int, numbers: Any) -> None:
    """Count the processes, so that each has its GPU; the study is opened with the first encoder, where errors are told."""
    with numbers.get_lock():
        number, numbers.value = numbers.value, numbers.value + 1
    _worker.update(study=study, tasks=tasks, threads=threads, number=number, claims=_claims(study))


def _judge_there(name: str, few: Sequence[Ask]) -> list[Outcome] | None:
    """Judge encoders of one folder in a worker process; None where another process has them, after a moment."""
    from voxmix.training.devices import gpu_count

    claim = _worker["claims"].take(f"{CLAIM}{name}")
    if claim is None:
        time.sleep(_WAIT_SECONDS)
        return None
    with claim:
        if "judge" not in _worker:
            view = EncoderView(_worker["study"])
            gpus = gpu_count(view.config.compute.device)
            index = _worker["number"] % gpus if gpus else None
            data = study_tasks(view, _worker["tasks"]).data
            _worker["judge"] = Judge.of(view, data, threads=_worker["threads"], index=index)
        return list(_worker["judge"].outcomes(few))


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """What a process judges encoders with.

    Attributes:
        data: cases of the tasks, by name.
        store: of features.
        threads: of a CPU.
    """

    view: EncoderView
    data: Mapping[str, ProbeData]
    store: FeatureStore
    threads: int

    @classmethod
    def of(
        cls, view: EncoderView, tasks: Sequence[ProbeData], *, threads: int, index: int | None = None
    ) -> Judge:
        """Return what judges on these tasks.

        Args:
            index: of the GPU, where there are several.

        Raises:
            InputError: no such device here.
        """
        from voxmix.probes.features import FeatureStore

        store = FeatureStore(view.study.features_dir, device=view.config.compute.device, index=index)
        return cls(view=view, data={each.name: each for each in tasks}, store=store, threads=threads)

    def outcomes(self, few: Sequence[Ask]) -> Iterator[Outcome]:
        """Judge encoders of one folder on their tasks; yield what came of each."""
        from voxmix.probes.device import threads_here

        loaded: dict[str, LoadedEncoder | str] = {}
        for place, candidate, task in few:
            with threads_here(self.threads):
                outcome = self._outcome(candidate, task, loaded)
            yield replace(outcome, place=place)

    def _outcome(self, candidate: Candidate, task: str, loaded: dict[str, LoadedEncoder | str]) -> Outcome:
        if candidate.key not in loaded:
            try:
                loaded[candidate.key] = load(candidate, self.view)
            except _FAILURES as error:
                loaded[candidate.key] = _words(error)
        encoder = loaded[candidate.key]
        if isinstance(encoder, str):
            return Outcome(place=0, reason=encoder)
        known = keep_digest(self.view.study, candidate, encoder.digest)
        try:
            return _judge(self.view, self.data[task], known, encoder, self.store)
        except _FAILURES as error:
            return Outcome(place=0, reason=_words(error))


def _judge(
    view: EncoderView, data: ProbeData, candidate: Candidate, encoder: LoadedEncoder, store: FeatureStore
) -> Outcome:
    """Judge one encoder on one task."""
    from voxmix.probes.done import probe_folder
    from voxmix.probes.judge import judge

    judged = candidate.judged
    found = judge(
        data,
        encoder,
        judged,
        store=store,
        folder=probe_folder(view.study.probes_dir, data, judged),
        settings=view.study.probe_settings,
    )
    own = tuple(note for note in found.notes if note not in data.notes)
    return Outcome(place=0, made=found.made, notes=own)


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, VoxmixError) else f"{type(error).__name__}: {text[:200]}"
