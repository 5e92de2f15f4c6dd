import numpy as np
import pytest
import torch
from torch.utils.data import WeightedRandomSampler

from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.pretraining.feeds import sample_weights, stream_shares

MIXTURE = Mixture.from_dict({"CT": 0.6, "MR": 0.3, "PET": 0.1})


def test_a_torch_sampler_draws_the_mixture_whatever_the_domains_sizes():
    pool = ["PET"] * 500 + ["CT"] * 20 + ["MR"] * 100
    weights = sample_weights(MIXTURE, pool)
    assert weights.sum() == pytest.approx(1.0)
    sampler = WeightedRandomSampler(
        weights.tolist(), 20_000, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    drawn = np.array(pool)[list(sampler)]
    for name in MIXTURE.domains:
        assert np.mean(drawn == name) == pytest.approx(MIXTURE[name], abs=0.012)


def test_shares_follow_the_order_of_the_data_sets():
    assert stream_shares(MIXTURE, ["PET", "CT", "MR"]) == [0.1, 0.6, 0.3]


def test_pools_that_do_not_match_the_mixture_are_refused():
    with pytest.raises(InputError, match=r"samples of \['US'\]"):
        sample_weights(MIXTURE, ["CT", "MR", "PET", "US"])
    with pytest.raises(InputError, match=r"gives weight to \['PET'\], which have no samples"):
        sample_weights(MIXTURE, ["CT", "MR"])
    with pytest.raises(InputError, match="name each domain once"):
        stream_shares(MIXTURE, ["CT", "MR"])
