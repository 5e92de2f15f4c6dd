"""The probes of a study in pieces that any number of workers share: a piece is one encoder, on all tasks that it is not judged on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from voxmix._io import naming_full_disk
from voxmix._optional import require
from voxmix.encoder_study.candidates import read_digests, weights_name
from voxmix.encoder_study.judging import Judge, Outcome, judge_alone
from voxmix.encoder_study.probe_failures import failure_mark, keep_failure, read_failures
from voxmix.encoder_study.probing import FailedProbe, Probe, failure_lines, tell_set_aside
from voxmix.encoder_study.view import EncoderView
from voxmix.study.listener import QUIET, Listener
from voxmix.study.making import threads_of_each


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeUnit:
    """The probes of one encoder that are left; ``name`` is that of its weights, in every process."""

    name: str
    probes: tuple[Probe, ...]


class ProbePass:
    """The probes of a study as units of work, as they are left now. Each result is published by one rename, once.

    A probe that fails is named in a file of its own and left alone, by all workers, until ``voxmix probe`` is given.
    """

    def __init__(self, view: EncoderView, hear: Listener = QUIET, *, together: int = 1) -> None:
        """Look at what is left, for workers of which so many go on at the same time on this machine.

        Raises:
            InputError: no task can be judged.
        """
        require("torch", extra="train")
        tell_set_aside(view, view.tasks, hear)
        self._view, self._of = view, len(view.probes)
        self._threads = threads_of_each(view.config.compute, together=together)
        self._judge: Judge | None = None
        self._done: set[str] = set()
        self._left = tuple(probe for probe in view.probes if not probe.done)
        found: dict[str, list[Probe]] = {}
        for probe in self._left:
            found.setdefault(weights_name(view.study, probe.candidate), []).append(probe)
        self.units = tuple(ProbeUnit(name=name, probes=tuple(some)) for name, some in found.items())

    def is_done(self, unit: ProbeUnit) -> bool:
        """Return whether every probe of a unit is made, or failed and says so."""
        if unit.name not in self._done and not any(self._open(unit)):
            self._done.add(unit.name)
        return unit.name in self._done

    def make(self, unit: ProbeUnit, *, careful: bool = False, stop: Callable[[], bool] | None = None) -> bool:
        """Make the probes of a unit that are left, in this process; return whether all are settled.

        Args:
            careful: each in a process of its own, so that one that ends its process is named alone.
            stop: asked between probes.
        """
        study = self._view.study
        left = list(self._open(unit))
        with naming_full_disk(self._view.root):
            for outcome in self._outcomes(left, careful=careful):
                if outcome.reason:
                    probe = left[outcome.place]
                    keep_failure(
                        study, failure_mark(study, probe.data, probe.candidate), reason=outcome.reason
                    )
                if stop is not None and stop():
                    return False
        return True

    def failed(self) -> Mapping[str, str]:
        """Return the probes that failed, here or elsewhere, and why."""
        return {f"{one.task}: {one.encoder}, seed {one.seed}": one.reason for one in self._failures()}

    def join(self, hear: Listener = QUIET) -> None:
        """Tell what failed: there is nothing to put together."""
        for line in failure_lines(list(self._failures()), of=self._of):
            hear.tell(line)

    def _outcomes(self, left: list[Probe], *, careful: bool) -> Iterator[Outcome]:
        asked = [(place, probe.candidate, probe.data.name) for place, probe in enumerate(left)]
        if careful:
            for one in asked:
                yield judge_alone(self._view.study, one, threads=self._threads)
            return
        if self._judge is None:
            self._judge = Judge.of(self._view, self._view.tasks.data, threads=self._threads)
        yield from self._judge.outcomes(asked)

    def _open(self, unit: ProbeUnit) -> Iterator[Probe]:
        """Yield the probes of a unit that are neither made nor failed, as the disk says now."""
        from voxmix.probes.done import is_done

        study = self._view.study
        known, failed = read_digests(study), read_failures(study)
        for probe in unit.probes:
            judged = replace(probe.candidate.judged, encoder=known.get(probe.candidate.key, ""))
            if failure_mark(study, probe.data, probe.candidate) in failed:
                continue
            if not (
                judged.encoder and is_done(probe.folder, probe.data, judged, settings=study.probe_settings)
            ):
                yield probe

    def _failures(self) -> Iterator[FailedProbe]:
        study = self._view.study
        failed = read_failures(study)
        for probe in self._left:
            reason = failed.get(failure_mark(study, probe.data, probe.candidate))
            if reason is not None:
                yield FailedProbe.of(probe, reason)


def probe_units(view: EncoderView, hear: Listener = QUIET, *, together: int = 1) -> ProbePass:
    """Return the probes of a study as units of work."""
    return ProbePass(view, hear, together=together)
