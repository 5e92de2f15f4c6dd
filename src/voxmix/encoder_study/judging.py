"""Judging encoders on tasks: one after another in this process, or several at a time in processes of their own."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from voxmix._parallel import worker_pool
from voxmix.encoder_study.candidates import Candidate, keep_digest, load
from voxmix.encoder_study.folder import EncoderStudy
from voxmix.encoder_study.task_data import study_tasks
from voxmix.encoder_study.view import EncoderView
from voxmix.errors import VoxmixError
from voxmix.study.making import at_once, threads_of_each

if TYPE_CHECKING:
    from voxmix.probes.data import ProbeData
    from voxmix.probes.encoder import LoadedEncoder
    from voxmix.probes.features import FeatureStore

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


_NO_LOCK = nullcontext()

_Ask = tuple[int, Candidate, str]
"""A probe: its place, its encoder, the name of its task."""


def processes_of(view: EncoderView) -> int:
    """Return how many encoders are judged at a time: as many as runs are trained."""
    return at_once(view.config.compute, workers=view.config.workers, most=len(view.planned))


def judge_all(
    view: EncoderView, tasks: Sequence[ProbeData], probes: Sequence[tuple[Candidate, str]]
) -> Generator[Outcome, None, None]:
    """Judge encoders on tasks, each encoder on all of its tasks in one process; yield what came of each probe as it is done.

    So features of an encoder are computed once. Scores are the same bit for bit for any number of processes of equal threads
    (``compute.threads``). A probe that fails stops no other; being closed, what is done stays done.

    Args:
        tasks: their cases.
        probes: encoders, and for each the name of a task.

    Raises:
        InputError: no such device here.
        VoxmixError: a process was killed from outside.
    """
    from voxmix.probes.device import threads_here
    from voxmix.probes.features import FeatureStore

    if not probes:
        return
    asked: dict[str, list[_Ask]] = {}
    for place, (candidate, task) in enumerate(probes):
        asked.setdefault(str(candidate.folder or candidate.key), []).append((place, candidate, task))
    compute, together = view.config.compute, processes_of(view)
    threads = threads_of_each(compute, together=together)
    store = FeatureStore(view.study.features_dir, device=compute.device)
    if min(together, len(asked)) == 1:
        data = {each.name: each for each in tasks}
        with threads_here(threads):
            for few in asked.values():
                yield from _judge_few(view, data, store, few)
        return
    spawn = get_context("spawn")
    arguments = (view.study, tuple(each.name for each in tasks), threads, spawn.Value("i", 0), spawn.Lock())
    with worker_pool(min(together, len(asked)), initializer=_start_worker, arguments=arguments) as pool:
        for future in as_completed([pool.submit(_judge_there, few) for few in asked.values()]):
            yield from future.result()


_worker: dict[str, Any] = {}


def _start_worker(study: EncoderStudy, tasks: tuple[str, ...], threads: int, numbers: Any, lock: Any) -> None:
    """Count the processes, so that each has its GPU; the study is opened with the first encoder, where errors are told."""
    with numbers.get_lock():
        number, numbers.value = numbers.value, numbers.value + 1
    _worker.update(study=study, tasks=tasks, threads=threads, number=number, lock=lock)


def _judge_there(few: Sequence[_Ask]) -> list[Outcome]:
    """Judge encoders of one folder in a worker process."""
    from voxmix.probes.device import threads_here
    from voxmix.probes.features import FeatureStore
    from voxmix.training.devices import gpu_count

    if "view" not in _worker:
        view = EncoderView(_worker["study"])
        device, gpus = view.config.compute.device, gpu_count(view.config.compute.device)
        index = _worker["number"] % gpus if gpus else None
        _worker["data"] = {each.name: each for each in study_tasks(view, _worker["tasks"]).data}
        _worker["store"] = FeatureStore(view.study.features_dir, device=device, index=index)
        _worker["view"] = view
    view, data, store = (_worker[part] for part in ("view", "data", "store"))
    with threads_here(_worker["threads"]):
        return list(_judge_few(view, data, store, few, keeping=_worker["lock"]))


def _judge_few(
    view: EncoderView,
    data: Mapping[str, ProbeData],
    store: FeatureStore,
    few: Sequence[_Ask],
    *,
    keeping: AbstractContextManager[Any] = _NO_LOCK,
) -> Iterator[Outcome]:
    """Judge encoders of one folder on their tasks; ``keeping`` is held where the study's list of digests is written."""
    loaded: dict[str, LoadedEncoder | str] = {}
    for place, candidate, task in few:
        if candidate.key not in loaded:
            try:
                loaded[candidate.key] = load(candidate, view)
            except _FAILURES as error:
                loaded[candidate.key] = _words(error)
        encoder = loaded[candidate.key]
        if isinstance(encoder, str):
            yield Outcome(place=place, reason=encoder)
            continue
        with keeping:
            known = keep_digest(view.study, candidate, encoder.digest)
        try:
            outcome = _judge(view, data[task], known, encoder, store)
            yield replace(outcome, place=place)
        except _FAILURES as error:
            yield Outcome(place=place, reason=_words(error))


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
