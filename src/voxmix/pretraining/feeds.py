"""A mixture for the data loaders of others: what their samplers need to draw by its weights.

They draw at random, so realized counts differ from the quotas by chance; voxmix's own plan
(:func:`voxmix.pretraining.sampling.plan_draws`) meets them exactly.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from voxmix.errors import InputError
from voxmix.mixture import Mixture


def sample_weights(mixture: Mixture, domains: Sequence[str]) -> Float[np.ndarray, " sample"]:
    """Return one weight per sample of a pooled data set, given each sample's domain; they sum to 1.

    For ``torch.utils.data.WeightedRandomSampler(weights, num_samples=budget, replacement=True)`` and MONAI's
    ``DistributedWeightedRandomSampler(dataset, weights=weights)``. With ``replacement=False`` a pass over the
    pool gives every sample once, whatever the weights: the mixture is lost.

    Raises:
        InputError: a sample of an unknown domain, or a domain with weight and no sample.
    """
    unknown = sorted(set(domains) - set(mixture.domains))
    if unknown:
        raise InputError(f"samples of {unknown}, the mixture has {list(mixture.domains)}; leave them out")
    counts = dict.fromkeys(mixture.domains, 0)
    for name in domains:
        counts[name] += 1
    empty = [name for name in mixture.domains if mixture[name] > 0 and counts[name] == 0]
    if empty:
        raise InputError(
            f"the mixture gives weight to {empty}, which have no samples; add some or set weight 0"
        )
    each = {name: mixture[name] / counts[name] for name in mixture.domains if counts[name]}
    return np.array([each[name] for name in domains])


def stream_shares(mixture: Mixture, order: Sequence[str]) -> list[float]:
    """Return the mixture's weights in the order of a list of per-domain data sets.

    As ``probs`` of ``webdataset.RandomMix(datasets, probs)``, or one each as ``proportion`` of mosaicml's
    ``streaming.Stream(proportion=share)``.

    Raises:
        InputError: the names differ from the mixture's domains with weight.
    """
    wanted = {name for name in mixture.domains if mixture[name] > 0}
    if len(set(order)) != len(order) or not wanted <= set(order) or not set(order) <= set(mixture.domains):
        raise InputError(
            f"order names {list(order)}, the mixture has {sorted(wanted)}; name each domain once"
        )
    return [mixture[name] for name in order]
