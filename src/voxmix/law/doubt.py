"""Numbers that the runs do not tell, and numbers on which laws that were fitted to the same runs disagree."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from voxmix.law.fitted import FittedLaw
from voxmix.law.profile import MOST_PROFILED, has_profile, profile
from voxmix.law.status import ParameterStatus

WIDE = 10.0  # a number whose interval spans more than this factor is not told by the runs
_LEAST = 0.05  # a transfer below this is almost nothing, whatever its digits
_SHOWN = 3


def with_widths(law: FittedLaw, level: float = 0.9) -> FittedLaw:
    """Return the law with "not identified" on numbers whose interval spans more than ``WIDE``.

    These are exponents, transfers and the numbers of a formula.

    The interval is that of the bootstrap, as :meth:`FittedLaw.intervals` gives it; without draws nothing changes.
    """
    bounds = law.intervals(level)
    if bounds is None:
        return law

    own = tuple(law.parameters.formula_numbers)

    def judged(item: ParameterStatus) -> ParameterStatus:
        if item.state != "ok" or item.target is None or item.parameter not in ("exponent", "transfer", *own):
            return item
        at = bounds[item.parameter][..., law.targets.index(item.target), :]
        low, high = (at if item.source is None else at[law.domains.index(item.source)]).tolist()
        if high <= WIDE * low:
            return item
        what = f"{item.parameter} of {item.target}"
        more = f"add a budget above {law.budget_range[1]:,.0f} draws of {item.target}"
        if item.parameter in own:
            more = f"add budgets below {law.budget_range[0]:,.0f} and above {law.budget_range[1]:,.0f} draws"
        if item.source is not None:
            what = f"transfer from {item.source} to {item.target}"
            more = f"add runs of {item.source}, or of mixtures with more of it"
        message = f"the runs leave the {what} between {_figure(low)} and {_figure(high)} ({level:.0%} interval); {more}"
        return replace(item, state="not identified", message=message)

    return replace(law, status=tuple(judged(item) for item in law.status))


def with_profiles(law: FittedLaw) -> FittedLaw:
    """Return the law with "not identified" on exponents and transfers that its pure runs do not constrain.

    Two-stage fits only: a joint fit also has runs of mixtures for the same numbers.
    """
    if law.method != "two-stage" or law.form.one_exponent or len(law.domains) > MOST_PROFILED:
        return law
    return replace(law, status=tuple(_judged(law, item) for item in law.status))


def _judged(law: FittedLaw, item: ParameterStatus) -> ParameterStatus:
    if item.state != "ok" or item.parameter not in ("exponent", "transfer") or item.target is None:
        return item
    if not has_profile(law, law.targets.index(item.target)):
        return item
    found = profile(law, item.parameter, target=item.target, source=item.source)
    if found.bounded:
        return item
    trained, what = (item.target, f"exponent of {item.target}")
    if item.source is not None:
        trained, what = item.source, f"transfer from {item.source} to {item.target}"
    return replace(
        item,
        state="not identified",
        message=(
            f"the pure runs leave the {what} between {_figure(found.low)} and {_figure(found.high)}; add a budget above "
            f"{law.budget_range[1]:,.0f} draws of {trained}"
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """One transfer that two laws, fitted to the same runs, set apart by more than a factor of ``WIDE``."""

    source: str
    target: str
    values: tuple[tuple[str, float], tuple[str, float]]

    @property
    def ratio(self) -> float:
        """The larger over the smaller value; a value of 0 counts as the smallest that means anything."""
        small, large = sorted(value for _, value in self.values)
        return large / max(small, 1e-4)

    @property
    def sentence(self) -> str:
        """The pair, and what either law says."""
        told = " and ".join(f"{_figure(value)} by {law}" for law, value in self.values)
        return f"{self.source} to {self.target} {told}"


def disagreements(laws: Mapping[str, FittedLaw]) -> tuple[Disagreement, ...]:
    """Return the transfers on which laws disagree by more than a factor of ``WIDE``, the largest ratio first.

    Laws without transfer have no say. Values that are all below 0.05 agree: the source is worth almost nothing.
    """
    able = {name: law for name, law in laws.items() if law.form.transfers}
    found = []
    for source in dict.fromkeys(name for law in able.values() for name in law.domains):
        for target in dict.fromkeys(name for law in able.values() for name in law.targets):
            told = [
                (name, float(law.transfer[law.domains.index(source), law.targets.index(target)]))
                for name, law in able.items()
                if source in law.domains and target in law.targets and source != target
            ]
            if len(told) < 2:
                continue
            low, high = min(told, key=lambda item: item[1]), max(told, key=lambda item: item[1])
            item = Disagreement(source=source, target=target, values=(low, high))
            if high[1] >= _LEAST and item.ratio > WIDE:
                found.append(item)
    return tuple(sorted(found, key=lambda item: -item.ratio))


def disagreement_sentence(laws: Mapping[str, FittedLaw]) -> str:
    """Return on how many transfers the laws disagree, and the largest; empty where they do not."""
    found = disagreements(laws)
    if not found:
        return ""
    count = np.sum([law.form.transfers for law in laws.values()])
    shown = "; ".join(item.sentence for item in found[:_SHOWN])
    most = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    pairs = "1 transfer" if len(found) == 1 else f"{len(found)} transfers"
    return (
        f"the {count} laws with transfer, fitted to the same runs, differ more than tenfold on {pairs}: {shown}{most}. "
        f"Trust {'neither number' if count == 2 else 'none of them there'}; trained mixtures show which law is closer"
    )


def _figure(value: float) -> str:
    """Return a number in two digits, without an exponent where it is large."""
    return f"{value:.2g}" if abs(value) < 99.5 else f"{value:,.0f}"
