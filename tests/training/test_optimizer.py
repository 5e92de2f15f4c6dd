"""Weight decay acts on matrices and kernels, each parameter once; in one piece or in many, the same numbers."""

from dataclasses import replace

import pytest
import torch

from voxmix.encoders.networks import build_model
from voxmix.training.checkpoint import restore_state, whole_state
from voxmix.training.optimizer import FlatAdamW, build_optimizer


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


def make_steps(model, optimizer, steps):
    """Steps with gradients that depend on the step and the parameter's place alone."""
    for step in steps:
        for number, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(1000 * step + number)
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        if isinstance(optimizer, FlatAdamW):
            optimizer.gather()
        owned = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(owned, 0.5)
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(params=["mae", "unetr"])
def pair(request, model_settings, training_settings):
    """The same model twice, with its parameters in one piece and in many."""
    settings = replace(model_settings, name=request.param, width=12)
    flat, plain = (build_model(settings, domains=2, seed=0) for _ in range(2))
    optimizers = FlatAdamW(flat, training_settings), build_optimizer(plain, training_settings)
    return (flat, optimizers[0]), (plain, optimizers[1])


def assert_same(first, second):
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=1e-6, atol=1e-7, msg=name)


def test_parameters_in_one_piece_are_updated_as_one_by_one(pair):
    (flat, optimizer), (plain, reference) = pair
    assert len({p.untyped_storage().data_ptr() for p in flat.parameters()}) == 2
    assert_same(flat, plain)
    make_steps(flat, optimizer, range(3))
    make_steps(plain, reference, range(3))
    assert all(p.grad is None for p in flat.parameters())
    assert_same(flat, plain)


@pytest.mark.parametrize("way", ["one piece to many", "many to one piece", "one piece to one piece"])
def test_a_state_goes_on_in_one_piece_or_in_many(way, pair, model_settings, training_settings):
    """FSDP2 keeps parameters one by one; states are the same for both."""
    source, target = (pair[0], pair[1]) if way == "one piece to many" else (pair[1], pair[0])
    if way == "one piece to one piece":
        settings = replace(model_settings, name=pair[0][0].settings.name, width=12)
        other = build_model(settings, domains=2, seed=7)
        source, target = pair[0], (other, FlatAdamW(other, training_settings))
    make_steps(*source, range(3))
    restore_state(*target, whole_state(*source))
    assert_same(target[0], source[0])
    make_steps(*source, range(3, 5))
    make_steps(*target, range(3, 5))
    assert_same(target[0], source[0])


def test_a_state_before_the_first_step_is_taken_up(pair, model_settings, training_settings):
    model, optimizer = pair[0]
    other = build_model(replace(model_settings, name=model.settings.name, width=12), domains=2, seed=7)
    second = FlatAdamW(other, training_settings)
    restore_state(other, second, whole_state(model, optimizer))
    make_steps(model, optimizer, range(2))
    make_steps(other, second, range(2))
    assert_same(other, model)


def test_a_parameter_without_a_gradient_keeps_its_value_and_moments_in_that_step(pair):
    model, optimizer = pair[0]
    make_steps(model, optimizer, range(2))
    chosen = {name for name, _ in model.named_parameters() if "norm" in name or "qkv" in name}
    values = {name: value.detach().clone() for name, value in model.named_parameters()}
    moments = optimizer.named_state()["state"]
    for name, parameter in model.named_parameters():
        parameter.grad = None if name in chosen else torch.ones_like(parameter)
    optimizer.gather()
    optimizer.step()
    after = optimizer.named_state()["state"]
    for name, value in model.named_parameters():
        assert torch.equal(value, values[name]) == (name in chosen), name
        assert torch.equal(after[name]["exp_avg"], moments[name]["exp_avg"]) == (name in chosen), name


def test_what_never_learns_has_no_part_in_an_optimizer(model_settings, training_settings):
    frozen = build_model(model_settings, domains=2, seed=0)
    frozen.encoder.requires_grad_(False)
    for optimizer in (build_optimizer(frozen, training_settings), FlatAdamW(frozen, training_settings)):
        owned = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
        assert owned == sum(p.numel() for p in frozen.parameters() if p.requires_grad)
