"""Worlds with known truth: laws drawn at random, and the tables their runs would give."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from voxmix.law import forms
from voxmix.law.forms import LawParameters
from voxmix.measurement import MeasurementTable


def random_law(rng: np.random.Generator, domains: int, *, rho: float = 1.0) -> LawParameters:
    """Return a law like those of small studies: losses near 0.1 that fall to 0.003-0.01, an asymmetric tau."""
    transfer = rng.uniform(0.02, 0.7, (domains, domains))
    np.fill_diagonal(transfer, 1.0)
    return LawParameters.make(
        irreducible_loss=rng.uniform(0.003, 0.01, domains),
        amplitude=rng.uniform(0.5, 2.0, domains),
        exponent=rng.uniform(0.3, 0.6, domains),
        transfer=transfer,
        rho=np.full(domains, rho),
    )


def simulate(
    law: LawParameters,
    *,
    budgets: Sequence[float],
    seeds: int = 1,
    noise: float = 0.0,
    together: float = 0.0,
    mixtures: Sequence[Float[np.ndarray, " source"]] = (),
    pure: bool = True,
    domains: Sequence[str] | None = None,
    seed_effects: Sequence[float] = (),
    targets: Sequence[str] | None = None,
    rng: np.random.Generator | None = None,
) -> MeasurementTable:
    """Return the losses of pure runs (and of ``mixtures``) at every budget and seed, on every target.

    ``noise`` is the standard deviation of the log loss; the share ``together`` of its variance is common to
    all targets of a run. Targets are the first domains, as many as the law has, unless they are named.
    ``seed_effects`` are added to the log loss of every run of a seed, one number for each.
    """
    generator = np.random.default_rng(0) if rng is None else rng
    sources, count = law.transfer.shape[-2:]
    names = tuple(domains) if domains is not None else tuple(f"D{i}" for i in range(sources))
    measured = names[:count] if targets is None else tuple(targets)
    weights = np.array([*(np.eye(sources) if pure else []), *mixtures])
    plan = [(w, float(b), s) for w in weights for b in budgets for s in range(seeds)]
    rows = np.array([w for w, _, _ in plan])
    draws = np.array([b for _, b, _ in plan])
    truth = forms.predict(law, rows, draws)[0]
    common = generator.standard_normal((len(plan), 1))
    single = generator.standard_normal(truth.shape)
    loss = truth * np.exp(noise * (np.sqrt(together) * common + np.sqrt(1 - together) * single))
    if seed_effects:
        loss = loss * np.exp([[seed_effects[s]] for _, _, s in plan])
    total = len(plan) * count
    return MeasurementTable(
        domains=names,
        run=tuple(f"run{k}" for k in range(len(plan)) for _ in range(count)),
        target=measured * len(plan),
        weights=np.repeat(rows, count, axis=0),
        budget=np.repeat(draws, count),
        seed=np.repeat([s for _, _, s in plan], count),
        loss=loss.reshape(-1),
        loss_se=np.full(total, np.nan),
        volumes=np.full((total, sources), np.nan),
    )
