"""The vision transformer and what every backbone promises."""

from typing import Any

import pytest
import torch
from torch.nn.functional import interpolate

from voxmix.backbone_rows import VitSettings
from voxmix.encoders.backbone import _kept, build_backbone, flops_per_image, kept_bytes_per_image
from voxmix.encoders.drop_path import branch, uniform
from voxmix.encoders.positions import resized_positions
from voxmix.encoders.vit import Vit, hidden_width
from voxmix.errors import InputError

SMALL = VitSettings(image=32, patch=8, width=24, depth=3, heads=3, layer_scale=1.0)
CUBE = VitSettings(image=16, patch=8, width=24, depth=2, heads=3, axes=3, registers=2, ffn="swiglu")


def _pixels(settings: VitSettings, batch: int = 2, *, edge: int | None = None, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 1, *(edge or settings.image,) * settings.axes, generator=generator)


def _vit(settings: VitSettings, seed: int = 0) -> Vit:
    made = build_backbone(settings, seed)
    assert isinstance(made, Vit)
    return made


def _bold(model: Vit) -> Vit:
    """Make every weight count: tokens and scales far from 0."""
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(index)
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("settings", [SMALL, CUBE], ids=["2d", "3d"])
def test_shapes_are_those_of_the_images_and_every_parameter_learns(settings: VitSettings) -> None:
    model = _vit(settings)
    hidden = torch.zeros(2, settings.grid.patches, dtype=torch.bool)
    hidden[:, 0] = True
    features = model(_pixels(settings), hidden)
    assert features.cls.shape == (2, 24)
    assert features.patches.shape == (2, settings.grid.patches, 24)
    (features.cls.square().sum() + features.patches.square().sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    (image,) = model.map(_pixels(settings))
    assert image.shape == (2, 24, *settings.grid.cells)
    assert torch.equal(image.flatten(2).transpose(1, 2), model(_pixels(settings)).patches)


@pytest.mark.parametrize("settings", [SMALL, CUBE], ids=["2d", "3d"])
def test_starting_weights_follow_from_the_seed_alone(settings: VitSettings) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = _vit(settings, 1), _vit(settings, 1), _vit(settings, 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.layer[0].qkv.weight, other.layer[0].qkv.weight)


@pytest.mark.parametrize("settings", [SMALL, CUBE], ids=["2d", "3d"])
def test_a_hidden_patch_cannot_be_seen(settings: VitSettings) -> None:
    model = _bold(_vit(settings)).eval()
    hidden = torch.zeros(2, settings.grid.patches, dtype=torch.bool)
    hidden[:, 1] = True
    pixels = _pixels(settings).requires_grad_()
    model(pixels, hidden).cls.square().sum().backward()
    assert pixels.grad is not None
    last = slice(settings.patch, 2 * settings.patch)  # patch 1 is the second along the last axis
    inside = pixels.grad[(..., *(slice(0, settings.patch),) * (settings.axes - 1), last)]
    assert inside.abs().max() == 0
    assert (pixels.grad != 0).float().mean() > 0.5


@pytest.mark.parametrize("settings", [SMALL, CUBE], ids=["2d", "3d"])
def test_patches_left_out_change_nothing_when_none_is(settings: VitSettings) -> None:
    model = _bold(_vit(settings)).eval()
    pixels = _pixels(settings)
    order = torch.stack([torch.randperm(settings.grid.patches) for _ in range(2)])
    whole, shuffled = model(pixels), model.forward_visible(pixels, order)
    expected = torch.stack([whole.patches[i, order[i]] for i in range(2)])
    torch.testing.assert_close(shuffled.patches, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(shuffled.cls, whole.cls, rtol=0, atol=1e-5)
    assert model.forward_visible(pixels, order[:, :1]).patches.shape == (2, 1, 24)
    # what is left out is not seen
    changed = pixels.clone()
    changed[..., : settings.patch] += 1.0
    seen = torch.full((2, 1), settings.grid.patches - 1)
    assert torch.equal(model.forward_visible(changed, seen).cls, model.forward_visible(pixels, seen).cls)


def test_layers_are_the_normed_states_topmost_last() -> None:
    model = _bold(_vit(SMALL)).eval()
    pixels = _pixels(SMALL)
    found = model.layers(pixels, last=3)
    assert len(found) == 3
    assert torch.equal(found[-1].cls, model(pixels).cls)
    model.layer[2] = torch.nn.Identity()
    model.layer[2].forward = lambda tokens, keys: tokens  # type: ignore[method-assign]
    assert torch.equal(found[1].patches, model(pixels).patches)
    with pytest.raises(InputError, match="depth 3 has features of its last 1 to 3 blocks, got 4"):
        model.layers(pixels, last=4)


@pytest.mark.parametrize(("how", "antialias"), [("cubic", False), ("cubic-antialias", True)])
@pytest.mark.parametrize("wanted", [(7, 7), (3, 5), (11, 4)])
def test_positions_in_2d_are_those_of_interpolate(how: str, antialias: bool, wanted: tuple[int, int]) -> None:
    codes = torch.randn(25, 6, generator=torch.Generator().manual_seed(0))
    expected = interpolate(
        codes.T.reshape(1, 6, 5, 5), size=wanted, mode="bicubic", align_corners=False, antialias=antialias
    )
    found = resized_positions(codes, (5, 5), wanted, how=how)
    torch.testing.assert_close(found, expected.flatten(2)[0].T, rtol=0, atol=2e-6)


def test_positions_in_3d_keep_a_slope_and_the_ends_where_asked() -> None:
    line = torch.arange(4.0)
    codes = torch.cartesian_prod(line, line, line)
    found = resized_positions(codes, (4, 4, 4), (7, 4, 7), how="linear-corners")
    long = torch.linspace(0, 3, 7)
    torch.testing.assert_close(found, torch.cartesian_prod(long, line, long))
    expected = interpolate(
        codes.T.reshape(1, 3, 4, 4, 4), size=(3, 3, 3), mode="trilinear", align_corners=True
    )
    torch.testing.assert_close(
        resized_positions(codes, (4, 4, 4), (3, 3, 3), how="linear-corners"), expected.flatten(2)[0].T
    )
    middle = resized_positions(codes, (4, 4, 4), (8, 8, 8), how="cubic").reshape(8, 8, 8, 3)[3:5, 3:5, 3:5]
    torch.testing.assert_close(middle.mean(dim=(0, 1, 2)), torch.full((3,), 1.5))


@pytest.mark.parametrize("settings", [SMALL, CUBE], ids=["2d", "3d"])
def test_other_edges_are_taken_and_part_of_a_patch_is_refused(settings: VitSettings) -> None:
    model = _vit(settings)
    small = model(_pixels(settings, edge=settings.patch))
    assert small.patches.shape == (2, 1, 24)
    wide = torch.rand(1, 1, *(settings.patch,) * (settings.axes - 1), 3 * settings.patch)
    assert model(wide).patches.shape == (1, 3, 24)
    with pytest.raises(InputError, match="takes edges that are a multiple of it, got 12"):
        model(_pixels(settings, edge=12))


def test_a_gray_image_is_taken_once_per_channel_and_other_channels_are_refused() -> None:
    settings = VitSettings(image=16, patch=8, width=12, depth=1, heads=1, channels=3)
    model = _bold(_vit(settings)).eval()
    with torch.no_grad():
        model.pixel_mean.copy_(torch.tensor([0.1, 0.2, 0.3]))
        model.pixel_std.copy_(torch.tensor([1.0, 2.0, 3.0]))
    gray = _pixels(settings)
    assert torch.equal(model(gray).cls, model(gray.expand(-1, 3, -1, -1)).cls)
    normed = (gray.expand(-1, 3, -1, -1) - model.pixel_mean.view(3, 1, 1)) / model.pixel_std.view(3, 1, 1)
    assert torch.equal(model.prepared(gray), normed)
    with pytest.raises(InputError, match="takes images of 3 channels or of 1, got 2"):
        model(gray.expand(-1, 2, -1, -1))
    with pytest.raises(InputError, match=r"with axes 2 takes \(batch, channel, 2 edges\)"):
        model(torch.zeros(1, 1, 8, 8, 8))


def test_the_patch_embedding_is_a_convolution() -> None:
    for settings, convolution in ((SMALL, torch.nn.functional.conv2d), (CUBE, torch.nn.functional.conv3d)):
        model = _bold(_vit(settings)).eval()
        pixels = model.prepared(_pixels(settings))
        embed = model.patch_embedding
        expected = convolution(pixels, embed["weight"], embed["bias"], stride=settings.patch)
        rows = model._rows(pixels, settings.grid.cells)
        found = torch.nn.functional.linear(rows, embed["weight"].flatten(1), embed["bias"])
        torch.testing.assert_close(found, expected.flatten(2).transpose(1, 2), rtol=0, atol=1e-4)


def test_drop_path_follows_from_the_keys_alone() -> None:
    settings = VitSettings(image=16, patch=8, width=12, depth=3, heads=1, layer_scale=0, drop_path=0.5)
    model = _bold(_vit(settings)).train()
    pixels, keys = _pixels(settings, 6), torch.arange(6) * 7919
    with model.keyed(keys):
        whole = model(pixels).cls
    parts = []
    for half in (slice(0, 2), slice(2, 6)):
        with model.keyed(keys[half]):
            parts.append(model(pixels[half]).cls)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)
    assert not torch.allclose(model(pixels).cls, model(pixels).cls)  # without keys: chance
    model.eval()
    assert torch.equal(model(pixels).cls, model(pixels).cls)


def test_drop_path_is_even_and_keeps_the_mean() -> None:
    keys = torch.arange(20_000) - 10_000
    drawn = uniform(keys, 3)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert torch.histc(drawn, 10, 0, 1).sub(2000).abs().max() < 200  # 4.7 standard deviations
    assert abs(torch.corrcoef(torch.stack([drawn, uniform(keys, 4)]))[0, 1]) < 0.03
    rows = branch(torch.ones(20_000, 2, 3), rate=0.25, keys=keys, place=0)
    assert abs(rows.mean() - 1) < 0.02
    assert rows.unique().tolist() == [0.0, pytest.approx(4 / 3)]


def test_levels_rise_from_the_input() -> None:
    model = _vit(CUBE)
    levels = {name: model.level(name) for name, _ in model.named_parameters()}
    assert levels["patch_embedding.weight"] == levels["position_embeddings"] == levels["mask_token"] == 0
    assert levels["layer.0.qkv.weight"] == 1
    assert levels["layer.1.fc2.bias"] == 2
    assert levels["norm.weight"] == 3
    assert len(model.blocks) == 2


def test_operations_are_counted() -> None:
    settings = SMALL
    width, tokens = settings.width, settings.grid.patches
    block = 2 * (tokens + 1) * width * (3 * width + width + 2 * hidden_width(settings))
    attention = 4 * (tokens + 1) ** 2 * width
    expected = 3 * (3 * (block + attention) + 2 * tokens * width * settings.patch**2)
    assert flops_per_image(settings) == expected
    assert flops_per_image(settings, visible=4) < expected / 2
    assert flops_per_image(settings, edge=16) < expected / 2


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="crop must be a multiple of patch"):
        VitSettings(image=30, patch=8)
    with pytest.raises(InputError, match="mlp_ratio must be at least"):
        VitSettings(mlp_ratio=0)


