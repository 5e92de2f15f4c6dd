"""Intervals and tests over cases and seeds: bootstrap, crossed analysis of variance, Holm.

A finetuning run has two sources of chance: which patients are in the test set, and the seed (weights, crops,
order). A run's seed moves all of its cases together, so a test over cases alone takes the luck of a seed for an
effect. With three seeds that happens in 15% to 70% of comparisons of equals, Wilcoxon's test included, where 5%
are promised (``make paired-tests``). Radiology has met the same with readers in place of seeds: cases and
seeds are crossed random factors, and the test here is the one of multi-reader multi-case studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.scores.metric import Weighted


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTest:
    """Mean difference with its interval and two-sided p-value; the interval is (NaN, NaN) and p NaN where seeds
    or cases are too few to tell."""

    difference: float
    low: float
    high: float
    p: float
    freedom: float


def bootstrap_interval(
    scores: Sequence[Weighted], cases: int, *, level: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the interval of the mean over runs, by resampling the cases they share.

    Percentiles, widened for few cases as t is wider than the normal distribution (the expanded percentile
    interval of Hesterberg 2015, The American Statistician 69:371). It speaks of other patients, not of other
    seeds. (NaN, NaN) with fewer than three cases.
    """
    from scipy.stats import norm, t

    if cases < 3:
        return (float("nan"), float("nan"))
    weights = rng.multinomial(cases, np.full(cases, 1 / cases), size=resamples).astype(np.float64)
    values = np.mean([score(weights) for score in scores], axis=0)
    values = values[np.isfinite(values)]
    if not values.size:
        return (float("nan"), float("nan"))
    tail = norm.cdf(np.sqrt(cases / (cases - 1)) * t.ppf((1 - level) / 2, cases - 1))
    low, high = np.quantile(values, [tail, 1 - tail])
    return (float(low), float(high))


def pseudovalues(score: Weighted, cases: int) -> Float[np.ndarray, " case"]:
    """Return the jackknife's pseudovalues ``C s - (C - 1) s_without``, moved so that their mean is ``s``.

    They stand for the cases where a score is no mean over them, such as an area under a curve (normalized
    pseudovalues, Hillis, Obuchowski, Schartz and Berbaum 2005, Stat Med 24:1579); for a mean they are its values.
    """
    whole = float(score(np.ones((1, cases)))[0])
    without: np.ndarray = score(1.0 - np.eye(cases))
    values = cases * whole - (cases - 1) * without
    return np.asarray(values - values.mean() + whole, dtype=np.float64)


def seed_noise(scores: Float[np.ndarray, "init seed"]) -> tuple[float, float]:
    """Return the variance of a difference of two runs' scores due to their seeds, and its degrees of freedom.

    Scores of whole runs, NaN where there is none, are freed of the means of initializations and of seeds; what is
    left is pooled over initializations, so that four of them with three seeds give six degrees of freedom where a
    pair alone has two. (NaN, 0) where nothing is left over.
    """
    init, seed = np.nonzero(np.isfinite(scores))
    if not len(init):
        return float("nan"), 0.0
    design = np.concatenate([np.eye(scores.shape[0])[init], np.eye(scores.shape[1])[seed]], axis=1)
    values = scores[init, seed]
    fitted, _, rank, _ = np.linalg.lstsq(design, values)
    freedom = len(values) - int(rank)
    if freedom < 1:
        return float("nan"), 0.0
    return 2 * float(((values - design @ fitted) ** 2).sum()) / freedom, float(freedom)


def crossed_test(
    differences: Float[np.ndarray, "case seed"], *, level: float, noise: tuple[float, float] | None = None
) -> PairedTest:
    """Test whether the mean difference is 0 for other cases and other seeds, both crossed and random.

    With mean squares of cases, seeds and their interaction the variance of the mean is
    ``(MS_seed + max(MS_case - MS_both, 0)) / (C S)``, the denominator of Obuchowski and Rockette (1995) and of
    Dorfman, Berbaum and Metz (1992), with Satterthwaite's degrees of freedom (Hillis 2007, Stat Med 26:596);
    t follows. ``noise`` from :func:`seed_noise` of all runs that are compared takes the place of this pair's
    own ``MS_seed / C``, as those authors pool it over more than two modalities. One seed or one case says
    nothing about others: then p is NaN.
    """
    from scipy.stats import t

    cases, seeds = differences.shape
    mean = float(differences.mean()) if differences.size else float("nan")
    unknown = PairedTest(
        difference=mean, low=float("nan"), high=float("nan"), p=float("nan"), freedom=float("nan")
    )
    if cases < 2 or seeds < 2:
        return unknown
    by_case, by_seed = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - by_case[:, None] - by_seed[None, :] + mean
    ms_case = seeds * float(((by_case - mean) ** 2).sum()) / (cases - 1)
    ms_both = float((rest**2).sum()) / ((cases - 1) * (seeds - 1))
    variance, own_freedom = noise if noise and noise[1] else (float(by_seed.var(ddof=1)), float(seeds - 1))
    ms_seed, beyond = cases * variance, max(ms_case - ms_both, 0.0)
    spread = ms_seed + beyond
    if spread <= 0:
        return unknown if mean else PairedTest(difference=0.0, low=0.0, high=0.0, p=1.0, freedom=float("inf"))
    freedom = spread**2 / (ms_seed**2 / own_freedom + (ms_case**2 / (cases - 1) if beyond else 0.0))
    error = float(np.sqrt(spread / (cases * seeds)))
    reach = float(t.ppf((1 + level) / 2, freedom)) * error
    return PairedTest(
        difference=mean,
        low=mean - reach,
        high=mean + reach,
        p=float(2 * t.sf(abs(mean) / error, freedom)),
        freedom=float(freedom),
    )


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979); NaN stays NaN and does not count."""
    order = sorted((i for i, value in enumerate(p) if value == value), key=lambda i: p[i])
    corrected, least = [float("nan")] * len(p), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p[i]))
        corrected[i] = least
    return corrected
