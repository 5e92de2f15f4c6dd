import pytest
import torch
from monai.networks.blocks.transformerblock import TransformerBlock as MonaiBlock
from monai.networks.nets import ViT

from voxmix.encoders.mae import TransformerBlock, deviation
from voxmix.encoders.networks import build_model, flops_per_draw, parameter_count
from voxmix.encoders.patches import patchify, take, token_count, unpatchify, visible_count
from voxmix.grid import Grid
from voxmix.run_settings import ModelSettings


@pytest.fixture
def model(model_settings):
    return build_model(model_settings, domains=3, seed=4)


def inputs(settings, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    crops = torch.rand(batch, *settings.grid.crop, generator=generator)
    order = torch.stack([torch.randperm(token_count(settings), generator=generator) for _ in range(batch)])
    seen = visible_count(settings)
    return crops, order[:, :seen], order[:, seen:], torch.tensor([0, 2][:batch])


def test_patches_and_cubes_are_each_other_s_inverse():
    crops = torch.rand(2, 12, 12, 12)
    rows = patchify(crops, Grid.of(12, 4))
    assert torch.equal(unpatchify(rows, Grid.of(12, 4)), crops)
    assert torch.equal(rows[1, 1 * 9 + 2 * 3 + 0], crops[1, 4:8, 8:12, 0:4].reshape(-1))
    chosen = torch.tensor([[3, 1], [26, 0]])
    assert torch.equal(take(rows, chosen)[1, 0], rows[1, 26])


def test_no_masked_voxel_influences_the_prediction(model, model_settings):
    crops, visible, masked, domain = inputs(model_settings)
    with torch.no_grad():  # an adapter that is not the identity, as after training
        model.adapter.weight.uniform_(0.5, 1.5)
        model.adapter.bias.uniform_(-0.1, 0.1)
    rows = patchify(crops, model_settings.grid)
    for sample in range(2):
        rows[sample, masked[sample]] = torch.rand(masked.shape[1], rows.shape[2]) * 9
    other = unpatchify(rows, model_settings.grid)
    before, truth = model(crops, visible, masked, domain)
    after, changed_truth = model(other, visible, masked, domain)
    assert torch.equal(before, after)
    assert not torch.allclose(truth, changed_truth)
    rows[0, visible[0, 0]] += 0.1  # and a seen one does
    assert not torch.equal(model(unpatchify(rows, model_settings.grid), visible, masked, domain)[0], after)


def test_truth_is_the_masked_patches(model, model_settings):
    crops, visible, masked, domain = inputs(model_settings)
    predicted, truth = model(crops, visible, masked, domain)
    assert torch.equal(truth, take(patchify(crops, model_settings.grid), masked))
    assert predicted.shape == truth.shape


def test_adapters_start_as_the_identity_and_an_unseen_domain_keeps_it(model, model_settings):
    crops, visible, masked, _ = inputs(model_settings)
    domains = [torch.full((2,), d) for d in (-1, 0, 1, 2)]
    first, *rest = [model(crops, visible, masked, d)[0] for d in domains]
    assert all(torch.equal(first, other) for other in rest)
    with torch.no_grad():
        model.adapter.weight.mul_(1.5)
        model.adapter.bias.add_(0.2)
    assert torch.equal(model(crops, visible, masked, domains[0])[0], first)
    assert not torch.allclose(model(crops, visible, masked, domains[1])[0], first)


def test_only_the_drawn_domains_adapter_gets_a_gradient(model, model_settings):
    crops, visible, masked, _ = inputs(model_settings)
    predicted, truth = model(crops, visible, masked, torch.tensor([2, -1]))
    (predicted - truth).square().mean().backward()
    assert model.adapter.weight.grad.flatten()[:2].abs().max() == 0
    assert model.adapter.weight.grad.flatten()[2] != 0


def test_every_parameter_gets_a_gradient(model, model_settings):
    crops, visible, masked, domain = inputs(model_settings)
    predicted, truth = model(crops, visible, masked, domain)
    (predicted - truth).square().mean().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_encoder_computes_what_a_monai_vit_with_its_weights_computes(model, model_settings):
    """All patches visible: the features are those of MONAI's ViT, loaded by key without any renaming."""
    vit = ViT(
        in_channels=1,
        img_size=model_settings.grid.crop,
        patch_size=model_settings.grid.patch,
        hidden_size=model_settings.width,
        mlp_dim=round(model_settings.width * model_settings.mlp_ratio),
        num_layers=model_settings.depth,
        num_heads=model_settings.heads,
    )
    missing, unexpected = vit.load_state_dict(model.encoder.state_dict(), strict=False)
    assert unexpected == []
    assert all("cross_attn" in name for name in missing)  # MONAI never calls it
    crops, *_ = inputs(model_settings)
    everything = torch.arange(token_count(model_settings)).repeat(2, 1)
    with torch.no_grad():
        expected, _ = vit(crops.unsqueeze(1))
        found = model.encoder(patchify(crops, model_settings.grid), everything)
    torch.testing.assert_close(found, expected)


def test_a_block_is_monais_with_its_gradients():
    torch.manual_seed(0)
    theirs = MonaiBlock(hidden_size=24, mlp_dim=40, num_heads=3)
    ours = TransformerBlock(24, 3, 40)
    ours.load_state_dict({n: v for n, v in theirs.state_dict().items() if "cross_attn" not in n})
    given = [torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    for block, tokens in zip((ours, theirs), given, strict=True):
        block(tokens.requires_grad_()).square().sum().backward()
    torch.testing.assert_close(ours(given[0]), theirs(given[0]))
    torch.testing.assert_close(given[0].grad, given[1].grad)
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, msg=name)


def test_starting_weights_depend_on_the_seed_alone(model_settings):
    torch.manual_seed(1)
    first = build_model(model_settings, domains=2, seed=4).state_dict()
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    again = build_model(model_settings, domains=2, seed=4).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)  # nothing is taken from the global generator
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = build_model(model_settings, domains=2, seed=5).state_dict()
    assert not torch.equal(first["decoder.head.weight"], other["decoder.head.weight"])


