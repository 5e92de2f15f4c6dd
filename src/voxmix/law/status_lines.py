"""What the statuses of a law say in few lines: one line for a kind of doubt, what matters most first, the rest counted."""

from collections import Counter
from collections.abc import Sequence

from voxmix.law.status import ParameterStatus, State

MOST = 6
"""Lines that people are shown; the JSON has every remark and every number's status."""

_NAMED = 6  # targets of one kind that are named
_SOURCES = 3  # sources of one kind of transfers that are named
_REMARKS = 3  # remarks that come before the doubts about numbers
_ORDER: tuple[tuple[str | None, State | None], ...] = (
    (None, "not converged"),
    ("amplitude", None),  # a flat curve: nothing about its target can be known
    ("exponent", "not identified"),  # what a larger budget gives
    ("transfer", "not identified"),  # which domain helps which
    ("exponent", "at bound"),
    ("rho", None),
    ("irreducible_loss", None),
    (None, "not identified"),
    (None, "at bound"),  # most often a source that gives a target almost nothing
)
"""Kinds of doubt from what decides most for a mixture to what decides least; None stands for any."""


def doubts_of(status: Sequence[ParameterStatus]) -> tuple[str, ...]:
    """Return what is not ok, one line for every kind, what matters most first; of many alike a count and an example."""
    kinds: dict[tuple[str, State], dict[str, ParameterStatus]] = {}
    said: set[str] = set()
    for item in status:
        if item.state != "ok" and item.message and item.message not in said:
            said.add(item.message)
            kinds.setdefault((item.parameter, item.state), {})[item.message] = item
    order = sorted(kinds, key=lambda kind: _importance(*kind))
    totals = Counter(item.parameter for item in status)
    return tuple(_line(kind, kinds[kind], total=totals[kind[0]]) for kind in order)


def few_lines(
    remarks: Sequence[str], status: Sequence[ParameterStatus], *, where: str, most: int = MOST
) -> tuple[str, ...]:
    """Return at most ``most`` lines of remarks and doubts; the last counts what they leave out, and says where it is.

    Args:
        remarks: sentences about the fit as a whole, the ``notes`` of a law.
        where: what lists all of them, such as "--json lists them all".
    """
    doubts, bad = doubts_of(status), sum(item.state != "ok" for item in status)
    lines = [*remarks[:_REMARKS], *doubts, *remarks[_REMARKS:]]
    if len(lines) <= most and bad <= len(doubts):
        return tuple(lines)
    shown = lines[: most - 1]
    left = sum(remark not in shown for remark in remarks)
    counted = [f"{bad} of {len(status)} numbers are at a bound or not told by these runs"] if bad else []
    if left:
        counted.append(f"{left} more {'remark is' if left == 1 else 'remarks are'} not shown")
    return (*shown, f"in all, {' and '.join(counted)}; {where}")


def _importance(parameter: str, state: State) -> int:
    return next(
        k for k, (name, kind) in enumerate(_ORDER) if name in (None, parameter) and kind in (None, state)
    )


def _line(kind: tuple[str, State], messages: dict[str, ParameterStatus], *, total: int) -> str:
    first, count = next(iter(messages)), len(messages)
    if count == 1:
        return first
    noun = f"{kind[0].replace('_', ' ').replace('loss', 'losse')}s"
    names = _names(list(messages.values()), every=count == total)
    return f"{count} of {total} {noun} are {kind[1]} ({names}), such as: {first}"


def _names(items: Sequence[ParameterStatus], *, every: bool) -> str:
    """Return which targets, or from which sources how many transfers."""
    if items[0].source is None:
        names = [str(item.target) for item in items]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return "every target" if every else ", ".join(names[:_NAMED]) + more
    if len(items) <= _SOURCES:
        return ", ".join(f"{item.source} to {item.target}" for item in items)
    found = Counter(str(item.source) for item in items).most_common()
    more = f" and {len(found) - _SOURCES} other sources" if len(found) > _SOURCES else ""
    return "from " + ", ".join(f"{name} {count}" for name, count in found[:_SOURCES]) + more
