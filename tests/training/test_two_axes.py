"""The same networks and draws on images: 2 axes instead of 3, held against 3 axes of which one is a voxel deep, and MONAI."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.networks.nets import UNETR, ViT
from PIL import Image

from voxmix.cost.footprint import footprint
from voxmix.design import RunSpec
from voxmix.encoders import interchange, weight_names
from voxmix.encoders.mae import Encoder, sincos_positions
from voxmix.encoders.networks import build_model, flops_per_draw, parameter_count
from voxmix.encoders.patches import patchify, take, token_count, unpatchify, visible_count
from voxmix.encoders.unetr import Unetr
from voxmix.errors import InputError
from voxmix.grid import Grid
from voxmix.mixture import Mixture
from voxmix.objectives.intensities import augment, noise_bank
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.objectives.mae.held_out_losses import measure
from voxmix.objectives.mae.padding import existing_in_patches, existing_voxels, settled_masks
from voxmix.objectives.mae.parameters import draw_parameters
from voxmix.objectives.mae.reconstructions import save_reconstructions
from voxmix.run_settings import ModelSettings, TrainingSettings
from voxmix.runs.files import SLICES_FILE, picture_file
from voxmix.training.crop_places import corner_of

SETTINGS = ModelSettings(
    axes=2, crop=24, patch=4, width=24, depth=2, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2
)
BOTH = pytest.mark.parametrize("name", ["mae", "unetr"])


def sample(settings: ModelSettings, batch: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    crops = torch.rand(batch, *settings.grid.crop, generator=generator)
    order = torch.stack([torch.randperm(token_count(settings), generator=generator) for _ in range(batch)])
    seen = visible_count(settings)
    return crops, order[:, :seen], order[:, seen:], torch.tensor([0, -1])


@pytest.mark.parametrize(
    ("crop", "patch"),
    [((24, 24), (4, 4)), ((6, 20), (3, 5)), ((12, 8, 6), (4, 2, 3)), ((8, 8, 8), (8, 8, 8))],
)
def test_patches_of_any_grid_are_its_pieces_in_order_and_go_back(crop, patch):
    grid = Grid(crop, patch)
    crops = torch.rand(2, *crop)
    rows = patchify(crops, grid)
    assert rows.shape == (2, grid.patches, grid.patch_voxels)
    assert torch.equal(unpatchify(rows, grid), crops)
    for token, cell in enumerate(np.ndindex(grid.cells)):
        piece = crops[(1, *(slice(c * p, (c + 1) * p) for c, p in zip(cell, patch, strict=True)))]
        assert torch.equal(rows[1, token], piece.flatten())


def test_an_image_is_a_volume_one_voxel_deep():
    flat, deep = Grid((12, 8), (4, 2)), Grid((12, 8, 1), (4, 2, 1))
    crops = torch.rand(3, 12, 8)
    assert torch.equal(patchify(crops, flat), patchify(crops.unsqueeze(-1), deep))
    rng = np.random.default_rng(0)
    begin = rng.integers(0, 6, (50, 2))
    span = np.stack([begin, begin + rng.integers(1, 5, (50, 2))], axis=1)
    thick = np.concatenate([span, np.tile([[[0], [1]]], (50, 1, 1))], axis=2)
    order = np.argsort(rng.random((50, flat.patches)), axis=1)
    a, b = torch.from_numpy(span), torch.from_numpy(thick)
    assert torch.equal(existing_voxels(a, flat), existing_voxels(b, deep)[..., 0])
    masked = torch.from_numpy(order[:, 6:])
    assert torch.equal(existing_in_patches(a, masked, flat), existing_in_patches(b, masked, deep))
    found = settled_masks(order, 6, span, flat)
    assert np.array_equal(found, settled_masks(order, 6, thick, deep))
    assert (found != order).any()


@BOTH
def test_a_network_of_two_axes_predicts_the_masked_patches_of_images(name):
    settings = replace(SETTINGS, name=name)
    model = build_model(settings, domains=2, seed=4)
    crops, visible, masked, domain = sample(settings)
    assert visible.shape[1] == 9  # a quarter of 6 x 6
    predicted, truth = model(crops, visible, masked, domain)
    assert predicted.shape == truth.shape == (2, 27, 16)
    assert torch.equal(truth, take(patchify(crops, settings.grid), masked))
    (predicted - truth).square().mean().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []
    assert model.adapter_kind == {"mae": "1x1 convolution", "unetr": "3x3 convolution"}[name]


@BOTH
def test_no_masked_pixel_influences_a_prediction(name):
    settings = replace(SETTINGS, name=name)
    model = build_model(settings, domains=2, seed=4).eval()
    with torch.no_grad():  # an adapter as after training
        model.adapter.weight.add_(torch.rand(model.adapter.weight.shape))
        model.adapter.bias.add_(0.1)
    crops, visible, masked, domain = sample(settings)
    rows = patchify(crops, settings.grid)
    for row in range(2):
        rows[row, masked[row]] = 7.0
    before, _ = model(crops, visible, masked, domain)
    assert torch.equal(model(unpatchify(rows, settings.grid), visible, masked, domain)[0], before)
    rows[0, visible[0, 0]] += 1.0
    assert not torch.equal(model(unpatchify(rows, settings.grid), visible, masked, domain)[0], before)


def test_a_mae_of_images_reconstructs_one_value_from_the_start_and_learns_stripes():
    settings = SETTINGS
    model = build_model(settings, domains=1, seed=0)
    _, visible, masked, _ = sample(settings, batch=8)
    domain = torch.zeros(8, dtype=torch.int64)
    values = torch.linspace(0.1, 0.9, 8).view(-1, 1, 1)
    predicted, _ = model(values.expand(-1, 24, 24), visible, masked, domain)
    torch.testing.assert_close(predicted, values.expand_as(predicted))
    # Stripes along the second axis: what is hidden follows from the place alone.
    stripes = (torch.arange(24) % 4 < 2).float().expand(8, 24, 24).contiguous()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        predicted, truth = model(stripes, visible, masked, domain)
        losses.append(loss := (predicted - truth).square().mean())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 0.2  # the variance of the stripes
    assert losses[-1] < 0.05 * losses[0]


def test_the_encoder_computes_what_a_monai_vit_of_two_axes_computes():
    model = build_model(SETTINGS, domains=1, seed=4)
    vit = ViT(
        1, (24, 24), (4, 4), hidden_size=24, mlp_dim=96, num_layers=2, num_heads=2, spatial_dims=2
    ).eval()
    vit.load_state_dict(weight_names.bare(weight_names.to_monai(model.encoder.state_dict(), line="1.6")))
    crops, *_ = sample(SETTINGS)
    with torch.no_grad():
        expected, _ = vit(crops.unsqueeze(1))
        found = model.encoder(patchify(crops, SETTINGS.grid), torch.arange(36).repeat(2, 1))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("embedding", ["conv", "perceptron"])
def test_a_monai_unetr_of_two_axes_comes_over_with_the_same_output(embedding):
    torch.manual_seed(0)
    stock = UNETR(
        1, 2, img_size=64, feature_size=4, hidden_size=24, mlp_dim=96, num_heads=2, spatial_dims=2, proj_type=embedding
    ).eval()  # fmt: skip
    settings = ModelSettings(axes=2, crop=64, patch=16, width=24, depth=12, heads=2)
    ours = Unetr(settings, out_channels=2, feature_size=4).eval()
    interchange.load_strict(ours, weight_names.from_monai(stock.state_dict(), axes=2))
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), stock(image), rtol=1e-4, atol=1e-5)


def test_weights_have_the_names_and_shapes_of_timm_s_vit_for_gray_images():
    weights = weight_names.prefixed(Encoder(SETTINGS).state_dict())
    there = weight_names.to_timm(weights)
    assert there["patch_embed.proj.weight"].shape == (24, 1, 4, 4)
    assert there["pos_embed"].shape == (1, 36, 24)
    back = weight_names.from_timm(there)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in weights.items())


def test_position_codes_tell_every_patch_apart_and_turn_with_the_axes():
    codes = sincos_positions(Grid((12, 20), (4, 4)), 16)
    turned = sincos_positions(Grid((20, 12), (4, 4)), 16)
    assert len(torch.unique(codes, dim=0)) == 15
    cube = codes.reshape(3, 5, 2, 8)  # axis of the code, its columns
    assert torch.equal(cube, turned.reshape(5, 3, 2, 8).transpose(0, 1).flip(2))


def test_position_codes_go_to_another_crop_of_images():
    name = "vit.patch_embedding.position_embeddings"
    x, y = torch.meshgrid(torch.linspace(0, 1, 6), torch.linspace(0, 2, 6), indexing="ij")
    codes = torch.stack([x, y, x + y], dim=-1).reshape(1, 36, 3)
    resized = interchange.for_crop({name: codes}, replace(SETTINGS, crop=44))[name]
    x, y = torch.meshgrid(torch.linspace(0, 1, 11), torch.linspace(0, 2, 11), indexing="ij")
    torch.testing.assert_close(resized, torch.stack([x, y, x + y], dim=-1).reshape(1, 121, 3))
    with pytest.raises(InputError, match="36 patches, which fill no crop of 3 equal edges"):
        interchange.for_crop({name: codes}, replace(SETTINGS, axes=3))


def test_draws_have_a_corner_along_each_axis_and_masks_of_the_grid():
    training = TrainingSettings(noise_probability=1.0, contrast_probability=1.0)
    drawn = draw_parameters(5, 9, seed=1, model=SETTINGS, training=training)
    assert drawn.corner.shape == (4, 2)
    assert (drawn.visible.shape[1], drawn.masked.shape[1]) == (9, 27)
    alone = draw_parameters(7, 8, seed=1, model=SETTINGS, training=training)
    assert np.array_equal(alone.corner[0], drawn.corner[2])
    assert np.array_equal(alone.masked[0], drawn.masked[2])
    shape, zero = np.full((4, 2), 30), np.zeros((4, 2), dtype=np.int64)
    corner = corner_of(drawn.corner, shape, SETTINGS.grid.crop, first=zero, end=shape)
    assert np.array_equal(corner, (drawn.corner * 7).astype(int))
    bank = noise_bank(voxels=SETTINGS.grid.crop_voxels, device=torch.device("cpu"))
    crops = torch.full((4, 24, 24), 0.5)
    augment(crops, drawn, bank)
    for row in range(4):
        expected = drawn.scale[row] * 0.5 ** drawn.gamma[row]
        offset = int(drawn.noise_offset[row] * (len(bank) - SETTINGS.grid.crop_voxels))
        noise = drawn.noise[row] * bank[offset : offset + 576].view(24, 24)
        torch.testing.assert_close(crops[row], (expected + noise).clamp(0, 1).float())


def test_cost_is_that_of_the_grid():
    deep = replace(SETTINGS, axes=3)
    assert footprint(SETTINGS).parameters == parameter_count(build_model(SETTINGS, domains=1, seed=0))
    assert footprint(SETTINGS).draw_bytes < footprint(deep).draw_bytes
    assert math.isclose(flops_per_draw(deep) / flops_per_draw(SETTINGS), 6, rel_tol=0.8)


def test_held_out_images_are_measured_and_shown(tmp_path):
    model = build_model(SETTINGS, domains=1, seed=1).eval()
    crops, visible, masked, _ = sample(SETTINGS, batch=6)
    crops = crops.half().float()
    evaluation = EvaluationSet(
        domains=("X-RAY",),
        crops=crops.half(),
        foreground=crops > 0.5,
        domain=torch.zeros(6, dtype=torch.int64),
        volume=torch.arange(6),
        order=torch.cat([visible, masked], dim=1),
        visible=9,
        made_from="{}",
        span=torch.tensor([[0, 0], [24, 20]]).repeat(6, 1, 1),
    )
    found = measure(model, evaluation, adapters=("X-RAY",))["X-RAY"]
    with torch.no_grad():
        predicted, _ = model(crops, visible, masked, torch.zeros(6, dtype=torch.int64))
    rebuilt = patchify(crops, SETTINGS.grid)
    hidden = torch.zeros_like(rebuilt)
    for row in range(6):
        rebuilt[row, masked[row]] = predicted[row]
        hidden[row, masked[row]] = 1
    error = (unpatchify(rebuilt, SETTINGS.grid) - crops).square()[:, :, :20]  # the rest is padding
    counts = unpatchify(hidden, SETTINGS.grid)[:, :, :20].sum(dim=(1, 2))
    assert found.loss == pytest.approx(float((error.sum(dim=(1, 2)) / counts).mean()), rel=1e-5)
    save_reconstructions(model, evaluation, tmp_path, adapters=("X-RAY",))
    with np.load(tmp_path / SLICES_FILE) as slices:
        assert slices["0/original"].shape == (24, 24)
        assert any(np.array_equal(slices["0/original"], crop.half().numpy()) for crop in crops)
    with Image.open(tmp_path / picture_file("X-RAY")) as picture:
        assert picture.size == (3 * 240 + 2 * 6, 20 + 240)


def test_axes_are_part_of_an_id_only_where_they_are_two():
    spec = RunSpec(mixture=Mixture.uniform(("A", "B")), budget=10, seed=0, model=replace(SETTINGS, axes=3))
    image = replace(spec, model=SETTINGS)
    assert "axes" not in spec.as_dict()["model"]
    assert image.run_id != spec.run_id
    assert RunSpec.from_dict(image.as_dict()) == image


def test_volumes_are_refused_for_a_network_of_images(cache, evaluation_settings):
    model = replace(SETTINGS, crop=16)
    with pytest.raises(InputError, match=r"a crop has 2 axes, CT-5 of CT has 3; set model.axes to 3"):
        EvaluationSet.build(cache, model=model, evaluation=evaluation_settings)
