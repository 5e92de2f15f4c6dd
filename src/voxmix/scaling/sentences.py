"""Plain sentences on laws of scores; the first is the headline."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voxmix.scaling.parts import (
    INF,
    NEGLIGIBLE,
    Crossing,
    Limit,
    Number,
    Pair,
    Series,
    own_reference,
    series_name,
)
from voxmix.scaling.words import (
    THEN_WORSE,
    count,
    display,
    listed,
    percent,
    reference_words,
    samples_text,
    shares,
)

_LIMITS = {
    "data": "limited by the number of samples more than by compute",
    "compute": "limited by compute more than by the number of samples",
    "both": "limited by both, samples and compute",
    "neither": f"limited by neither: doubling either takes less than {NEGLIGIBLE:.0%} of the error away",
}
_MANY = 4
"""Numbers from which on it is said that their intervals are not corrected for how many they are."""


def score_law_sentences(
    series: Sequence[Series],
    *,
    crossings: Sequence[Crossing] = (),
    pairs: Sequence[Pair] = (),
    limits: Sequence[Limit] = (),
    level: float = 0.9,
) -> tuple[str, ...]:
    """Return the answer in plain sentences; the first is the headline, the last says how many intervals there are."""
    if not series:
        return ("No objective was judged at three sizes, so no law of scores can be told.",)
    inside = list(dict.fromkeys(s.task for s in series if not s.outside))
    outside = list(dict.fromkeys(s.task for s in series if s.outside))
    parts = [
        f"for {listed(tasks)}{text}" for text, tasks in _same(_inside, inside, series, crossings).items()
    ]
    parts += [
        f"out of domain, on {listed(tasks)}, {text}"
        for text, tasks in _same(_outside, outside, series).items()
    ]
    told = ["; ".join(part for part in parts if part) + "."]
    told += [_capital(text) for task in inside + outside for text in _falls(task, series, crossings)]
    for task in dict.fromkeys(pair.task for pair in pairs):
        told += _pairs([pair for pair in pairs if pair.task == task], series)
    told += [text for limit in limits if (text := _limit(limit, series))]
    told += [text for one in series if (text := _floor(one, series))]
    told += [text] if (text := not_corrected(series, pairs, level)) else []
    return (_capital(told[0]), *told[1:])


def not_corrected(series: Sequence[Series], pairs: Sequence[Pair], level: float) -> str:
    """Return how many intervals there are and how many would leave 0 out by chance; "" of a few."""
    slopes = sum(one.elasticity.known for one in series)
    gaps = sum(pair.difference.known for pair in pairs)
    if slopes + gaps < _MANY:
        return ""
    kinds = [f"{n} {what}{'s' * (n > 1)}" for n, what in ((slopes, "slope"), (gaps, "difference")) if n]
    return (
        f"Intervals are not corrected for their number: if more samples changed nothing, about {(slopes + gaps) * (1 - level):.2g} of "
        f"these {slopes + gaps} intervals of {level:.0%} ({listed(kinds)}) would leave 0 out by chance."
    )


def _named(one: Series | Crossing | Limit, series: Sequence[Series]) -> str:
    """Name a series: its objective, with the start where the task has several."""
    starts = {s.start for s in series if s.task == one.task}
    return display(one.objective) if len(starts) < 2 else series_name(display(one.objective), one.start)


def _same(tell: Callable[..., str], tasks: Sequence[str], *about: Any) -> dict[str, list[str]]:
    """Return what is told of tasks to those of which it is told."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(tell(task, *about), []).append(task)
    return found


def _inside(task: str, series: Sequence[Series], crossings: Sequence[Crossing]) -> str:
    own = [s for s in series if s.task == task]
    found = [(c, one) for one in own if (c := _main_crossing(one, crossings)) is not None]
    if not found:
        return f" {_doublings(own, series)}"
    groups: dict[tuple[str, str, str], list[str]] = {}
    for crossing, one in found:
        groups.setdefault(_verdict(crossing, one), []).append(_named(crossing, series))
    parts = [
        f"{before}{listed(names, last='or' if before else 'and')} {_VERBS[verb][len(names) > 1 and not before]} {after}"
        for (before, verb, after), names in groups.items()
    ]
    return f", {', and '.join(parts) if len(parts) < 3 else ', '.join(parts[:-1]) + ', and ' + parts[-1]}"


