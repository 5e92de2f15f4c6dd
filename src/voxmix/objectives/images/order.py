"""Which image draw n gets: every epoch a new permutation of the subset, each domain spread evenly over it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from voxmix.training.draws import interleave, volume_order


def image_order(
    domains: Sequence[str], draws: int, *, seed: int, purpose: str = ""
) -> Int[np.ndarray, " draw"]:
    """Return the place of the image of each draw, in a subset whose images are of these ``domains``.

    A pure function of seed and subset, and the same for every number of draws as far as it goes. Orders of different
    ``purpose`` do not depend on each other.
    """
    names = sorted(set(domains))
    places = {name: np.flatnonzero([domain == name for domain in domains]) for name in names}
    counts = np.array([len(places[name]) for name in names], dtype=np.int64)
    epochs = -(-draws // len(domains))
    of = [interleave(counts, names, seed, "images", purpose, epoch) for epoch in range(epochs)]
    domain = np.concatenate([*of, np.zeros(0, dtype=np.int64)])[:draws]
    order = np.zeros(draws, dtype=np.int64)
    for d, name in enumerate(names):
        mine = domain == d
        turn = volume_order(int(mine.sum()), int(counts[d]), domain=f"images/{purpose}/{name}", seed=seed)
        order[mine] = places[name][turn]
    return order
