"""What both networks must keep, at tokens of 8^3 and 16^3 voxels."""

import pytest
import torch

from voxmix.design import ModelSettings
from voxmix.encoders.networks import NETWORKS, build_model
from voxmix.encoders.patches import patchify, take, token_count, visible_count

BOTH = pytest.mark.parametrize(("name", "patch"), [(n, p) for n in NETWORKS for p in (8, 16)])


def sample(name, patch):
    """Return a model with adapters far from the identity, crops that take a gradient, a mask and domains."""
    settings = ModelSettings(
        name=name, crop=2 * patch, patch=patch, width=12, depth=4, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
    )  # fmt: skip
    model = build_model(settings, domains=2, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in (model.adapter.weight, model.adapter.bias):
            weight.add_(torch.rand(weight.shape, generator=generator) + 0.1)
    crops = torch.rand(2, *(settings.crop,) * 3, generator=generator).requires_grad_()
    order = torch.stack([torch.randperm(token_count(settings), generator=generator) for _ in range(2)])
    seen = visible_count(settings)
    return model, crops, order[:, :seen], order[:, seen:], torch.tensor([0, 1])


@BOTH
def test_a_prediction_has_no_gradient_at_any_masked_voxel(name, patch):
    """No path is left: patch embedding, adapter's neighbors, skip at full resolution, starting values of the head."""
    model, crops, visible, masked, domain = sample(name, patch)
    predicted, truth = model(crops, visible, masked, domain)
    weights = torch.rand(predicted.shape, generator=torch.Generator().manual_seed(2)) - 0.5
    (predicted * weights).sum().backward()
    slopes = patchify(crops.grad, model.settings.grid)
    assert take(slopes, masked).abs().max() == 0
    assert (take(slopes, visible).abs().sum(dim=2) > 0).all()
    assert truth.requires_grad  # of the crops alone: it is what they are
    assert torch.equal(truth, take(patchify(crops, model.settings.grid), masked))


@BOTH
def test_every_parameter_learns(name, patch):
    model, crops, visible, masked, domain = sample(name, patch)
    predicted, truth = model(crops.detach(), visible, masked, domain)
    (predicted - truth).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert [n for n, p in model.named_parameters() if not p.grad.abs().sum() > 0] == []


@BOTH
def test_a_masked_prediction_does_not_depend_on_the_order_of_masked_patches(name, patch):
    model, crops, visible, masked, domain = sample(name, patch)
    with torch.no_grad():
        forward = model(crops, visible, masked, domain)[0]
        backward = model(crops, visible, masked.flip(1), domain)[0]
    torch.testing.assert_close(forward, backward.flip(1))
