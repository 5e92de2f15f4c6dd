"""ReportContent: everything a report can show, all of it optional."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Shaped

from voxmix.allocation import Allocation, AllocationSettings
from voxmix.allocation.refinement import Refinement
from voxmix.errors import InputError
from voxmix.law import FittedLaw, Regime, regime_check
from voxmix.law.family import preferred_forms
from voxmix.measurement import MeasurementTable
from voxmix.mixture import Mixture
from voxmix.runs import RunResult
from voxmix.scores import Comparison, ProxyAgreement


def preferred_strategies() -> tuple[str, ...]:
    """Return which strategy is the answer when a study does not say: that of the best law of the family first."""
    return tuple(form.strategy for form in preferred_forms())


def laws_by_preference() -> tuple[str, ...]:
    """Return the laws in the order in which they are listed; the first is shown in figures without an answer."""
    return tuple(form.name for form in preferred_forms())


@dataclass(frozen=True, kw_only=True, slots=True)
class DomainSummary:
    """One domain and its volumes: counts of those used, and of those set aside by reason.

    ``padding`` is the median share of padding of its prepared volumes; of the voxels that exist, ``one_value``,
    ``at_low`` and ``at_high`` are the median shares of the commonest value, at 0 and at 1. None where not measured.
    ``complaints`` says in plain sentences what is wrong with that, and how to fix it. With ``only_evaluated`` no run is
    trained on it: a target that is no source.
    """

    name: str
    modality: str = ""
    anatomy: str = ""
    training: int | None = None
    validation: int | None = None
    set_aside: Mapping[str, int] = field(default_factory=dict)
    padding: float | None = None
    one_value: float | None = None
    at_low: float | None = None
    at_high: float | None = None
    complaints: tuple[str, ...] = ()
    only_evaluated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One loss of a strategy's mixture when it was trained: of one seed, on one target."""

    strategy: str
    budget: int
    seed: int
    target: str
    loss: float
    loss_se: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Central slices of one validation volume in [0, 1]: as it is, masked, and reconstructed."""

    domain: str
    original: Shaped[np.ndarray, "x y"]
    masked: Shaped[np.ndarray, "x y"]
    reconstructed: Shaped[np.ndarray, "x y"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Montage:
    """One slice of a test case of a segmentation: image in [0, 1], and label maps of which 0 is the background.

    ``predictions`` is by initialization; ``classes`` names the labels 0, 1, ...; ``case`` is the case's digest.
    """

    task: str
    case: str
    classes: tuple[str, ...]
    image: Shaped[np.ndarray, "x y"]
    reference: Shaped[np.ndarray, "x y"]
    predictions: Mapping[str, Shaped[np.ndarray, "x y"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportContent:
    """What a report shows. Whatever is left out is named in the report with the command that makes it.

    Attributes:
        study: name of the study, and the title of the report.
        made: when, as text; an argument so that the same content gives the same bytes.
        law_file: the file of the law that the report is of, as in a command; "" where it is of a study.
        budget: volume draws the study allocates.
        min_weight: least share of any domain.
        asked: what the study asks of its mixtures: strategies are judged by its objective, and with its costs ``budget`` is
            money.
        domains: the domains with their counts of volumes.
        measurements: losses of the proxy runs, those the laws were fitted on.
        laws: fitted laws by name, such as "transfer" and "diversity".
        strategies: the candidate mixtures at ``budget`` by name; an Allocation where a law gave it.
        recommended: the strategy that is the answer; by default the first of :func:`preferred_strategies` that a law gave.
        by_budget: allocations of the answer's law at several budgets, for the figure of their path.
        checks: measured losses of the strategies.
        refinement: the rounds in which the law's own choice was trained and judged; ``no_refinement`` says why it has no end.
        pictures: sample slices, one or more per domain.
        runs: finished runs.
        kinds: the kind of each proxy run, such as "pure runs", by its id.
        comparison: scores of finetuned encoders, compared.
        agreements: how well proxy losses order those scores.
        montages: predictions next to their references.
        no_comparison: why there is no comparison although there are scores, in one sentence.
        facts: heading to (name to value): versions, machine, digests, settings.
        notes: other remarks, in plain sentences.

    Raises:
        InputError: a strategy, law, check or picture that does not agree with the domains.
    """

    study: str
    made: str = ""
    law_file: str = ""
    budget: int | None = None
    min_weight: float | None = None
    asked: AllocationSettings | None = None
    domains: tuple[DomainSummary, ...] = ()
    measurements: MeasurementTable | None = None
    laws: Mapping[str, FittedLaw] = field(default_factory=dict)
    strategies: Mapping[str, Allocation | Mixture] = field(default_factory=dict)
    recommended: str | None = None
    by_budget: tuple[Allocation, ...] = ()
    checks: tuple[Check, ...] = ()
    refinement: Refinement | None = None
    no_refinement: str = "no round of refine is finished"
    pictures: tuple[Picture, ...] = ()
    runs: tuple[RunResult, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    comparison: Comparison | None = None
    agreements: tuple[ProxyAgreement, ...] = ()
    montages: tuple[Montage, ...] = ()
    no_comparison: str = ""
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = self.domain_names
        for what, given in self._given_domains():
            if given != names:
                raise InputError(
                    f"{what} has the domains {list(given)}, the study {list(names)}; use one order"
                )
        unknown = sorted({check.target for check in self.checks} - set(self.target_names))
        if unknown:
            raise InputError(
                f"checks name unknown targets {unknown}; the targets are {list(self.target_names)}"
            )
        if self.recommended is not None and self.recommended not in self.strategies:
            raise InputError(
                f"recommended strategy {self.recommended!r} has no mixture; there are {list(self.strategies)}"
            )

    def _given_domains(self) -> list[tuple[str, tuple[str, ...]]]:
        found = [(f"law {name}", law.domains) for name, law in self.laws.items()]
        found += [(f"strategy {name}", mixture_of(item).domains) for name, item in self.strategies.items()]
        if self.measurements is not None:
            found.append(("the measurement table", self.measurements.domains))
        return found

    @property
    def regime(self) -> Regime | None:
        """How each target's loss moves with the budget; None where nothing was measured."""
        return None if self.measurements is None else regime_check(self.measurements)

    @property
    def domain_names(self) -> tuple[str, ...]:
        """Names of the sources, in the order of every figure and table."""
        if self.domains:
            return tuple(domain.name for domain in self.domains if not domain.only_evaluated)
        if self.measurements is not None:
            return self.measurements.domains
        for law in self.laws.values():
            return law.domains
        for item in self.strategies.values():
            return mixture_of(item).domains
        return ()

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets: the domains, then targets that are no source."""
        found = [*self.domain_names, *(domain.name for domain in self.domains if domain.only_evaluated)]
        if self.measurements is not None:
            found += self.measurements.targets
        return tuple(dict.fromkeys([*found, *(name for law in self.laws.values() for name in law.targets)]))

    @property
    def answer(self) -> str | None:
        """Name of the strategy that is the answer; None while no law has given one: a guess is no answer."""
        if self.recommended is not None:
            return self.recommended
        computed = [name for name, item in self.strategies.items() if isinstance(item, Allocation)]
        return next((name for name in (*preferred_strategies(), *computed) if name in computed), None)

    @property
    def answer_law(self) -> str | None:
        """Name of the law behind the answer, else of the most general law there is."""
        item = self.strategies.get(self.answer or "")
        if isinstance(item, Allocation) and item.law in self.laws:
            return item.law
        return next((name for name in (*laws_by_preference(), *self.laws) if name in self.laws), None)

    @property
    def objective(self) -> str:
        """What mixtures are judged by: the study's objective, else what the answer's allocation minimized, else the mean."""
        if self.asked is not None:
            return self.asked.objective
        made = [item for item in self.strategies.values() if isinstance(item, Allocation)]
        item = self.strategies.get(self.answer or "")
        return item.kind if isinstance(item, Allocation) else next((other.kind for other in made), "mean")

    @property
    def unit(self) -> str:
        """What budgets of strategies are counted in."""
        if self.asked is not None and self.asked.cost:
            return "price units"
        return next((law.response.unit for law in self.laws.values()), "draws")

    @property
    def target_weights(self) -> Mapping[str, float]:
        """Importance of each target as the study asks for it; 1 where not named."""
        return {} if self.asked is None else self.asked.target_weights

    @property
    def level(self) -> float:
        """Level of the intervals: that of the answer's allocation, else 0.9."""
        item = self.strategies.get(self.answer or "")
        return item.level if isinstance(item, Allocation) else 0.9

    @property
    def laws_in_order(self) -> tuple[str, ...]:
        """Names of the laws, that of the answer first, then from the most general to the plainest."""
        order = [self.answer_law, *laws_by_preference(), *self.laws]
        return tuple(dict.fromkeys(name for name in order if name is not None and name in self.laws))


def draws_of(content: ReportContent, mixture: Mixture, budget: float) -> float:
    """Return the draws of a mixture that a budget of the study buys: without costs the budget itself."""
    return budget if content.asked is None else content.asked.draws_of(mixture, budget)


def mixture_of(item: Allocation | Mixture) -> Mixture:
    """Return the mixture of a strategy."""
    return item.mixture if isinstance(item, Allocation) else item


def volumes_of(content: ReportContent) -> Float[np.ndarray, " source"]:
    """Return the training volumes that exist per domain; NaN where unknown."""
    known = {d.name: d.training for d in content.domains}
    return np.array(
        [np.nan if known.get(name) is None else float(known[name] or 0) for name in content.domain_names],
        dtype=np.float64,
    )
