"""Which domain, volume, crop, augmentation and mask draw n gets: a pure function of (seed, n).

Random numbers come from a counter (Philox, Salmon et al. 2011), so any draw can be made alone, in any batch,
by any worker or rank, and resuming needs one integer.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from voxmix.design import ModelSettings, TrainingSettings
from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.pretraining.masking import token_count, visible_count

_WORD = (1 << 64) - 1
_CROP, _AUGMENT = 3, 7  # random numbers per draw before those of the mask


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the generator of one purpose; different purposes never share numbers."""
    name = "/".join(str(p) for p in purpose)
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.Philox(key=np.array([seed & _WORD, key], dtype=np.uint64)))


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
    counts: Int[np.ndarray, " source"], domains: Sequence[str], seed: int
) -> Int[np.ndarray, " draw"]:
    """Return the domain of every draw: exactly ``counts`` of each, spread evenly over the run.

    A domain's k-th draw stands at time (k + u) / count, u uniform in [0, 1): random in small, even at large,
    so that no batch of a mixture is far from it and seeds differ less than by shuffling.
    """
    times = [
        (np.arange(n) + stream(seed, "order", name).random(n)) / max(int(n), 1)
        for n, name in zip(counts, domains, strict=True)
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


def plan_draws(mixture: Mixture, *, budget: int, seed: int, volumes: Sequence[int]) -> DrawPlan:
    """Return the plan of a run; ``volumes`` are the training volumes that exist per source.

    Realized counts equal ``mixture.draws(budget)`` exactly.

    Raises:
        InputError: a domain with weight has no training volume.
    """
    counts = mixture.draws(budget)
    for name, weight, existing in zip(mixture.domains, mixture.weights, volumes, strict=True):
        if weight > 0 and existing < 1:
            raise InputError(
                f"{name} has weight {weight:.3f} and no prepared training volume; add volumes of {name} "
                "and prepare again, or give it weight 0"
            )
    domain = interleave(counts, mixture.domains, seed)
    volume = np.zeros(budget, dtype=np.int64)
    for d, name in enumerate(mixture.domains):
        volume[domain == d] = volume_order(int(counts[d]), volumes[d], domain=name, seed=seed)
    return DrawPlan(domains=mixture.domains, domain=domain, volume=volume, seed=seed)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DrawParameters:
    """Crop, augmentation and mask of some draws.

    ``corner`` is the crop's place as a share of the room that the volume leaves; ``scale`` multiplies,
    ``gamma`` is the exponent, ``noise`` the standard deviation added (1, 1 and 0 where not drawn), and
    ``noise_offset`` in [0, 1) the place in the bank of normal numbers.
    """

    corner: Float[np.ndarray, "draw 3"]
    scale: Float[np.ndarray, " draw"]
    gamma: Float[np.ndarray, " draw"]
    noise: Float[np.ndarray, " draw"]
    noise_offset: Float[np.ndarray, " draw"]
    visible: Int[np.ndarray, "draw visible"]
    masked: Int[np.ndarray, "draw masked"]


def draw_parameters(
    start: int, stop: int, *, seed: int, model: ModelSettings, training: TrainingSettings
) -> DrawParameters:
    """Return the parameters of draws ``start`` to ``stop``; each row depends on (seed, n) alone."""
    tokens, seen = token_count(model), visible_count(model)
    u = counted_uniforms(seed, start, stop, columns=_CROP + _AUGMENT + tokens)
    a = u[:, _CROP : _CROP + _AUGMENT]
    order = np.argsort(u[:, _CROP + _AUGMENT :], axis=1, kind="stable")
    scaled, contrasted, noisy = (
        a[:, k] < p
        for k, p in enumerate(
            (training.scale_probability, training.contrast_probability, training.noise_probability)
        )
    )
    return DrawParameters(
        corner=u[:, :_CROP],
        scale=np.where(scaled, 1 + training.scale * (2 * a[:, 3] - 1), 1.0),
        gamma=np.where(contrasted, np.exp(training.contrast * (2 * a[:, 4] - 1)), 1.0),
        noise=np.where(noisy, training.noise * a[:, 5], 0.0),
        noise_offset=a[:, 6],
        visible=order[:, :seen],
        masked=order[:, seen:],
    )
