import pytest
import torch
from monai.networks.nets import UNETR

from voxmix.encoders.networks import parameter_count
from voxmix.encoders.patches import patchify, token_count, unpatchify, visible_count
from voxmix.encoders.unetr import Unetr, UnetrAutoencoder
from voxmix.errors import InputError
from voxmix.run_settings import ModelSettings


def small(**changes):
    return ModelSettings(**{**{"crop": 16, "patch": 4, "width": 12, "depth": 3, "heads": 2}, **changes})


def sample(settings, batch=2):
    generator = torch.Generator().manual_seed(0)
    crops = torch.rand(batch, *settings.grid.crop, generator=generator)
    order = torch.stack([torch.randperm(token_count(settings), generator=generator) for _ in range(batch)])
    seen = visible_count(settings)
    return crops, order[:, :seen], order[:, seen:], torch.tensor([0, 1])


def test_paper_s_network_has_its_live_parameters():
    with torch.device("meta"):
        network = Unetr(ModelSettings(), out_channels=4)
    encoder = parameter_count(network.vit)
    assert encoder == 88_340_736
    assert parameter_count(network) - encoder == 4_443_140


def test_it_computes_what_monai_s_unetr_with_the_same_weights_computes():
    torch.manual_seed(0)
    stock = UNETR(1, 2, img_size=32, feature_size=4, hidden_size=24, mlp_dim=96, num_heads=2).eval()
    ours = Unetr(
        ModelSettings(crop=32, patch=16, width=24, depth=12, heads=2), out_channels=2, feature_size=4
    ).eval()
    missing, unexpected = ours.load_state_dict(stock.state_dict(), strict=False)
    assert missing == []
    assert all("cross_attn" in name for name in unexpected)  # MONAI never calls it
    volume = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(volume), stock(volume), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("patch", [4, 8, 16])
def test_every_parameter_gets_a_gradient_at_every_patch_size(patch):
    settings = small(crop=2 * patch, patch=patch, depth=5)
    model = UnetrAutoencoder(settings, domains=2)
    predicted, truth = model(*sample(settings))
    (predicted - truth).square().mean().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None]
    assert dead == []


def test_no_masked_voxel_influences_the_prediction_through_any_path():
    settings = small()
    model = UnetrAutoencoder(settings, domains=2).eval()
    with torch.no_grad():
        model.adapter.weight.normal_()
        model.adapter.bias.normal_()
    crops, visible, masked, domain = sample(settings)
    rows = patchify(crops, settings.grid)
    for row in range(2):
        rows[row, masked[row]] = 7.0
    other = unpatchify(rows, settings.grid)
    before, truth = model(crops, visible, masked, domain)
    after, other_truth = model(other, visible, masked, domain)
    assert torch.equal(before, after)
    assert not torch.equal(truth, other_truth)
    rows[0, visible[0, 0]] += 1.0
    assert not torch.equal(model(unpatchify(rows, settings.grid), visible, masked, domain)[0], after)


def test_adapters_are_the_identity_at_the_start_and_for_an_unseen_domain():
    settings = small()
    model = UnetrAutoencoder(settings, domains=2)
    crops, *_ = sample(settings)
    for domain in ([0, 1], [-1, -1]):
        torch.testing.assert_close(model.adapter(crops, torch.tensor(domain)), crops)
    with torch.no_grad():
        model.adapter.weight[1] *= 2
    changed = model.adapter(crops, torch.tensor([-1, 1]))
    torch.testing.assert_close(changed, torch.stack([crops[0], 2 * crops[1]]))


def test_shapes_that_a_unetr_cannot_have_are_refused():
    with pytest.raises(InputError, match="patch of 4, 8, 16 or 32 voxels, got 6"):
        Unetr(small(crop=12, patch=6))
    with pytest.raises(InputError, match="4 levels and needs as many blocks, got depth 3"):
        Unetr(small(patch=16, depth=3))
