"""Which image a draw gets, which part of it, what is hidden: pure functions, against what can be said by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from voxmix.compute import ComputeSettings
from voxmix.objective_rows import DinoSettings
from voxmix.objectives.dino.hiding import hide, hiding_columns, most_hidden
from voxmix.objectives.images.order import image_order
from voxmix.objectives.images.parts import Parts, ViewKind, draw_parts, part_columns, samples_per_pixel, see
from voxmix.objectives.images.reader import id_of, plan_images
from voxmix.training.devices import launch_fabric
from voxmix.training.pieces import Piece

DOMAINS = ["a"] * 12 + ["b"] * 6 + ["c"] * 2


def test_every_epoch_is_a_new_permutation_and_domains_are_spread() -> None:
    order = image_order(DOMAINS, 70, seed=4)
    epochs = [order[k : k + 20] for k in (0, 20, 40)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    halves = [sum(DOMAINS[k] == "a" for k in epoch[:10]) for epoch in epochs]
    assert all(5 <= half <= 7 for half in halves)
    np.testing.assert_array_equal(image_order(DOMAINS, 33, seed=4), order[:33])
    assert not np.array_equal(image_order(DOMAINS, 70, seed=5), order)


def test_half_of_the_draws_have_reports_and_half_have_labels(toy) -> None:
    items = [item for item in toy().items if item.split == "train"]
    plan = plan_images(items, 64, seed=1, texts=("report", "labels"))
    chosen = [items[place] for place in plan.place]
    assert all(item.has_text for item in chosen[::2])
    assert all(item.labels for item in chosen[1::2])
    assert {item.key for item in chosen[::2]} == {item.key for item in items if item.has_text}
    assert id_of(np.array([1, 2]), "report") != id_of(np.array([1, 2]), "labels")
    assert id_of(np.array([1, 2]), "report") == id_of(np.array([1, 2]), "report")


def whole(shape: tuple[int, ...]) -> Parts:
    half = np.array([shape]) / 2
    return Parts(center=half, half=half, turn=np.eye(len(shape))[None])


@pytest.mark.parametrize("shape", [(8, 8), (6, 6, 6)])
def test_the_whole_image_at_its_own_size_is_itself_whatever_lies_around_it(shape) -> None:
    image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1))
    canvas = torch.zeros(1, *(n + 5 for n in shape))
    canvas[(0, *(slice(0, n) for n in shape))] = image[0]
    seen = see(canvas, np.array([shape]), whole(shape), edge=shape[0])
    torch.testing.assert_close(seen[:, 0], image, rtol=1e-4, atol=1e-5)
    small = see(canvas, np.array([shape]), whole(shape), edge=shape[0] // 2, finer=2)
    pooled = (
        torch.nn.functional.avg_pool2d(image, 2)
        if len(shape) == 2
        else torch.nn.functional.avg_pool3d(image, 2)
    )
    torch.testing.assert_close(small[:, 0], pooled, rtol=1e-4, atol=1e-5)


def test_a_part_shows_the_pixels_of_its_place_and_a_quarter_turn_turns_them() -> None:
    image = torch.arange(80.0).view(1, 8, 10)
    part = Parts(center=np.array([[3.0, 6.0]]), half=np.array([[2.0, 2.0]]), turn=np.eye(2)[None])
    seen = see(image, np.array([[8, 10]]), part, edge=4)
    torch.testing.assert_close(seen[0, 0], image[0, 1:5, 4:8], rtol=1e-4, atol=1e-3)
    turned = Parts(center=part.center, half=part.half, turn=np.array([[[0.0, -1.0], [1.0, 0.0]]]))
    found = see(image, np.array([[8, 10]]), turned, edge=4)
    torch.testing.assert_close(found[0, 0], image[0, 1:5, 4:8].flip(0).T, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("axes", [2, 3])
def test_parts_have_the_area_and_aspect_that_was_asked_for_and_lie_inside(axes: int) -> None:
    u = np.random.default_rng(1).random((500, part_columns(axes)))
    shapes = np.tile([[40, 60, 50][:axes]], (500, 1))
    parts = draw_parts(u, shapes, area=(0.1, 0.3), aspect=1.3, degrees=10)
    edge = 2 * parts.half
    share = edge.prod(axis=1) / shapes.prod(axis=1)
    assert share.min() >= 0.1 - 1e-9
    assert share.max() <= 0.3 + 1e-9
    assert np.ptp(np.log(edge), axis=1).max() <= np.log(1.3) + 1e-9
    assert (parts.center - parts.half).min() >= -1e-9
    assert (parts.center + parts.half - shapes).max() <= 1e-9
    determinant = np.linalg.det(parts.turn)
    np.testing.assert_allclose(determinant, 1)  # nothing is mirrored
    np.testing.assert_allclose(
        parts.turn @ parts.turn.transpose(0, 2, 1), np.eye(axes)[None].repeat(500, 0), atol=1e-12
    )
    angle = np.degrees(np.arccos(np.clip((np.trace(parts.turn, axis1=1, axis2=2) - axes + 2) / 2, -1, 1)))
    assert 5 < angle.max() <= 10 * (1 if axes == 2 else 1.8)


def test_a_large_part_of_an_oblong_image_keeps_its_aspect() -> None:
    u = np.full((1, part_columns(2)), 0.5)
    parts = draw_parts(u, np.array([[40, 80]]), area=(1.0, 1.0), aspect=1.0, degrees=0)
    np.testing.assert_allclose(2 * parts.half, [[40, 40]])
    assert samples_per_pixel((40, 80), ViewKind(count=1, edge=20, area=(0.1, 1.0))) == 2
    assert samples_per_pixel((40, 80), ViewKind(count=1, edge=40, area=(0.1, 1.0))) == 1


@pytest.mark.parametrize("cells", [(6, 6), (4, 4, 4)])
def test_hidden_patches_are_as_many_as_said_and_neighbours(cells: tuple[int, ...]) -> None:
    settings = DinoSettings(hidden_images=0.5, hidden_patches=(0.1, 0.5))
    tokens = int(np.prod(cells))
    mask, index, valid = hide(
        np.random.default_rng(2).random((400, hiding_columns(len(cells)))), cells, settings
    )
    count = mask.sum(axis=1)
    np.testing.assert_array_equal(count, valid.sum(axis=1))
    assert index.shape[1] == most_hidden(settings, tokens) == tokens // 2
    assert 0.4 < (count > 0).mean() < 0.6
    some = count[count > 0]
    assert (some.min(), some.max()) == (round(0.1 * tokens), tokens // 2)
    grids = mask[count > 2].reshape(-1, *cells)
    near = sum((grids & np.roll(grids, 1, axis=k + 1)).sum() for k in range(len(cells)))
    assert near > 1.2 * mask.sum()  # of scattered ones about half as many would touch
    assert all(mask[v, index[v, valid[v]]].all() for v in range(50))


def test_a_draw_is_the_same_in_any_piece_and_by_any_reader(toy, spec_for, made) -> None:
    source = toy()
    fabric = launch_fabric(ComputeSettings(device="cpu"), precision="32-true")
    for name in ("dino", "unicl", "mae"):
        objective = made(spec_for(name, source), source)
        alone = objective.views(44, least=0, fabric=fabric, compute=ComputeSettings(device="cpu"))
        ahead = objective.views(44, least=0, fabric=fabric, compute=ComputeSettings(device="cpu", loaders=2))
        one = alone.read(Piece(first=8, last=16, weight=1.0, start=8, stop=16))
        parts = [Piece(first=k, last=k + 2, weight=0.25, start=8, stop=16) for k in (8, 10, 12, 14)]
        ahead.expect(parts)
        images = getattr(one, "images", one)
        for number, part in enumerate(parts):
            found = ahead.read(part)
            rows = slice(2 * number, 2 * number + 2)
            seen = getattr(found, "images", found)
            assert all(torch.equal(a[rows], b) for a, b in zip(images.views, seen.views, strict=True))
            if images.tokens is not None:
                assert torch.equal(images.tokens[rows], seen.tokens)
                assert torch.equal(images.ids[rows], seen.ids)
        assert all(view.min() >= 0 and view.max() <= 1 for view in images.views)
        for views in (alone, ahead):
            views.close()


def test_runs_of_one_size_differ_by_the_subset_alone(toy, spec_for, made) -> None:
    source = toy()
    fabric, compute = (
        launch_fabric(ComputeSettings(device="cpu"), precision="32-true"),
        ComputeSettings(device="cpu"),
    )
    piece = Piece(first=0, last=8, weight=1.0, start=0, stop=8)
    spec = spec_for("mae", source)
    found = [
        made(each, source).views(44, least=0, fabric=fabric, compute=compute).read(piece)
        for each in (spec, replace(spec, budget=400), replace(spec, seed=spec.seed + 1))
    ]
    assert torch.equal(found[0].visible, found[1].visible)
    assert torch.equal(found[0].images.views[0], found[1].images.views[0])
    assert not torch.equal(found[0].visible, found[2].visible)
