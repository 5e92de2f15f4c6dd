"""How often tests between initializations call equals different, and find a difference that is there.

Made-up scores of four initializations on shared cases with three seeds: every case and every seed adds its own
noise, the rest is noise of both. A family is all six pairs, corrected by Holm; "wrong" is the share of worlds in
which any pair of equals is called different (5% are promised), "found" the share of pairs with the fourth, which
is better, that are told apart.
"""

import argparse
from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy import stats

from voxmix.scores.statistics import crossed_test, holm, seed_noise

INITS, SEEDS = 4, 3
Test = Callable[[np.ndarray, int, int], float]
"""From scores (init, case, seed) and two initializations to a p-value."""


def wilcoxon(scores: np.ndarray, a: int, b: int) -> float:
    """Wilcoxon's signed ranks over cases, of means over seeds."""
    return float(stats.wilcoxon((scores[a] - scores[b]).mean(axis=1)).pvalue)


def bootstrap(scores: np.ndarray, a: int, b: int) -> float:
    """Resampling of cases and seeds: twice the share of resamples on the other side of 0."""
    rng = np.random.default_rng(0)
    difference = scores[a] - scores[b]
    cases, seeds = difference.shape
    weights = [rng.multinomial(n, np.full(n, 1 / n), size=1000) / n for n in (cases, seeds)]
    means = np.einsum("bc,cs,bs->b", weights[0], difference, weights[1])
    return float(min(1.0, 2 * min((means <= 0).mean(), (means >= 0).mean())))


def own_noise(scores: np.ndarray, a: int, b: int) -> float:
    """Cases and seeds crossed; the noise of seeds from the pair alone."""
    return crossed_test(scores[a] - scores[b], level=0.95).p


def pooled_noise(scores: np.ndarray, a: int, b: int) -> float:
    """Cases and seeds crossed; the noise of seeds pooled over all initializations: what voxmix does."""
    return crossed_test(scores[a] - scores[b], level=0.95, noise=seed_noise(scores.mean(axis=1))).p


TESTS: dict[str, Test] = {
    "Wilcoxon over cases": wilcoxon,
    "bootstrap over cases and seeds": bootstrap,
    "crossed, noise of the pair": own_noise,
    "crossed, noise pooled (voxmix)": pooled_noise,
}


def world(
    rng: np.random.Generator, *, cases: int, seed_noise: float, uneven: bool, gain: float
) -> np.ndarray:
    """Return scores (init, case, seed); the last initialization is better by ``gain``."""
    widths = np.array([3.0 if uneven else 1.0, 1, 1, 1]) * seed_noise
    scores = (
        rng.normal(0, 2, (1, cases, 1))
        + rng.normal(0, 0.7, (INITS, cases, 1))
        + rng.normal(0, 1, (INITS, 1, SEEDS)) * widths[:, None, None]
        + rng.normal(0, 0.7, (INITS, cases, SEEDS))
    )
    scores[-1] += gain
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=400)
    worlds = parser.parse_args().worlds
    initializations(worlds)
    print()
    controls(worlds)


def controls(worlds: int) -> None:
    """Print the same for controls, whose seeds are unevenly noisy: none 1, frozen 0.5, permuted 1.5, no tokens 4."""
    widths = np.array([1, 0.5, 1.5, 4])
    print("| cases | noise of seeds | wrong: frozen | permuted | no tokens | family | frozen found |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for cases in (12, 40):
        counts = {"pooled": np.zeros(5), "of the pair (voxmix)": np.zeros(5)}
        rng = np.random.default_rng(1)
        for _ in range(worlds):
            for gain in (0.0, 1.5):
                scores = world(rng, cases=cases, seed_noise=0.0, uneven=False, gain=0.0)
                scores += rng.normal(0, 0.5, (INITS, 1, SEEDS)) * widths[:, None, None]
                scores[0] += gain
                for name, found in counts.items():
                    test = pooled_noise if name == "pooled" else own_noise
                    p = [test(scores, 0, control) for control in (1, 2, 3)]
                    corrected = holm(p)
                    if gain:
                        found[4] += corrected[0] < 0.05
                    else:
                        found[:3] += np.array(p) < 0.05
                        found[3] += min(corrected) < 0.05
        for name, found in counts.items():
            shares = " | ".join(f"{value:.0%}" for value in found / worlds)
            print(f"| {cases} | {name} | {shares} |", flush=True)


def initializations(worlds: int) -> None:
    """Print how often each test is wrong, and finds what is there, between initializations."""
    pairs = list(combinations(range(INITS), 2))
    print("| cases | noise of seeds | test | wrong, one pair | wrong, family | found, family |")
    print("|---:|---|---|---:|---:|---:|")
    for cases, noise, uneven in (
        (10, 0.0, False),
        (10, 0.5, False),
        (35, 0.5, False),
        (35, 1.0, False),
        (35, 0.5, True),
    ):
        counts = {name: np.zeros(3) for name in TESTS}
        gain = 4 * float(np.sqrt(2 * (0.5 / cases + noise**2 / SEEDS + 0.5 / (cases * SEEDS))))
        rng = np.random.default_rng(0)
        for _ in range(worlds):
            for better in (False, True):
                scores = world(rng, cases=cases, seed_noise=noise, uneven=uneven, gain=gain * better)
                for name, test in TESTS.items():
                    p = [test(scores, a, b) for a, b in pairs]
                    corrected = holm(p)
                    if better:
                        best = [c for c, (_, b) in zip(corrected, pairs, strict=True) if b == INITS - 1]
                        counts[name][2] += np.mean([value < 0.05 for value in best])
                    else:
                        counts[name][:2] += np.mean([value < 0.05 for value in p]), min(corrected) < 0.05
        label = f"{noise:g}{', one three times' if uneven else ''}"
        for name, found in counts.items():
            one, family, power = (f"{value:.0%}" for value in found / worlds)
            print(f"| {cases} | {label} | {name} | {one} | {family} | {power} |", flush=True)


if __name__ == "__main__":
    main()
