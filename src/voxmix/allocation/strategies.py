"""The strategies that a study compares, as one table: guesses, the mixtures that laws choose, and starts without any.

A row says how a strategy's mixture is made, how it is drawn and where it is listed. Every law of the family has a
strategy (:class:`voxmix.law.LawForm`); :func:`register_strategy` takes another row from outside.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from voxmix._table import Table
from voxmix.allocation.settings import AllocationSettings
from voxmix.errors import InputError, did_you_mean
from voxmix.law.family import PAPER, LawForm, preferred_forms
from voxmix.law.fitted import FittedLaw
from voxmix.mixture import Mixture

DOMAIN = "DOMAIN"
"""The argument that is a domain of the study."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Situation:
    """What a strategy may know: the domains, how many volumes exist, the settings, and the law it asked for.

    ``refined`` is the mixture that a study's rounds of ``voxmix refine`` ended in; None where there are none.
    ``argument`` is what follows the strategy's name, as the 2 of ``temperature-2``.
    """

    domains: tuple[str, ...]
    volumes: Mapping[str, float] = field(default_factory=dict)
    settings: AllocationSettings
    law: FittedLaw | None = None
    refined: Mixture | None = None
    argument: str = ""

    def counts(self) -> dict[str, float]:
        """Return the volumes of every domain.

        Raises:
            InputError: a domain without its count.
        """
        missing = [name for name in self.domains if name not in self.volumes]
        if missing:
            raise InputError(
                f"volumes lacks a count for {missing}; give how many volumes exist of every domain"
            )
        return {name: self.volumes[name] for name in self.domains}


@dataclass(frozen=True, kw_only=True, slots=True)
class Strategy:
    """One way to a mixture.

    Attributes:
        name: in study.yaml, commands, files and reports; of a strategy with an argument what stands before it.
        label: what it does, in words.
        argument: what the argument is, as "T" for ``temperature-T``; "" for a strategy without.
        check: returns what is wrong with an argument, or "".
        mixture: the mixture of a situation; None where the law allocates it, and where nothing is pretrained.
        law: name of the law that it needs.
        needs_volumes: whether it needs to know how many volumes exist of every domain.
        baseline: whether allocations are compared with its mixture.
        in_new_studies: whether a new study compares it.
        in_paper: whether the paper's tables list it: then it comes first in tables of scores, in the table's order.
        finetuned: whether finetuning starts from it unless told otherwise.
        marker: what it is drawn as; without, it gets one that is left.
    """

    name: str
    label: str
    argument: str = ""
    check: Callable[[str], str] | None = None
    mixture: Callable[[Situation], Mixture] | None = None
    law: str = ""
    needs_volumes: bool = False
    baseline: bool = False
    in_new_studies: bool = False
    in_paper: bool = False
    finetuned: bool = False
    marker: str = ""

    @property
    def spelling(self) -> str:
        """How its name is written, such as ``temperature-T``."""
        return f"{self.name}-{self.argument}" if self.argument else self.name

    @property
    def trains(self) -> bool:
        """Whether it has a mixture to train."""
        return self.mixture is not None or bool(self.law)


