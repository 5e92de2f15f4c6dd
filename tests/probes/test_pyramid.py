"""The pyramid finds discs on frozen maps, in 2D and 3D; masks that are not known teach nothing; its loss is MONAI's."""

import numpy as np
import pytest
import torch

from voxmix.backbone_rows import VitSettings
from voxmix.encoders.backbone import build_backbone
from voxmix.probes.pyramid import (
    PackedMasks,
    PyramidFit,
    PyramidHead,
    PyramidStack,
    dice_and_entropy,
    fit_pyramid,
)

GRID = {"rates": (3e-3, 1e-2), "epochs": 6, "seed": 0}


def discs(count: int, edge: int = 32, axes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images with a bright disc (ball) each, and where it is."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(edge),) * axes, indexing="ij"))
    centers = rng.uniform(edge * 0.3, edge * 0.7, (count, axes, *(1,) * axes))
    radius = rng.uniform(edge * 0.16, edge * 0.28, (count, *(1,) * axes))
    inside = np.sqrt(((grid[None] - centers) ** 2).sum(axis=1)) < radius
    images = 0.2 + 0.6 * inside + rng.normal(scale=0.05, size=inside.shape)
    return images.clip(0, 1).astype(np.float32), inside


def dice(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(2 * (found & wanted).sum() / (found.sum() + wanted.sum()))


def fit(maps: list[np.ndarray], masks: PackedMasks, **more: object) -> PyramidFit:
    count = len(masks.known)
    return fit_pyramid(maps, np.arange(count), masks, np.arange(count) % 5 == 0, **{**GRID, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(("axes", "edge", "count"), [(2, 32, 40), (3, 16, 30)])
def test_a_disc_is_found_by_a_network_that_learned_nothing(axes: int, edge: int, count: int) -> None:
    images, inside = discs(count + 10, edge, axes)
    settings = VitSettings(axes=axes, image=edge, patch=4, width=32, depth=1, heads=2)
    with torch.no_grad():
        (map_,) = build_backbone(settings, 0).eval().map(torch.from_numpy(images)[:, None])
    maps = [map_.half().numpy()]
    masks = PackedMasks.of([[one] for one in inside[:count]], (edge,) * axes)
    said = fit(maps, masks).logits(maps, np.arange(count, count + 10))[:, 0] > 0
    assert np.mean([dice(one, true) for one, true in zip(said, inside[count:], strict=True)]) > 0.9


def test_the_stages_of_a_davit_are_levels_themselves() -> None:
    images, inside = discs(50)
    coarse = images.reshape(50, 8, 4, 8, 4).mean(axis=(2, 4))
    rng = np.random.default_rng(0)
    maps = [  # stages of strides 2 and 4, with other channels that say nothing
        np.concatenate(
            [image[:, None], rng.normal(scale=0.1, size=(50, width - 1, *image.shape[1:]))], axis=1
        ).astype(np.float16)
        for image, width in ((images.reshape(50, 16, 2, 16, 2).mean(axis=(2, 4)), 6), (coarse, 9))
    ]
    found = fit(maps, PackedMasks.of([[one] for one in inside[:40]], (32, 32)), epochs=20)
    assert (len(found.head.levels), found.head.made) == (2, False)
    said = found.logits(maps, np.arange(40, 50))[:, 0] > 0
    assert np.mean([dice(one, true) for one, true in zip(said, inside[40:], strict=True)]) > 0.8


def test_masks_that_are_not_known_leave_every_gradient_at_zero() -> None:
    _, inside = discs(12)
    maps = [np.random.default_rng(1).normal(size=(12, 8, 8, 8)).astype(np.float16)]
    masks = PackedMasks.of([[one, None] for one in inside], (32, 32))
    stack = PyramidStack(maps, np.arange(12), masks, heads=1, seed=0)
    losses, known = stack.losses(torch.arange(12))
    losses.sum().backward()
    (head,) = stack.heads
    assert isinstance(head, PyramidHead)
    assert known == 12
    for linear in head.linear:
        assert linear.grad is not None
        assert linear.grad[0].abs().max() > 0
        assert linear.grad[1].abs().max() == 0
    nothing = PyramidStack(maps, np.arange(12), PackedMasks.of([[None]] * 12, (32, 32)), heads=1, seed=0)
    losses, known = nothing.losses(torch.arange(12))
    losses.sum().backward()
    assert (known, losses.tolist()) == (0, [0])
    assert all(float(p.grad.abs().max()) == 0 for p in nothing.parameters() if p.grad is not None)


def test_an_unknown_mask_changes_nothing_of_the_known_ones() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, wanted = (
        torch.randn(4, 2, 8, 8, generator=draw),
        (torch.rand(4, 2, 8, 8, generator=draw) > 0.5).float(),
    )
    known = torch.tensor([[True, True], [True, False], [True, False], [True, False]])
    other = torch.where(known[:, :, None, None], logits, -logits)
    assert dice_and_entropy(logits, wanted, known) == dice_and_entropy(other, wanted, known)


@pytest.mark.parametrize("axes", [2, 3])
def test_the_loss_is_that_of_monai_where_everything_is_known(axes: int) -> None:
    losses = pytest.importorskip("monai.losses")
    draw = torch.Generator().manual_seed(0)
    shape = (5, 1, *(6,) * axes)
    logits, wanted = torch.randn(shape, generator=draw), (torch.rand(shape, generator=draw) > 0.7).float()
    theirs = losses.DiceCELoss(sigmoid=True, batch=True)(logits, wanted)
    assert torch.allclose(
        dice_and_entropy(logits, wanted, torch.ones(5, 1, dtype=torch.bool)), theirs, atol=1e-6
    )


def test_packed_masks_are_the_masks() -> None:
    rng = np.random.default_rng(0)
    inside = rng.random((7, 2, 5, 9)) > 0.6
    masks = PackedMasks.of([[one[0], one[1] if k % 2 else None] for k, one in enumerate(inside)], (5, 9))
    assert np.array_equal(masks.at(np.arange(7))[:, 0], inside[:, 0])
    assert np.array_equal(masks.known[:, 1], np.arange(7) % 2 == 1)
    assert not masks.at(np.array([0, 2]))[:, 1].any()
    share = torch.sigmoid(masks.start()).numpy()
    assert np.allclose(share, [min(inside[:, 0].mean(), 0.5), inside[1::2, 1].mean()], atol=1e-6)


def test_the_same_seed_gives_the_same_head() -> None:
    _, inside = discs(20)
    maps = [np.random.default_rng(1).normal(size=(20, 8, 8, 8)).astype(np.float16)]
    masks = PackedMasks.of([[one] for one in inside], (32, 32))
    first, second = (fit(maps, masks, epochs=2) for _ in range(2))
    assert first.choice == second.choice
    assert np.array_equal(first.logits(maps, np.arange(20)), second.logits(maps, np.arange(20)))
