"""Weight decay acts on matrices and kernels, each parameter once."""

from dataclasses import replace

import pytest

from voxmix.pretraining.build import build_model
from voxmix.pretraining.optimizer import build_optimizer


@pytest.mark.parametrize("name", ["mae", "unetr"])
def test_decay_groups_hold_every_parameter_once(name, model_settings, training_settings):
    model = build_model(replace(model_settings, name=name, width=12), domains=2, seed=0)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    decayed, kept = build_optimizer(model, training_settings).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    groups = [{names[id(p)] for p in group["params"]} for group in (decayed, kept)]
    assert groups[0].isdisjoint(groups[1])
    assert groups[0] | groups[1] == set(names.values())
    for key in groups[0]:
        assert key.endswith("weight")
        assert not any(word in key for word in ("norm", "bias", "adapter", "position", "mask_token"))
    assert any("mlp.linear1.weight" in key for key in groups[0])
    assert any("qkv" in key for key in groups[0])
    for word in ("position_embeddings", "norm", "bias", "adapter"):
        assert any(word in key for key in groups[1])
