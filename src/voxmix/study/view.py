"""What one command knows of a study: its prepared volumes, its plan, its results, laws and mixtures, each read once."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from voxmix.errors import InputError, StepPendingError
from voxmix.mixture import Mixture
from voxmix.runs import is_finished
from voxmix.runs.files import CARD_FILE
from voxmix.runs.unfinished import finetuning_runs
from voxmix.study.folder import Study
from voxmix.study.measured import MeasuredStudy
from voxmix.study.plan import check_specs

if TYPE_CHECKING:
    from voxmix.allocation import Allocation, Situation
    from voxmix.design import RunSpec
    from voxmix.law import FittedLaw
    from voxmix.study.config import StudyConfig


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


class StudyView(MeasuredStudy):
    """A study at one moment: what is read of it is read when first asked for, and kept.

    Properties raise :class:`voxmix.errors.StepPendingError`, which names a command, where a step is not done. Whether a
    run is finished is never kept. After a step that changes the study, :meth:`after` gives a view of the next moment.
    """

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

    @cached_property
    def strategies_pending(self) -> dict[str, str]:
        """Strategy to why it has no mixture yet; the others do not wait for it."""
        from voxmix.allocation.strategies import REFINED

        asked = REFINED in self.config.allocation.strategies
        return {REFINED: self.refine_missing} if asked and self.refine_missing else {}

    def pending_words(self, name: str) -> str:
        """Return why a strategy is pending and the command that gives it a mixture."""
        return f"strategy {name} is pending, {self.strategies_pending[name]}; first: {self.steps['refine'].call(self.root)}"

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
            cache = self.cache_digest
            own = {folder for folder, result in self._results.items() if result.spec.cache == cache}
            others = self.study.of_other_volumes(cache, own)
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
        runs = finetuning_runs(self.study.downstream_dir)
        finished = sum(is_finished(path) for path in runs)
        return finished, len(runs) - finished
