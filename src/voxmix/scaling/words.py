"""Plain sentences on laws of scores; the first is the headline."""

from collections.abc import Sequence

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

_DISPLAY = {
    "clip": "CLIP",
    "unicl": "UniCL with labels",
    "siglip": "SigLIP",
    "dino": "DINO",
    "mae": "MAE",
}
_LIMITS = {
    "data": "limited by the number of samples more than by compute",
    "compute": "limited by compute more than by the number of samples",
    "both": "limited by both, samples and compute",
    "neither": f"limited by neither: twice of either takes less than {NEGLIGIBLE:.0%} of the error away",
}
_MANY = 4
"""Numbers from which on it is said that their intervals are not corrected for how many they are."""


def display(objective: str) -> str:
    """Return the name of an objective as the field writes it."""
    return _DISPLAY.get(objective, objective)


def percent(share: float) -> str:
    """Return a share in percent, with two digits."""
    value = 100 * share
    text = f"{value:.1f}" if abs(value) < 9.95 else f"{value:.0f}"
    return f"{0.0 if float(text) == 0 else float(text):g}%"


def count(samples: float) -> str:
    """Return a number of samples with two or three digits.

    >>> count(213.4), count(152_345.0)
    ('213', '152,000')
    """
    if samples < 1000:
        return f"{samples:.0f}" if samples >= 10 else f"{samples:.2g}"
    return f"{float(f'{samples:.3g}'):,.0f}"


def shares(number: Number) -> str:
    """Return "9% (6 to 12%)"."""
    if not number.known:
        return percent(number.value) if number.value == number.value else "an unknown share"
    return f"{percent(number.value)} ({percent(number.low).removesuffix('%')} to {percent(number.high)})"


def samples_text(number: Number) -> str:
    """Return "210 (150 to 330)"; ends beyond the measured sizes in words."""
    low = "below the smallest size" if number.low <= 0 else count(number.low)
    high = "beyond the largest size" if number.high == INF else count(number.high)
    return f"{count(number.value)} ({low} to {high})"


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
    parts = [_inside(task, series, crossings) for task in inside] + [
        _outside(task, series) for task in outside
    ]
    told = ["; ".join(part for part in parts if part) + "."]
    told += [_capital(text) for task in inside + outside for text in _falls(task, series, crossings)]
    told += [text for pair in pairs if (text := _pair(pair, series))]
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
    return (
        f"Intervals are not corrected for their number: were nothing there, about {(slopes + gaps) * (1 - level):.2g} of these "
        f"{slopes} slopes and {gaps} differences would leave 0 out of their {level:.0%} interval by chance."
    )


def _named(one: Series | Crossing | Limit, series: Sequence[Series]) -> str:
    """Name a series: its objective, with the start where the task has several."""
    starts = {s.start for s in series if s.task == one.task}
    return display(one.objective) if len(starts) < 2 else series_name(display(one.objective), one.start)


def _inside(task: str, series: Sequence[Series], crossings: Sequence[Crossing]) -> str:
    own = [s for s in series if s.task == task]
    meant = [c for one in own if (c := _main_crossing(one, crossings)) is not None]
    if not meant:
        return f"for {task} {_doublings(own, series)}"
    return f"for {task}, " + ", and ".join(
        _crossing(c, next(s for s in own if (s.objective, s.start) == (c.objective, c.start)), series)
        for c in meant
    )


def _main_crossing(one: Series, crossings: Sequence[Crossing]) -> Crossing | None:
    """Return the crossing with a series' own reference; None where it has none."""
    own = [c for c in crossings if (c.task, c.objective, c.start) == (one.task, one.objective, one.start)]
    name = own_reference(one.start, [c.reference for c in own])
    return next((c for c in own if c.reference == name), None)