def _temperature(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        return f"{text!r} is no temperature; give a number above 0, e.g. temperature-2"
    return "" if text == f"{value:g}" else f"write temperature-{value:g}"


def _whole(text: str) -> str:
    if not text.isdecimal() or not text.isascii():
        return f"{text!r} is no seed; give a whole number, e.g. random-1"
    return "" if text == str(int(text)) else f"write random-{int(text)}"


def _random(now: Situation) -> Mixture:
    """Return min_weight of every domain, and the rest cut at places drawn uniformly: a Dirichlet of ones.

    The gaps between sorted uniform numbers (Devroye 1986, section V.2) need no logarithm: the same bits everywhere.
    """
    least, names = now.settings.min_weight, sorted(now.domains)
    cuts = np.sort(np.random.default_rng(int(now.argument)).random(len(names) - 1))
    gaps = dict(zip(names, np.diff(cuts, prepend=0.0, append=1.0), strict=True))
    corner = Mixture.vertex(now.domains, now.domains[0], min_weight=least)  # refuses what is not possible
    free = 1 - len(names) * least
    return Mixture(domains=corner.domains, weights=np.array([least + free * gaps[d] for d in now.domains]))


def _refined(now: Situation) -> Mixture:
    if now.refined is None:
        raise InputError(
            f"strategy {REFINED!r} is what rounds of voxmix refine ended in, and there are none; only a study has them, after: "
            "voxmix refine STUDY"
        )
    return now.refined


SCRATCH = "scratch"
SINGLE = "single"
REFINED = "refined"

_ROWS = (
    Strategy(
        name=SCRATCH,
        label="no pretraining: where finetuning starts from random weights",
        in_paper=True,
        finetuned=True,
        marker="P",
    ),
    Strategy(
        name=SINGLE,
        label="one domain alone; in finetuning, single is the task's own",
        argument=DOMAIN,
        mixture=lambda now: Mixture.pure(now.domains, now.argument),
        in_paper=True,
        finetuned=True,
        marker="X",
    ),
    Strategy(
        name="uniform",
        label="every domain alike",
        mixture=lambda now: Mixture.uniform(now.domains),
        baseline=True,
        in_new_studies=True,
        in_paper=True,
        marker="s",
    ),
    Strategy(
        name="data-proportional",
        label="every domain by its volumes",
        mixture=lambda now: Mixture.from_counts(now.counts()),
        needs_volumes=True,
        baseline=True,
        in_new_studies=True,
        in_paper=True,
        finetuned=True,
        marker="^",
    ),
    Strategy(
        name="temperature",
        label="every domain by its volumes to the power 1/T: 1 is data-proportional, large T nears uniform",
        argument="T",
        check=_temperature,
        mixture=lambda now: Mixture.from_counts(now.counts(), temperature=float(now.argument)),
        needs_volumes=True,
        marker="p",
    ),
    Strategy(
        name="hub",
        label="min_weight of every domain and the rest of one: a corner of what may be allocated",
        argument=DOMAIN,
        mixture=lambda now: Mixture.vertex(now.domains, now.argument, min_weight=now.settings.min_weight),
    ),
    Strategy(
        name="random",
        label="drawn with seed N, uniformly from all mixtures that min_weight allows",
        argument="N",
        check=_whole,
        mixture=_random,
    ),
    Strategy(
        name=REFINED,
        label="what the rounds of `voxmix refine` ended in",
        mixture=_refined,
        marker="*",
    ),
)
STRATEGIES: Table[Strategy] = Table("strategies", {row.name: row for row in _ROWS})
"""The strategies that need no law of their own; packages add rows by entry points of the group ``voxmix.strategies``."""


_OWN = tuple(row.name for row in _ROWS)


def _of_law(form: LawForm) -> Strategy:
    return Strategy(
        name=form.strategy,
        label=f"the best mixture by the law {form.name}",
        law=form.name,
        in_new_studies=form.in_every_study,
        in_paper=form.in_paper,
        finetuned=form.name == PAPER,
        marker=form.marker,
    )


def all_strategies() -> tuple[Strategy, ...]:
    """Return every strategy: guesses, then those of the laws, the plainest law first, then those from outside."""
    others = (row for name, row in STRATEGIES.rows().items() if name not in _OWN)
    return (*_ROWS, *(_of_law(form) for form in reversed(preferred_forms())), *others)


def new_study_strategies() -> tuple[str, ...]:
    """Return the strategies that a new study compares."""
    return tuple(row.name for row in all_strategies() if row.in_new_studies)


def finetuned_strategies() -> tuple[str, ...]:
    """Return what finetuning starts from unless told otherwise."""
    return tuple(row.name for row in all_strategies() if row.finetuned)


def baselines() -> tuple[Strategy, ...]:
    """Return the strategies with which allocations are compared."""
    return tuple(row for row in all_strategies() if row.baseline)


def split_name(name: str) -> tuple[Strategy | None, str]:
    """Return the row that a name is of, and its argument; None for the name of no strategy."""
    rows = {row.name: row for row in all_strategies()}
    if name in rows:
        return rows[name], ""
    for row in rows.values():
        if row.argument and name.startswith(f"{row.name}-"):
            return row, name[len(row.name) + 1 :]
    return None, ""


def check_strategies(names: Sequence[str], *, domains: Sequence[str] | None = None) -> None:
    """Check the names of strategies; ``domains`` are those of the study, where they are known.

    Raises:
        InputError: no such strategy with a mixture, or an argument that is missing or cannot be used; names what is
            possible.
    """
    known = [item for item in all_strategies() if item.trains]
    unknown = [name for name in names if (row := split_name(name)[0]) is None or not row.trains]
    if unknown:
        near = did_you_mean(unknown[0], [item.name for item in known], what="")
        raise InputError(
            f"unknown strategies {unknown}; {near + ' ' if near.startswith('did') else ''}Choose from "
            f"{', '.join(item.spelling for item in known)}"
        )
    for name in names:
        row, argument = split_name(name)
        assert row is not None
        if row.argument and not argument:
            raise InputError(f"strategy {name!r} needs what follows its name: write {row.spelling}")
        if problem := row.check(argument) if row.check and argument else "":
            raise InputError(f"strategy {name!r}: {problem}")
        if row.argument == DOMAIN and domains is not None and argument not in domains:
            raise InputError(f"strategy {name!r}: no domain {argument!r}; {did_you_mean(argument, domains)}")


def find_strategy(name: str) -> Strategy:
    """Return the row of a strategy that has a mixture.

    Raises:
        InputError: as :func:`check_strategies`.
    """
    check_strategies([name])
    row, _ = split_name(name)
    assert row is not None
    return row


def strategy_mixture(name: str, now: Situation) -> Mixture | None:
    """Return the mixture of a strategy; None where its law has to allocate it.

    Raises:
        InputError: no such strategy, or a situation that lacks what it needs.
    """
    check_strategies([name], domains=now.domains)
    row, argument = split_name(name)
    return row.mixture(replace(now, argument=argument)) if row is not None and row.mixture else None


def listed_place(name: str) -> tuple[int, str]:
    """Return where a strategy or another initialization stands in tables: the paper's first, others by name."""
    row, _ = split_name(name)
    listed = [item.name for item in all_strategies() if item.in_paper]
    return (listed.index(row.name) if row is not None and row.in_paper else len(listed), name)


def register_strategy(row: Strategy) -> None:
    """Add a strategy from outside, in this process: study files, reports and score tables then know it.

    Raises:
        InputError: the name is taken, or it has neither a mixture nor a law.
    """
    if split_name(row.name)[0] is not None:
        raise InputError(f"a strategy {row.name!r} is known already; give the new one another name")
    if not row.trains:
        raise InputError(f"strategy {row.name!r} has neither a mixture nor a law; give one of the two")
    STRATEGIES.add(row.name, row)


def unregister_strategy(name: str) -> None:
    """Take a strategy that was registered out of the table."""
    if name in STRATEGIES and name not in _OWN:
        STRATEGIES.remove(name)