def test_flops_equal_the_formula():
    """Per block and token 4 w^2 + 2 w m for projections and MLP, 2 t w for attention over t tokens."""
    settings = ModelSettings(
        crop=32, patch=8, width=96, depth=3, heads=3, decoder_width=64, decoder_depth=1, decoder_heads=2
    )
    seen, tokens, voxels = 16, 64, 512
    encoder = 3 * seen * (4 * 96**2 + 2 * 96 * 384 + 2 * seen * 96)
    decoder = tokens * (4 * 64**2 + 2 * 64 * 256 + 2 * tokens * 64)
    edges = seen * voxels * 96 + seen * 96 * 64 + (tokens - seen) * 64 * voxels
    nearest = (tokens - seen) * seen * (64 + 1)
    assert flops_per_draw(settings) == 3 * 2 * (encoder + decoder + edges + nearest)


def test_paper_encoder_has_the_published_live_parameters():
    with torch.device("meta"):
        model = build_model(ModelSettings(), domains=6, seed=0)
    assert parameter_count(model.encoder) == 88_340_736


def test_deviation_is_the_standard_deviation():
    rows = torch.rand(3, 5, 64) * torch.tensor([1.0, 1e-3, 0.0]).view(3, 1, 1) + 0.7
    found = deviation(rows, rows.mean(dim=2, keepdim=True))
    assert torch.allclose(found.flatten(), rows.double().flatten(1).std(dim=1).float(), rtol=1e-4, atol=1e-7)


def test_adapting_embeddings_equals_adapting_voxels(model_settings):
    model = build_model(model_settings, domains=3, seed=0).double()
    with torch.no_grad():
        model.adapter.weight.copy_(torch.tensor([1.0, 0.7, 1.4]).view(3, 1, 1, 1, 1))
        model.adapter.bias.copy_(torch.tensor([0.0, 0.2, -0.1]))
    seen = visible_count(model_settings)
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(4, seen, model_settings.patch**3, generator=generator, dtype=torch.float64)
    index, domain = torch.arange(seen).expand(4, seen), torch.tensor([2, 0, 1, -1])
    slopes = []
    for found in (
        model.encoder(model.adapter(rows, domain), index),
        model.encoder(rows, index, model.adapter.of(domain)),
    ):
        model.zero_grad()
        found.square().sum().backward()
        slopes.append(
            [found.detach(), *(p.grad for p in (*model.adapter.parameters(), *model.encoder.parameters()))]
        )
    for voxels, embeddings in zip(*slopes, strict=True):
        assert torch.allclose(voxels, embeddings, rtol=1e-9, atol=1e-12)
