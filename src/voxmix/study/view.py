"""What one command knows of a study: its prepared volumes, its plan, its results, laws and mixtures, each read once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from voxmix.errors import InputError, StepPendingError, VoxmixWarning
from voxmix.mixture import Mixture
from voxmix.runs import is_finished, measurements
from voxmix.runs.files import CARD_FILE
from voxmix.runs.results import RunResult, read_run
from voxmix.study.folder import Study
from voxmix.study.plan import check_specs, specs_by_kind
from voxmix.study.rounds import REFINE_RUNS, Record, Round, basis_of, changed_words, read_record
from voxmix.study.step import Steps, loaded
from voxmix.study.steps import STEPS

if TYPE_CHECKING:
    from voxmix.allocation import Allocation, AllocationSettings, Situation
    from voxmix.allocation.refinement import Refinement
    from voxmix.design import RunSpec
    from voxmix.law import FittedLaw, Regime
    from voxmix.measurement import MeasurementTable
    from voxmix.study.config import StudyConfig
    from voxmix.volumes.auditing.fitness import Fitness
    from voxmix.volumes.preparing.cache import PreparedCache

T = TypeVar("T")
_OF_VOLUMES = (
    "cache",
    "cache_digest",
    "domains",
    "targets",
    "counts",
    "asked",
    "fitness",
    "design",
    "proxies_by_kind",
    "refine_record",
    "refine_basis",
    "refinement",
)
_OF_PROXIES = (*_OF_VOLUMES, "table", "outliers", "regime")
_UNCHANGED_BY = {
    "run": _OF_VOLUMES,
    "fit": _OF_PROXIES,
    "allocate": _OF_PROXIES,
    "pretrain": _OF_PROXIES,
    "report": _OF_PROXIES,
}
"""Step to the properties that it leaves as they were; of other steps that is not known."""


class StudyView:
    """A study at one moment: what is read of it is read when first asked for, and kept.

    Properties raise :class:`voxmix.errors.StepPendingError`, which names a command, where a step is not done. Whether a
    run is finished is never kept. After a step that changes the study, :meth:`after` gives a view of the next moment.
    """

    def __init__(self, study: Study, *, known: Mapping[Path, RunResult] | None = None) -> None:
        """``known`` are results that were read before, by folder."""
        self.study = study
        self._results = dict(known or {})
        self._inputs: dict[str, str] = {}
        self._made: dict[str, str] | None = None

    @classmethod
    def of(cls, study: Study | StudyView) -> StudyView:
        """Return a view of a study, or the view itself."""
        return study if isinstance(study, StudyView) else cls(study)

    def after(self, name: str) -> StudyView:
        """Return a view of the study after a step: what the step has not changed is kept."""
        view = StudyView(self.study, known=self._results)
        unchanged = _UNCHANGED_BY.get(name, ())
        vars(view).update((key, value) for key, value in vars(self).items() if key in unchanged)
        return view

    def configured(self, config: StudyConfig) -> StudyView:
        """Return the view with other settings of how runs are computed, which change nothing that was read."""
        view = StudyView(replace(self.study, config=config))
        vars(view).update((key, value) for key, value in vars(self).items() if key != "study")
        return view

    @property
    def config(self) -> StudyConfig:
        """The study's settings."""
        return self.study.config

    @property
    def root(self) -> Path:
        """The study's folder."""
        return self.study.root

    @property
    def steps(self) -> Steps:
        """The steps of a mixture study."""
        return STEPS

    def lock(self) -> AbstractContextManager[None]:
        """Hold the study: no other process may work on it meanwhile.

        Raises:
            StudyBusyError: one does.
        """
        return self.study.lock()

    def check(self) -> None:
        """Check the study as :func:`voxmix.study.checks.check_study` does, which knows views.

        Raises:
            InputError: lists every problem.
        """
        loaded("voxmix.study.checks:check_study")(self)

    def inputs(self, name: str) -> str:
        """Return the digest of what a step's files are made from, as it is now."""
        if name not in self._inputs:
            digest_of = self.steps[name].inputs
            assert digest_of is not None, name
            self._inputs[name] = digest_of(self)
        return self._inputs[name]

    def is_made(self, name: str) -> bool:
        """Return whether a step's files are made, from its inputs as they are now."""
        inputs = self.inputs(name)
        if self._made is None:
            self._made = self.study.made()
        return self._made.get(name) == inputs

    def mark_made(self, name: str) -> None:
        """Remember that a step's files are made from its inputs as they are now."""
        self.study.mark_made(name, self.inputs(name))
        self._made = None

    def kept(self, name: str, read: Callable[[], T], *, again: str) -> T | None:
        """Return what a step has made, if it is up to date; None where it is not, or cannot be read.

        Warns:
            VoxmixWarning: its files are gone or damaged; ``again`` says what happens now.
        """
        if not self.is_made(name):
            return None
        try:
            return read()
        except InputError as error:
            warnings.warn(f"{error}: {again}", VoxmixWarning, stacklevel=3)
            return None

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
    def strategies_pending(self) -> dict[str, str]:
        """Strategy to why it has no mixture yet; the others do not wait for it."""
        from voxmix.allocation.strategies import REFINED

        asked = REFINED in self.config.allocation.strategies
        return {REFINED: self.refine_missing} if asked and self.refine_missing else {}

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

    def pending_words(self, name: str) -> str:
        """Return why a strategy is pending and the command that gives it a mixture."""
        return f"strategy {name} is pending, {self.strategies_pending[name]}; first: {self.steps['refine'].call(self.root)}"

    @property
    def proxies(self) -> tuple[RunSpec, ...]:
        """Every proxy run, finished or not."""
        return tuple(spec for specs in self.proxies_by_kind.values() for spec in specs)

    @property
    def checks(self) -> tuple[RunSpec, ...]:
        """The runs that train every strategy's mixture at the allocated budget."""
        return tuple(spec for specs in self.checks_by_strategy.values() for spec in specs)

    @cached_property
    def checks_by_strategy(self) -> dict[str, tuple[RunSpec, ...]]:
        """The runs that train each strategy's mixture at the allocated budget."""
        mixtures = {
            name: found if isinstance(found, Mixture) else found.mixture
            for name, found in self.allocations.items()
        }
        return check_specs(self.config, mixtures, cache=self.cache_digest)

    def results(self, specs: tuple[RunSpec, ...]) -> tuple[RunResult, ...]:
        """Return the finished runs among ``specs``, in their order, each once."""
        folders = dict.fromkeys(self.study.run_dir(spec) for spec in specs)
        return tuple(self._result(folder) for folder in folders if is_finished(folder))

    def _result(self, folder: Path) -> RunResult:
        if folder not in self._results:
            self._results[folder] = read_run(folder)
        return self._results[folder]

    def result(self, folder: Path) -> RunResult | None:
        """Return the finished run in a folder of the study's runs; None where there is none that can be read."""
        if folder.parent != self.study.runs_dir:
            return None
        try:
            return self._result(folder)
        except InputError:
            return None

    @cached_property
    def table(self) -> MeasurementTable:
        """What the proxy runs measured."""
        if self.study.pending(self.proxies):
            raise self.steps["run"].pending(self)
        return measurements(self.results(self.proxies), self.domains, self.targets)

    @cached_property
    def outliers(self) -> list[list[str]]:
        """Run and target of the losses that no noise explains; none before every proxy run is finished."""
        from voxmix.law.outliers import find_outliers

        if self.study.pending(self.proxies):
            return []
        return [[item.run, item.target] for item in find_outliers(self.table)]

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
        table = measurements(results, self.domains, self.targets)
        return regime_check(table, keep_outliers=self.config.fit.keep_outliers)

    @cached_property
    def laws_wanted(self) -> tuple[str, ...]:
        """The laws the study fits, the plainest first: those of every study, and those that its strategies ask for.

        Without runs of mixtures (anchors, vertex runs), laws whose numbers only they tell are left out, and without
        pure runs the laws of the budget's term.
        """
        from voxmix.law.family import preferred_forms

        design, asked = self.config.design, self.config.allocation.strategies
        least = self.config.allocation.min_weight
        mixed = design.trains_mixtures(least) or self._counts_rounds
        alone = design.trains_alone(least)
        return tuple(
            form.name
            for form in reversed(preferred_forms())
            if (form.in_every_study or form.strategy in asked)
            and (mixed or not form.needs_mixtures)
            and (alone or not form.by_share)
        )

    @cached_property
    def strategies_wanted(self) -> tuple[str, ...]:
        """The strategies of the study but for those that wait; those whose law cannot be fitted are left out."""
        from voxmix.allocation.strategies import find_strategy

        laws = self.laws_wanted
        rows = {name: find_strategy(name) for name in self.config.allocation.strategies}
        return tuple(
            name
            for name, row in rows.items()
            if name not in self.strategies_pending and (not row.law or row.law in laws)
        )

    @property
    def situation(self) -> Situation:
        """What strategies know of the study: domains, volumes, what is asked of a mixture, and what refine ended in."""
        from voxmix.allocation import Situation

        return Situation(
            domains=self.domains,
            volumes=self.asked.volumes,
            settings=self.asked,
            refined=None if self.refinement is None else self.refinement.choice,
        )

    @cached_property
    def laws(self) -> dict[str, FittedLaw]:
        """The laws that were fitted to the study as it is now.

        Raises:
            InputError: the file of a law is gone or damaged.
        """
        from voxmix.law import FittedLaw

        if not self.is_made("fit"):
            raise self.steps["fit"].pending(self)
        try:
            return {name: FittedLaw.load(self.study.law_path(name)) for name in self.laws_wanted}
        except InputError as error:
            raise InputError(
                f"a law of the study cannot be read ({error}); {self.steps['fit'].call(self.root)} fits all again"
            ) from None

    @cached_property
    def allocations(self) -> dict[str, Allocation | Mixture]:
        """The mixtures of the strategies: an Allocation where a law gave it.

        Raises:
            InputError: the file of an allocation is gone or damaged.
        """
        from voxmix.allocation import Allocation

        if not self.is_made("allocate"):
            raise self.steps["allocate"].pending(self)
        now = self.situation
        try:
            return {
                name: self._guess(name, now) or Allocation.load(self.study.allocation_path(name))
                for name in self.strategies_wanted
            }
        except InputError as error:
            raise InputError(
                f"a mixture of the study cannot be read ({error}); {self.steps['allocate'].call(self.root)} makes all again"
            ) from None

    def _guess(self, name: str, now: Situation) -> Mixture | None:
        """Return the mixture of a strategy that makes its own; None where a law has allocated it."""
        from voxmix.allocation.strategies import find_strategy, strategy_mixture

        row = find_strategy(name)
        if row.law and row.mixture is not None:
            now = replace(now, law=self.laws[row.law])
        return strategy_mixture(name, now)

    def encoder_runs(self, init: str, *, domain: str) -> tuple[RunSpec, ...]:
        """Return the pretraining runs whose encoders an initialization starts from, one per seed.

        ``single`` is pretraining on the task's own ``domain`` alone, at the budget of the strategies; any other name
        is a strategy of the study.

        Raises:
            InputError: no such strategy, or the study has no such domain.
        """
        from voxmix.allocation.strategies import SINGLE

        if init == SINGLE:
            if domain not in self.domains:
                raise InputError(
                    f"single pretrains on the task's domain {domain}, the study has {list(self.domains)}; leave it out, "
                    "or set the task's domain"
                )
            mixture = Mixture.pure(self.domains, domain)
            return check_specs(self.config, {init: mixture}, cache=self.cache_digest)[init]
        strategies = self.strategies_wanted
        if init in self.strategies_pending:
            raise StepPendingError(self.pending_words(init))
        if init not in strategies:
            raise InputError(
                f"unknown initialization {init!r}; choose scratch, single, one of the study's strategies "
                f"{list(strategies)}, or the folder of a checkpoint (with its {CARD_FILE})"
            )
        return self.checks_by_strategy[init]

    @cached_property
    def other_volumes_sentence(self) -> str:
        """How many finished runs are not the study's because they are of other volumes, in words; "" where none are."""
        try:
            others = self.study.of_other_volumes(self.cache_digest)
        except StepPendingError:
            return ""
        return (
            f"{others} finished run(s) are of other prepared volumes, or of a voxmix whose losses counted padding; they "
            "are kept and not used"
            if others
            else ""
        )

    @cached_property
    def former_vertices_sentence(self) -> str:
        """How many finished vertex runs have a min_weight that is asked for no more, in words; "" where none do.

        They are true measurements, and the study file says whether they are fitted: one file, one law, whatever was
        tried in the folder before.
        """
        design = self.config.design
        asked = design.least_weights(self.config.allocation.min_weight)
        try:
            known = self.study.vertices_run(self.cache_digest) if design.vertex_seeds else {}
        except StepPendingError:
            known = {}
        former = {least: count for least, count in known.items() if least not in asked}
        if not former:
            return ""
        old, new = list(former), list(asked)
        return (
            f"{sum(former.values())} finished vertex run(s) of min_weight {', '.join(f'{x:g}' for x in old)} are kept and "
            f"not fitted, because the study file asks for min_weight {', '.join(f'{x:g}' for x in new)}; to fit them "
            f"too, set design.min_weight to {[*new, *old]}; to fit them instead, to {old[0] if len(old) == 1 else old}"
        )

    @property
    def run_remarks(self) -> tuple[str, ...]:
        """A sentence on each group of finished runs that the study does not use."""
        return tuple(filter(None, (self.other_volumes_sentence, self.former_vertices_sentence)))

    @property
    def finetuning_counts(self) -> tuple[int, int]:
        """How many finetuning runs are finished and how many are not."""
        runs = [path for path in self.study.downstream_dir.glob("*/*/seed-*") if path.is_dir()]
        finished = sum(is_finished(path) for path in runs)
        return finished, len(runs) - finished
