"""Intervals and tests over subjects and seeds: bootstrap, crossed analysis of variance, Holm.

A finetuning run has two sources of chance: which patients are in the test set, and the seed (weights, crops,
order). A run's seed moves all of its cases together, so a test over cases alone takes the noise of a seed for an
effect. With three seeds Wilcoxon's test calls 17% to 64% of equals different where seeds matter, and a bootstrap
over cases and seeds 10% to 21%; 5% are promised (``make paired-tests``). Radiology has met the same with readers
in place of seeds: cases and seeds are crossed random factors, and the test here is the one of its multi-reader
multi-case studies. Cases of one subject are no independent witnesses: they are taken together everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from voxmix.scores.blocks import fit_blocks
from voxmix.scores.metric import Weighted


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTest:
    """Mean difference with its interval and two-sided p-value; the interval is (NaN, NaN) and p NaN where seeds
    or subjects are too few to tell."""

    difference: float
    low: float
    high: float
    p: float

    def within(self, widest: float) -> "PairedTest":
        """Return it with the interval cut to differences that there can be, -``widest`` to ``widest``: it covers as often."""
        return replace(self, low=max(self.low, -widest), high=min(self.high, widest))


def bootstrap_interval(
    scores: Sequence[Weighted],
    subjects: Float[np.ndarray, "subject case"],
    *,
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the interval of the mean over runs, by resampling the subjects they share with all of their cases.

    Percentiles, widened for few subjects as t is wider than the normal distribution (the expanded percentile
    interval of Hesterberg 2015, The American Statistician 69:371). It speaks of other patients, not of other
    seeds. (NaN, NaN) with fewer than three subjects.

    Args:
        scores: metric of every run over the same cases.
        subjects: 1 where a case is of a subject, else 0.
    """
    from scipy.stats import norm, t

    count = len(subjects)
    if count < 3:
        return (float("nan"), float("nan"))
    weights = resampled(subjects, resamples, rng)
    values = np.mean([score(weights) for score in scores], axis=0)
    values = values[np.isfinite(values)]
    if not values.size:
        return (float("nan"), float("nan"))
    tail = norm.cdf(np.sqrt(count / (count - 1)) * t.ppf((1 - level) / 2, count - 1))
    low, high = np.quantile(values, [tail, 1 - tail])
    return (float(low), float(high))


def resampled(
    subjects: Float[np.ndarray, "subject case"], resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, "sample case"]:
    """Return how often every case is in each bootstrap resample of the subjects."""
    count = len(subjects)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.asarray(drawn @ subjects, dtype=np.float64)


def pseudovalues(
    score: Weighted, subjects: Float[np.ndarray, "subject case"]
) -> Float[np.ndarray, " subject"]:
    """Return the jackknife's pseudovalues ``C s - (C - 1) s_without``, moved so that their mean is ``s``.

    They stand for the subjects where a score is no mean over them, such as an area under a curve (normalized
    pseudovalues, Hillis, Obuchowski, Schartz and Berbaum 2005, Stat Med 24:1579); of a mean over cases, one case
    a subject, they are the values.
    """
    count = len(subjects)
    whole = float(score(np.ones((1, subjects.shape[1])))[0])
    without: np.ndarray = score(1.0 - subjects)
    values = count * whole - (count - 1) * without
    return np.asarray(values - values.mean() + whole, dtype=np.float64)


def seed_noise(scores: Float[np.ndarray, "init seed"]) -> tuple[float, float]:
    """Return the variance of a difference of two runs' scores due to their seeds, and its degrees of freedom.

    Scores of whole runs, NaN where there is none, are freed of the means of initializations and of seeds; what is
    left is pooled over initializations, so that four of them with three seeds give six degrees of freedom where a
    pair alone has two. Equal rows are one initialization under two names, such as two strategies with one
    mixture. (NaN, 0) where nothing is left over.
    """
    found = fit_blocks(np.unique(scores, axis=0))
    return (2 * found.noise**2, float(found.freedom)) if found.freedom > 0 else (float("nan"), 0.0)


def crossed_test(
    differences: Float[np.ndarray, "subject seed"], *, level: float, noise: tuple[float, float] | None = None
) -> PairedTest:
    """Test whether the mean difference is 0 for other subjects and other seeds, both crossed and random.

    With mean squares of subjects, seeds and their interaction the variance of the mean is
    ``(MS_seed + max(MS_subject - MS_both, 0)) / (C S)``, the denominator of Obuchowski and Rockette (1995) and of
    Dorfman, Berbaum and Metz (1992), with Satterthwaite's degrees of freedom (Hillis 2007, Stat Med 26:596);
    t follows. ``noise`` from :func:`seed_noise` of all runs that are compared takes the place of this pair's
    own ``MS_seed / C``, as those authors pool it over more than two modalities. One seed or one subject says
    nothing about others: then p is NaN.
    """
    from scipy.stats import t

    subjects, seeds = differences.shape
    mean = float(differences.mean()) if differences.size else float("nan")
    unknown = PairedTest(difference=mean, low=float("nan"), high=float("nan"), p=float("nan"))
    if subjects < 2 or seeds < 2:
        return unknown
    by_subject, by_seed = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - by_subject[:, None] - by_seed[None, :] + mean
    ms_subject = seeds * float(((by_subject - mean) ** 2).sum()) / (subjects - 1)
    ms_both = float((rest**2).sum()) / ((subjects - 1) * (seeds - 1))
    variance, own_freedom = noise if noise and noise[1] else (float(by_seed.var(ddof=1)), float(seeds - 1))
    ms_seed, beyond = subjects * variance, max(ms_subject - ms_both, 0.0)
    spread = ms_seed + beyond
    if spread <= 0:
        return unknown if mean else PairedTest(difference=0.0, low=0.0, high=0.0, p=1.0)
    freedom = spread**2 / (ms_seed**2 / own_freedom + (ms_subject**2 / (subjects - 1) if beyond else 0.0))
    error = float(np.sqrt(spread / (subjects * seeds)))
    reach = float(t.ppf((1 + level) / 2, freedom)) * error
    return PairedTest(
        difference=mean,
        low=mean - reach,
        high=mean + reach,
        p=float(2 * t.sf(abs(mean) / error, freedom)),
    )


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979); NaN stays NaN and does not count."""
    order = sorted((i for i, value in enumerate(p) if value == value), key=lambda i: p[i])
    corrected, least = [float("nan")] * len(p), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p[i]))
        corrected[i] = least
    return corrected
