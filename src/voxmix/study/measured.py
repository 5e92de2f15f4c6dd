"""What is prepared, planned and measured of a study: volumes, proxy runs and rounds of refine, the table of losses."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from voxmix._memory import without_collecting
from voxmix.errors import StepPendingError
from voxmix.runs import measurements
from voxmix.study.moment import StudyMoment
from voxmix.study.plan import specs_by_kind
from voxmix.study.rounds import REFINE_RUNS, Record, Round, basis_of, changed_words, read_record

if TYPE_CHECKING:
    from voxmix.allocation import AllocationSettings
    from voxmix.allocation.refinement import Refinement
    from voxmix.design import RunSpec
    from voxmix.law import Regime
    from voxmix.measurement import MeasurementTable
    from voxmix.volumes.auditing.fitness import Fitness
    from voxmix.volumes.preparing.cache import PreparedCache


class MeasuredStudy(StudyMoment):
    """A study as far as no law is needed: what laws are fitted to, and which rounds of refine are finished."""

    @cached_property
    def cache(self) -> PreparedCache:
        """The prepared volumes."""
        from voxmix.volumes.preparing.cache import PreparedCache

        if not self.is_made("prepare"):
            raise self.steps["prepare"].pending(self)
        return PreparedCache.open(self.study.cache_dir)

    @cached_property
    def cache_digest(self) -> str:
        """The digest of the prepared volumes."""
        return self.cache.digest

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """The domains of the prepared volumes that runs train on."""
        return tuple(name for name in self.cache.domains if name not in self.config.data.targets)

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """What runs are evaluated on: the domains, then those that are only evaluated."""
        return (*self.domains, *(name for name in self.cache.domains if name not in self.domains))

    @cached_property
    def counts(self) -> dict[str, int]:
        """Domain to training volumes, of the domains that runs train on."""
        found = self.cache.counts("train")
        return {name: found[name] for name in self.domains}

    @cached_property
    def asked(self) -> AllocationSettings:
        """What the study asks of its mixtures, with the training volumes of the domains for which its file gives none."""
        return self.config.allocation.knowing(self.counts)

    @cached_property
    def fitness(self) -> tuple[Fitness, ...]:
        """How fit the prepared volumes of every domain are for training; () before they are prepared."""
        try:
            cache = self.cache
        except StepPendingError:
            return ()
        return tuple(cache.fitness(crop=self.config.model.crop))

    @cached_property
    def design(self) -> dict[str, tuple[RunSpec, ...]]:
        """Kind to the proxy runs of the study's design, finished or not."""
        return specs_by_kind(self.config, self.domains, cache=self.cache_digest)

    @cached_property
    def proxies_by_kind(self) -> dict[str, tuple[RunSpec, ...]]:
        """Kind to its proxy runs, finished or not: those of the design, and of refine where the study fits them."""
        found = self.design
        asked = {spec.run_id for specs in found.values() for spec in specs}
        rounds = self.rounds if self.config.fit.refine_runs else ()
        more = {spec.run_id: spec for item in rounds for spec in item.specs(self.config, self.cache_digest)}
        added = tuple(spec for name, spec in more.items() if name not in asked)
        return {**found, REFINE_RUNS: added} if added else found

    @property
    def proxies(self) -> tuple[RunSpec, ...]:
        """Every proxy run, finished or not."""
        return tuple(spec for specs in self.proxies_by_kind.values() for spec in specs)

    @cached_property
    def refine_record(self) -> Record:
        """Every round of refine that the study's folder keeps, and the path as it was last judged."""
        return read_record(self.study.refine_path)

    @cached_property
    def refine_basis(self) -> dict[str, str]:
        """The digests of what a round of refine would be made from now."""
        proxies = [spec for specs in self.design.values() for spec in specs]
        return basis_of(self.config, self.cache_digest, proxies)

    @property
    def _counts_rounds(self) -> bool:
        """Whether runs of refine are fitted; none are before volumes are prepared."""
        try:
            return REFINE_RUNS in self.proxies_by_kind
        except StepPendingError:
            return False

    @property
    def rounds(self) -> tuple[Round, ...]:
        """The finished rounds of refine that were trained as the study trains now, under whatever law."""
        return tuple(
            item
            for item in self.refine_record.rounds
            if item.basis["runs"] == self.refine_basis["runs"]
            and not self.study.pending(item.specs(self.config, self.cache_digest))
        )

    @cached_property
    def refinement(self) -> Refinement | None:
        """The path of refine by the study's settings of now, as it was last judged; None where there is none."""
        record = self.refine_record
        return record.path if record.path is not None and record.basis == self.refine_basis else None

    @cached_property
    def refine_missing(self) -> str:
        """Why refine has ended in no mixture by the study's settings of now, in words; "" where it has."""
        record, found = self.refine_record, self.refinement
        if found is not None and found.rounds:
            return "" if found.stopped else "the rounds of refine have not ended"
        if found is None and record.path is not None and record.path.rounds:
            changed = changed_words(record.basis or {}, self.refine_basis)
            return f"the rounds of refine are of another {changed}"
        return "no round of refine is finished"

    @property
    def refine_words(self) -> str:
        """How far refine is, in words; "" where it was not begun."""
        try:
            begun, found = self.refine_record.path is not None, self.refinement
            return "" if not begun else self.refine_missing if found is None else found.sentence
        except StepPendingError:
            return ""

    @cached_property
    def table(self) -> MeasurementTable:
        """What the proxy runs measured."""
        if self.study.pending(self.proxies):
            raise self.steps["run"].pending(self)
        with without_collecting():
            return measurements(self.results(self.proxies), self.domains, self.targets)

    @cached_property
    def outliers(self) -> list[list[str]]:
        """Run and target of the losses that no noise explains; none before every proxy run is finished."""
        from voxmix.law.outliers import find_outliers

        if self.study.pending(self.proxies):
            return []
        table = self.table
        with without_collecting():
            return [[item.run, item.target] for item in find_outliers(table)]

    @cached_property
    def regime(self) -> Regime | None:
        """How each target's loss moves, by the proxy runs that are finished; None where there are none."""
        from voxmix.law import regime_check

        try:
            results = self.results(self.proxies)
        except StepPendingError:
            return None
        if not results:
            return None
        if self.study.pending(self.proxies):
            table, odd = measurements(results, self.domains, self.targets), None
        else:
            table, odd = self.table, [(run, target) for run, target in self.outliers]
        with without_collecting():
            return regime_check(table, keep_outliers=self.config.fit.keep_outliers, odd=odd)
