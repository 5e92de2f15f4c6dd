"""Names, numbers and lists as the sentences and tables on laws of scores write them."""

import math
from collections.abc import Mapping, Sequence

from voxmix.probe_tasks import UNTRAINED
from voxmix.scaling.parts import INF, Crossing, Number, Reach

_DISPLAY = {
    "clip": "CLIP",
    "unicl": "UniCL with labels",
    "siglip": "SigLIP",
    "dino": "DINO",
    "mae": "MAE",
}
_REACHED: Mapping[Reach, str] = {
    "within": "among the measured sizes",
    "below": "with the smallest size already",
    "not reached": "not up to the largest size",
    "unclear": "cannot be told",
}
"""Where a reference is beaten, in words."""


def display(objective: str) -> str:
    """Return the name of an objective as the field writes it."""
    return _DISPLAY.get(objective, objective)


def reference_words(name: str) -> str:
    """Return what a reference is called in a sentence."""
    return "an untrained network" if name == UNTRAINED else name


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


THEN_WORSE = ", but more make it worse"
"""Of what few samples beat and more do not."""


def reached_text(crossing: Crossing, *, rises: bool = False) -> str:
    """Return where a reference is beaten, in words; "at most 69 samples" where that may be more than the smallest size.

    Args:
        rises: whether the series' error surely rises with samples.
    """
    after = THEN_WORSE if rises and crossing.reach == "below" else ""
    if crossing.reach == "below" and crossing.samples.high > 0:
        return f"with at most {count(crossing.samples.high)} samples{after}"
    return _REACHED[crossing.reach] + after


def samples_text(number: Number) -> str:
    """Return "210 (150 to 330)"; values and ends beyond the measured sizes in words; "–" where nothing can be told.

    >>> samples_text(Number(value=INF, low=900, high=INF))
    'beyond the largest size (900 or more)'
    """
    if math.isnan(number.value):
        return "–"
    low = "below the smallest size" if number.low <= 0 else count(number.low)
    span = f"{low} or more" if number.high == INF else f"{low} to {count(number.high)}"
    value = (
        "below the smallest size"
        if number.value <= 0
        else "beyond the largest size"
        if number.value == INF
        else count(number.value)
    )
    return value if math.isnan(number.low) else f"{value} ({span})"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return names as a list in a sentence.

    >>> listed(["CLIP", "DINO", "MAE"]), listed(["CLIP", "MAE"], last="or")
    ('CLIP, DINO and MAE', 'CLIP or MAE')
    """
    return f" {last} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