_VERBS = {
    "beat": ("beats", "beat"),
    "not": ("has not beaten", "have not beaten"),
    "need": ("needs", "need"),
}
"""Of one and of several."""


def _main_crossing(one: Series, crossings: Sequence[Crossing]) -> Crossing | None:
    """Return the crossing with a series' own reference; None where it has none."""
    own = [c for c in crossings if (c.task, c.objective, c.start) == (one.task, one.objective, one.start)]
    name = own_reference(one.start, [c.reference for c in own])
    return next((c for c in own if c.reference == name), None)


def _verdict(crossing: Crossing, one: Series) -> tuple[str, str, str]:
    """Return what stands before the names of those of one verdict, its row of :data:`_VERBS`, and what stands behind."""
    number, other = crossing.samples, reference_words(crossing.reference)
    if crossing.reach == "below":
        after = THEN_WORSE if one.inverse else ""
        if number.high > one.samples[0]:
            return "", "beat", f"{other} with at most {count(number.high)} samples{after}"
        return "", "beat", f"{other} with the smallest size already ({one.samples[0]:,} samples){after}"
    if crossing.reach == "not reached":
        bound = f" (though it may from {count(number.low)} on)" if 0 < number.low < INF else ""
        return "", "not", f"{other} at {one.samples[-1]:,}{bound}"
    if crossing.reach == "unclear":
        return "whether ", "beat", f"{other} cannot be told"
    return "", "need", f"{samples_text(number)} samples to beat {other}"


def _doublings(own: Sequence[Series], series: Sequence[Series]) -> str:
    """Say what a doubling does to the error: what it surely takes away, what it surely adds, and what may be chance."""
    kinds: dict[str, list[Series]] = {}
    for one in own:
        kinds.setdefault(_kind(one.per_doubling), []).append(one)
    parts = [
        text.format(
            listed(
                [
                    f"{words(s.per_doubling)}{what * (not n)} with {_named(s, series)}"
                    for n, s in enumerate(kinds[kind])
                ]
            )
        )
        for kind, text, what, words in _CHANGES
        if kind in kinds
    ]
    if not parts:
        return "no slope can be told"
    missing = [_named(one, series) for one in kinds.get("unknown", ())]
    left = f"; no slope can be told with {listed(missing)}" if missing else ""
    return f"each doubling of samples {', and '.join(parts)}{left}"


def _kind(share: Number) -> str:
    if math.isnan(share.value):
        return "unknown"
    if not share.known:
        return "takes once" if share.value >= 0 else "adds once"
    return "takes" if share.low >= 0 else "adds" if share.high < 0 else "changes"


def _negative(number: Number) -> Number:
    return Number(value=-number.value, low=-number.high, high=-number.low)


def _added(number: Number) -> str:
    return shares(_negative(number))


def _signed(number: Number) -> str:
    """Return a change of the error, such as "+0.8% (-0.7 to +2.3%)"."""
    value, low, high = (
        ("+" if end > 0 and percent(end) != "0%" else "") + percent(end)
        for end in (-number.value, -number.high, -number.low)
    )
    return f"{value} ({low.removesuffix('%')} to {high})"


_ALONE = " (of one seed, so without an interval)"
_CHANGES = (
    ("takes", "takes {}", " of the error away", shares),
    ("adds", "adds {}", " to the error", _added),
    ("changes", "changes the error by {}, which may be chance", "", _signed),
    ("takes once", "takes {}" + _ALONE, " of the error away", shares),
    ("adds once", "adds {}" + _ALONE, " to the error", _added),
)
"""Kind of a share, what is said of it, what is said of the first one, and how it is written."""


def _outside(task: str, series: Sequence[Series]) -> str:
    own = [s for s in series if s.task == task]
    worse = [s for s in own if s.inverse]
    better = [s for s in own if not s.inverse and s.elasticity.known and s.elasticity.low > 0]
    told = []
    for some, how in ((worse, "worse"), (better, "better")):
        if some:
            who = listed([_named(s, series) for s in some])
            if 1 < len(some) == len(own):
                who = "both" if len(own) == 2 else "all"
            told.append(f"{who} {'get' if len(some) > 1 else 'gets'} {how} with more samples")
    return " and ".join(told) or "no trend with samples can be told"


