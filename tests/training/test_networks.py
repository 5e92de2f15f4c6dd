"""What both networks must keep, at tokens of 8^3 and 16^3 voxels."""

from dataclasses import replace

import pytest
import torch

from voxmix.encoders.autoencoder import Autoencoder
from voxmix.encoders.mae import Encoder
from voxmix.encoders.networks import build_model, flops_per_draw
from voxmix.encoders.patches import patchify, take, token_count, visible_count
from voxmix.errors import InputError
from voxmix.networks import NETWORKS, NetworkRow
from voxmix.objectives.mae import EvaluationSet, train
from voxmix.run_settings import ModelSettings
from voxmix.runs import read_run

BOTH = pytest.mark.parametrize(("name", "patch"), [(n, p) for n in NETWORKS.names() for p in (8, 16)])


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


class MeanOfSeen(Autoencoder):
    """A network from outside: every masked patch is one linear map of the mean of what was seen."""

    encoder_prefix = "encoder."
    adapter_kind = "no"

    def __init__(self, settings, *, domains):
        super().__init__()
        self.settings = settings
        self.encoder = Encoder(settings)
        self.head = torch.nn.Linear(settings.width, settings.grid.patch_voxels)

    def forward(self, crops, visible, masked, domain):
        rows = patchify(crops, self.settings.grid)
        seen = self.encoder(take(rows, visible), visible, None).mean(dim=1, keepdim=True)
        return self.head(seen).expand(-1, masked.shape[1], -1), take(rows, masked)

    def initialize(self):
        torch.nn.init.zeros_(self.head.weight)


def test_a_network_from_outside_is_a_class_and_a_row(spec, cache, tmp_path):
    row = NetworkRow(about="a mean", made_by=f"{__name__}:MeanOfSeen", unread=("decoder_width",))
    NETWORKS.add("mean", row)
    try:
        model = replace(spec.model, name="mean", decoder_width=spec.model.decoder_width * 2)
        own = replace(spec, model=model)
        assert own.run_id == replace(own, model=replace(model, decoder_width=spec.model.decoder_width)).run_id
        assert own.run_id != spec.run_id
        assert flops_per_draw(model) > 0
        evaluation = EvaluationSet.build(cache, model=model, evaluation=spec.evaluation)
        train(own, cache=cache, evaluation=evaluation, folder=tmp_path / own.run_id, threads=1)
        losses = read_run(tmp_path / own.run_id).losses
        assert set(losses) == set(cache.domains)
        with pytest.raises(InputError, match="already a row 'mean' among the networks"):
            NETWORKS.add("mean", row)
    finally:
        NETWORKS.remove("mean")
    with pytest.raises(InputError, match=r"unknown network 'mean'; .*mae"):
        ModelSettings(name="mean")


def test_a_network_that_is_not_installed_is_named(spec):
    NETWORKS.add("gone", NetworkRow(about="gone", made_by="no_such_package:Network"))
    try:
        with pytest.raises(InputError, match="'gone' should be made by no_such_package:Network"):
            build_model(replace(spec.model, name="gone"), domains=2, seed=0)
    finally:
        NETWORKS.remove("gone")