def test_lower_precision_rounds_and_no_more() -> None:
    model = _bold(_vit(SMALL)).eval()
    pixels = _pixels(SMALL, edge=40)
    whole = model(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(pixels, torch.zeros(2, 25, dtype=torch.bool))
    torch.testing.assert_close(mixed.cls.float(), whole.cls, rtol=0, atol=0.1)
    low = model.bfloat16()(pixels.bfloat16())
    assert low.cls.dtype == torch.bfloat16
    torch.testing.assert_close(low.patches.float(), whole.patches, rtol=0, atol=0.2)


def test_memory_is_counted_without_being_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = VitSettings(image=96, patch=8, width=96, depth=3, heads=3)
    model = _vit(settings).train()
    taken = _kept(model, _pixels(settings, 3)) - _kept(model, _pixels(settings, 2))
    counted = kept_bytes_per_image(settings)
    assert 0.85 * taken < counted < taken  # written out on a CPU, attention keeps its weights too
    monkeypatch.setattr("voxmix.encoders.attention._SHORT", 0)
    taken = _kept(model, _pixels(settings, 3)) - _kept(model, _pixels(settings, 2))
    assert 0.99 * taken < counted < 1.2 * taken  # by the kernel
    assert kept_bytes_per_image(settings, edge=48) < 0.3 * counted
    assert (
        kept_bytes_per_image(VitSettings(image=518, channels=3)) > 1e9
    )  # RAD-DINO, with no such memory here


@pytest.mark.parametrize(
    "given", [{}, {"registers": 2, "drop_path": 0.4}, {"ffn": "swiglu", "style": "clip"}]
)
def test_features_of_few_patches_are_those_of_all(given: dict[str, Any]) -> None:
    settings = VitSettings(image=24, patch=8, width=24, depth=3, heads=2, layer_scale=0.5, **given)
    model = _vit(settings).train()
    pixels = _pixels(settings, 3)
    index = torch.tensor([[4, 0], [8, 3], [1, 1]])
    hidden = torch.arange(9) % torch.tensor([[2], [3], [4]]) == 0
    found = {}
    for name in ("all", "few"):
        model.zero_grad()
        with model.keyed(torch.tensor([5, 6, 7])):
            if name == "all":
                whole = model(pixels, hidden)
                cls, patches = whole.cls, whole.patches.gather(1, index.unsqueeze(2).expand(-1, -1, 24))
            else:
                cls, patches = model.forward_at(pixels, index, hidden)
        (cls.square().sum() + (patches * patches.detach().cos()).sum()).backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found[name] = {"cls": cls.detach(), "patches": patches.detach(), **gradients}
    assert found["all"].keys() == found["few"].keys()
    for name, expected in found["all"].items():
        torch.testing.assert_close(found["few"][name], expected, rtol=1e-4, atol=1e-5)
    assert model.forward_at(pixels).patches.shape == (3, 0, 24)