def _falls(task: str, series: Sequence[Series], crossings: Sequence[Crossing]) -> list[str]:
    own = [s for s in series if s.task == task]
    told = []
    if own[0].outside or any(_main_crossing(one, crossings) for one in own):
        told.append(f"for {task} {_doublings(own, series)}.")
    for one in own:
        lost = one.forgetting
        if one.outside and lost.known:
            main = _main_crossing(one, crossings)
            other = reference_words(one.start if main is None else main.reference)
            # Only what began from a reference can have forgotten it.
            verdicts = (
                ("forgot", "gained", "neither surely forgot nor gained")
                if other == one.start
                else (
                    f"is worse than {other}",
                    f"is better than {other}",
                    f"is not surely apart from {other}",
                )
            )
            how = verdicts[0 if lost.low > 0 else 1 if lost.high < 0 else 2]
            told.append(
                f"{task}: {_named(one, series)} {how}: at {one.samples[-1]:,} samples its error minus that of {other} is "
                f"{lost.value:+.3f} ({lost.low:+.3f} to {lost.high:+.3f})."
            )
    return told


def _pairs(pairs: Sequence[Pair], series: Sequence[Series]) -> list[str]:
    """Say which of a task's series gain more from samples, and in one sentence of which that cannot be told."""
    task = pairs[0].task
    known = {s.name: _named(s, series) for s in series if s.task == task}
    told = [pair for pair in pairs if pair.difference.known]
    open_ = [pair for pair in told if pair.difference.low <= 0 <= pair.difference.high]
    sentences = [_pair(pair, series, known) for pair in told if pair not in open_]
    couples = [(known.get(pair.first, pair.first), known.get(pair.second, pair.second)) for pair in open_]
    names = list(dict.fromkeys(name for couple in couples for name in couple))
    if len(couples) == 1:
        gap = open_[0].difference
        sentences.append(
            f"{_capital(task)}: whether {listed(names, last='or')} gains more from samples cannot be told (difference of elasticities "
            f"{gap.value:.2g}, {gap.low:.2g} to {gap.high:.2g})."
        )
    elif len(couples) == len(names) * (len(names) - 1) // 2 > 0:
        sentences.append(
            f"{_capital(task)}: of no two of {listed(names)} can it be told which gains more from samples."
        )
    elif couples:
        some = ", ".join(listed(couple, last="or") for couple in couples)
        sentences.append(f"{_capital(task)}: it cannot be told which gains more from samples: {some}.")
    return sentences


def _pair(pair: Pair, series: Sequence[Series], known: Mapping[str, str]) -> str:
    first, second = pair.first, pair.second
    if pair.difference.value < 0:
        first, second = second, first
    better = next((s for s in series if (s.task, s.name) == (pair.task, first)), None)
    sure = better is None or not better.elasticity.known or better.elasticity.low > 0
    told, other = known.get(first, first), known.get(second, second)
    text = (
        f"{_capital(pair.task)}: {told} gains more from samples than {other}"
        if sure
        else f"{_capital(pair.task)}: with more samples the error of {told} falls more, or rises less, than that of {other}"
    )
    if pair.ratio.known:
        rate = pair.ratio
        text += (
            f": the elasticity of {known.get(pair.first, pair.first)} is {rate.value:.2g} ({rate.low:.2g} to {rate.high:.2g}) times "
            f"that of {known.get(pair.second, pair.second)}"
        )
        if pair.same_law_fits:
            text += "; one exponent with two floors fits as well, so this is no ratio of exponents"
    return text + "."


def _limit(limit: Limit, series: Sequence[Series]) -> str:
    if limit.limit == "unclear":
        return ""
    return (
        f"{_capital(limit.task)}: {_named(limit, series)} is {_LIMITS[limit.limit]} (twice the compute takes "
        f"{shares(limit.gain_small)} of the error away at the smallest size, {shares(limit.gain_large)} at the largest)."
    )


def _floor(one: Series, series: Sequence[Series]) -> str:
    floor = one.floor
    if floor is None or not floor.known:
        return ""
    return (
        f"{_capital(one.task)}: with {_named(one, series)} an error of {floor.value:.3f} ({floor.low:.3f} to "
        f"{floor.high:.3f}) would remain, however many samples there are."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
