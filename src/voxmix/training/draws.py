"""Which domain and volume draw n gets, and its random numbers: pure functions of (seed, n).

Random numbers come from a counter (Philox, Salmon et al. 2011), so any draw can be made alone, in any batch,
by any worker or rank, and resuming needs one integer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from voxmix._random import stream
from voxmix.errors import InputError
from voxmix.mixture import Mixture


def counted_uniforms(seed: int, start: int, stop: int, *, columns: int) -> Float[np.ndarray, "draw column"]:
    """Return ``columns`` numbers in [0, 1) for each of the draws ``start`` to ``stop``.

    Draw n owns its counters n*c to (n+1)*c of one Philox stream, so a row does not depend on its batch.
    """
    per_draw = -(-columns // 4)  # a Philox counter gives four numbers
    generator = stream(seed, "draw").bit_generator
    assert isinstance(generator, np.random.Philox)
    generator.advance(start * per_draw)
    return np.random.Generator(generator).random((stop - start, 4 * per_draw))[:, :columns]


def interleave(
    counts: Int[np.ndarray, " source"], domains: Sequence[str], seed: int, *purpose: str | int
) -> Int[np.ndarray, " draw"]:
    """Return the domain of every draw: exactly ``counts`` of each, spread evenly.

    A domain's k-th draw stands at time (k + u) / count, u uniform in [0, 1): random in small, even at large,
    so that no batch of a mixture is far from it and seeds differ less than by shuffling.
    """
    return _by_time(counts, 1 / np.maximum(counts, 1), domains, seed, *purpose)


def trunk_order(mixture: Mixture, draws: int, seed: int) -> Int[np.ndarray, " draw"]:
    """Return the domains of the first ``draws`` of a trunk: draw n is the same whatever the budget.

    As :func:`interleave`, with a domain's k-th draw at time (k + u) / weight. At time t a domain has had
    within one of ``weight * t`` draws, so all that the trunk needs stand before ``draws + domains``.
    """
    share = mixture.weights / mixture.weights.sum()
    counts = np.where(share > 0, np.ceil(share * (draws + len(share))) + 1, 0).astype(np.int64)
    gap = 1 / np.where(share > 0, share, 1)
    return _by_time(counts, gap, mixture.domains, seed, "trunk")[:draws]


def _by_time(
    counts: Int[np.ndarray, " source"],
    gap: Float[np.ndarray, " source"],
    domains: Sequence[str],
    seed: int,
    *purpose: str | int,
) -> Int[np.ndarray, " draw"]:
    """Return domains in the order of their draws' times: the k-th at (k + u) * gap."""
    times = [
        (np.arange(n) + stream(seed, "order", *purpose, name).random(n)) * each
        for n, each, name in zip(counts, gap, domains, strict=True)
    ]
    labels = np.repeat(np.arange(len(domains)), counts)
    return labels[np.argsort(np.concatenate(times), kind="stable")].astype(np.int64)


def volume_order(draws: int, volumes: int, *, domain: str, seed: int) -> Int[np.ndarray, " draw"]:
    """Return the volume of each draw of one domain: every epoch a new permutation of all volumes."""
    if draws == 0:
        return np.zeros(0, dtype=np.int64)
    epochs = -(-draws // volumes)
    random = stream(seed, "volumes", domain).random((epochs, volumes))
    return np.argsort(random, axis=1, kind="stable").reshape(-1)[:draws]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DrawPlan:
    """Domain and volume of every draw of a run.

    Attributes:
        domains: names of the source axis.
        domain: index into ``domains`` per draw.
        volume: index into the domain's training volumes per draw.
        seed: seed of the run.
    """

    domains: tuple[str, ...]
    domain: Int[np.ndarray, " draw"]
    volume: Int[np.ndarray, " draw"]
    seed: int

    def draws(self) -> dict[str, int]:
        """Return realized draws per domain."""
        counts = np.bincount(self.domain, minlength=len(self.domains))
        return {name: int(n) for name, n in zip(self.domains, counts, strict=True)}

    def unique_volumes(self) -> dict[str, int]:
        """Return how many different volumes were drawn per domain."""
        return {name: len(np.unique(self.volume[self.domain == d])) for d, name in enumerate(self.domains)}

    def repeats(self) -> dict[str, int]:
        """Return how many draws per domain gave a volume that had been drawn before."""
        unique = self.unique_volumes()
        return {name: count - unique[name] for name, count in self.draws().items()}


def plan_draws(
    mixture: Mixture, *, budget: int, seed: int, volumes: Sequence[int], shared: int = 0
) -> DrawPlan:
    """Return the plan of a run; ``volumes`` are the training volumes that exist per source.

    Realized counts equal ``mixture.draws(budget)`` exactly. The first ``shared`` draws are those of the
    trunk, the same for every budget; the rest hold what the trunk has left of the quotas, spread evenly. A
    domain's k-th draw gives the same volume in every run of one seed.

    Raises:
        InputError: a domain with weight has no training volume; the trunk alone exceeds a quota.
    """
    counts = mixture.draws(budget)
    if shared:
        domain = _trunk_then_branch(mixture, counts, shared, seed)
    else:
        domain = interleave(counts, mixture.domains, seed)
    return _with_volumes(mixture, domain, seed=seed, volumes=volumes)


def plan_trunk(mixture: Mixture, *, draws: int, seed: int, volumes: Sequence[int]) -> DrawPlan:
    """Return the first draws of a trunk: those that every run which shares it begins with.

    Raises:
        InputError: a domain with weight has no training volume.
    """
    return _with_volumes(mixture, trunk_order(mixture, draws, seed), seed=seed, volumes=volumes)


def _with_volumes(
    mixture: Mixture, domain: Int[np.ndarray, " draw"], *, seed: int, volumes: Sequence[int]
) -> DrawPlan:
    for name, weight, existing in zip(mixture.domains, mixture.weights, volumes, strict=True):
        if weight > 0 and existing < 1:
            raise InputError(
                f"{name} has weight {weight:.3f} and no prepared training volume; add volumes of {name} "
                "and prepare again, or give it weight 0"
            )
    volume = np.zeros(len(domain), dtype=np.int64)
    for d, name in enumerate(mixture.domains):
        mine = domain == d
        volume[mine] = volume_order(int(mine.sum()), volumes[d], domain=name, seed=seed)
    return DrawPlan(domains=mixture.domains, domain=domain, volume=volume, seed=seed)


def _trunk_then_branch(
    mixture: Mixture, counts: Int[np.ndarray, " source"], shared: int, seed: int
) -> Int[np.ndarray, " draw"]:
    trunk, budget = trunk_order(mixture, shared, seed), int(counts.sum())
    left = counts - np.bincount(trunk, minlength=len(counts))
    if np.any(left < 0):
        worst = mixture.domains[int(left.argmin())]
        raise InputError(
            f"a budget of {budget} draws is too short for its trunk: {worst} has a quota of {counts[left.argmin()]}, "
            f"and the {shared} draws before the cooldown hold {-left.min()} more; raise the budget, "
            f"cooldown or the weight of {worst}"
        )
    return np.concatenate([trunk, interleave(left, mixture.domains, seed, "cooldown", budget)])
