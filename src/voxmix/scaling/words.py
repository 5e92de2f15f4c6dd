"""Plain sentences on laws of scores; the first is the headline."""

from collections.abc import Sequence

from voxmix.scaling.parts import INF, Crossing, Limit, Number, Pair, Series, series_name

_DISPLAY = {
    "clip": "CLIP",
    "unicl": "UniCL with labels",
    "siglip": "SigLIP",
    "dino": "DINO",
    "mae": "MAE",
}
_LIMITS = {
    "data": "limited by the number of samples, not by compute",
    "compute": "limited by compute, not by the number of samples",
    "both": "limited by both, samples and compute",
    "neither": "limited by neither: more of each would take little of the error away",
}


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
) -> tuple[str, ...]:
    """Return the answer in plain sentences; the first is the headline."""
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
    return (_capital(told[0]), *told[1:])


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
    """Return the crossing with the reference that a series began from, or else the first."""
    own = [c for c in crossings if (c.task, c.objective, c.start) == (one.task, one.objective, one.start)]
    return next((c for c in own if c.reference == one.start), own[0] if own else None)


def _crossing(crossing: Crossing, one: Series, series: Sequence[Series]) -> str:
    name, number = _named(crossing, series), crossing.samples
    if crossing.reach == "below":
        bound = f" (at most {count(number.high)})" if number.high > one.samples[0] else ""
        return f"{name} beats {crossing.reference} with the smallest size already, {one.samples[0]:,}{bound}"
    if crossing.reach == "not reached":
        bound = f" (or not before {count(number.low)})" if 0 < number.low < INF else ""
        return f"{name} has not beaten {crossing.reference} at {one.samples[-1]:,}{bound}"
    if crossing.reach == "unclear":
        return f"whether and where {name} beats {crossing.reference} cannot be told"
    return f"{name} needs {samples_text(number)} samples to beat {crossing.reference}"


def _doublings(own: Sequence[Series], series: Sequence[Series]) -> str:
    known = [s for s in own if s.per_doubling.value == s.per_doubling.value]
    if not known:
        return "no slope can be told"
    return "each doubling of samples takes " + " and ".join(
        f"{shares(s.per_doubling)}{' of the error away' * (not n)} with {_named(s, series)}"
        for n, s in enumerate(known)
    )


def _outside(task: str, series: Sequence[Series]) -> str:
    own = [s for s in series if s.task == task]
    worse = [_named(s, series) for s in own if s.inverse]
    if worse:
        who = ("both" if len(own) == 2 else "all") if 1 < len(worse) == len(own) else " and ".join(worse)
        return (
            f"out of domain, on {task}, {who} {'get' if len(worse) > 1 else 'gets'} worse with more samples"
        )
    better = [_named(s, series) for s in own if s.elasticity.known and s.elasticity.low > 0]
    if better:
        return (
            f"out of domain, on {task}, {' and '.join(better)} {'get' if len(better) > 1 else 'gets'} better"
        )
    return f"out of domain, on {task}, no trend with samples can be told"


def _falls(task: str, series: Sequence[Series], crossings: Sequence[Crossing]) -> list[str]:
    own = [s for s in series if s.task == task]
    told = []
    if own[0].outside or any(_main_crossing(one, crossings) for one in own):
        told.append(f"for {task} {_doublings(own, series)}.")
    for one in own:
        lost = one.forgetting
        if one.outside and lost.known:
            how = (
                "forgot"
                if lost.low > 0
                else "gained"
                if lost.high < 0
                else "neither surely forgot nor gained"
            )
            told.append(
                f"{task}: {_named(one, series)} {how}: at {one.samples[-1]:,} samples its error is {lost.value:+.3f} "
                f"({lost.low:+.3f} to {lost.high:+.3f}) against the reference's."
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