def _crossing(crossing: Crossing, one: Series, series: Sequence[Series]) -> str:
    name, number = _named(crossing, series), crossing.samples
    if crossing.reach == "below":
        if number.high > one.samples[0]:
            return f"{name} beats {crossing.reference} with at most {count(number.high)} samples"
        return f"{name} beats {crossing.reference} with the smallest size already, {one.samples[0]:,}"
    if crossing.reach == "not reached":
        bound = f", though it may from {count(number.low)} on" if 0 < number.low < INF else ""
        return f"{name} has not beaten {crossing.reference} at {one.samples[-1]:,}{bound}"
    if crossing.reach == "unclear":
        return f"whether and where {name} beats {crossing.reference} cannot be told"
    return f"{name} needs {samples_text(number)} samples to beat {crossing.reference}"


def _doublings(own: Sequence[Series], series: Sequence[Series]) -> str:
    known = [s for s in own if s.per_doubling.value == s.per_doubling.value]
    if not known:
        return "no slope can be told"
    takes = [(s, s.per_doubling) for s in known if not s.per_doubling.high < 0]
    adds = [(s, _negative(s.per_doubling)) for s in known if s.per_doubling.high < 0]
    parts = [
        f"{verb} "
        + " and ".join(
            f"{shares(share)}{of_what * (not n)} with {_named(s, series)}"
            for n, (s, share) in enumerate(some)
        )
        for verb, of_what, some in (("takes", " of the error away", takes), ("adds", " to the error", adds))
        if some
    ]
    return f"each doubling of samples {', and '.join(parts)}"


def _negative(number: Number) -> Number:
    return Number(value=-number.value, low=-number.high, high=-number.low)


def _outside(task: str, series: Sequence[Series]) -> str:
    own = [s for s in series if s.task == task]
    worse = [s for s in own if s.inverse]
    better = [s for s in own if not s.inverse and s.elasticity.known and s.elasticity.low > 0]
    told = []
    for some, how in ((worse, "worse"), (better, "better")):
        if some:
            who = " and ".join(_named(s, series) for s in some)
            if 1 < len(some) == len(own):
                who = "both" if len(own) == 2 else "all"
            told.append(f"{who} {'get' if len(some) > 1 else 'gets'} {how} with more samples")
    return f"out of domain, on {task}, {' and '.join(told) or 'no trend with samples can be told'}"


def _falls(task: str, series: Sequence[Series], crossings: Sequence[Crossing]) -> list[str]:
    own = [s for s in series if s.task == task]
    told = []
    if own[0].outside or any(_main_crossing(one, crossings) for one in own):
        told.append(f"for {task} {_doublings(own, series)}.")
    for one in own:
        lost = one.forgetting
        if one.outside and lost.known:
            main = _main_crossing(one, crossings)
            other = one.start if main is None else main.reference
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
                f"{task}: {_named(one, series)} {how}: at {one.samples[-1]:,} samples its error is {lost.value:+.3f} "
                f"({lost.low:+.3f} to {lost.high:+.3f}) against that of {other}."
            )
    return told


def _pair(pair: Pair, series: Sequence[Series]) -> str:
    gap = pair.difference
    if not gap.known:
        return ""
    first, second = pair.first, pair.second
    if gap.low <= 0 <= gap.high:
        return (
            f"{_capital(pair.task)}: whether {first} or {second} gains more from samples cannot be told "
            f"(difference of elasticities {gap.value:.2g}, {gap.low:.2g} to {gap.high:.2g})."
        )
    if gap.value < 0:
        first, second = second, first
    better = next((s for s in series if (s.task, s.name) == (pair.task, first)), None)
    sure = better is None or not better.elasticity.known or better.elasticity.low > 0
    text = (
        f"{_capital(pair.task)}: {first} gains more from samples than {second}"
        if sure
        else f"{_capital(pair.task)}: with samples the error of {first} falls more, or rises less, than that of {second}"
    )
    if pair.ratio.known:
        rate = pair.ratio
        text += f": {pair.first} has {rate.value:.2g} ({rate.low:.2g} to {rate.high:.2g}) times the elasticity of {pair.second}"
    if pair.same_law_fits and pair.ratio.known:
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
