"""Losses count voxels that exist, not padding; where nothing is padded every number is what it was before."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from voxmix.compute import ComputeSettings
from voxmix.encoders.patches import patchify, unpatchify
from voxmix.grid import Grid
from voxmix.objectives.mae import EvaluationSet, train
from voxmix.objectives.mae.held_out_losses import measure
from voxmix.objectives.mae.padding import (
    existing_in_patches,
    existing_voxels,
    mean_square_of_existing,
    settled_masks,
)
from voxmix.objectives.mae.parameters import draw_parameters
from voxmix.runs import read_run
from voxmix.training.crop_places import corner_of, span_of
from voxmix.training.crops import CropReader
from voxmix.training.draws import DrawPlan
from voxmix.volumes.grids.geometry import Geometry
from voxmix.volumes.preparing.cache import INDEX, PreparedCache, PreparedVolume
from voxmix.volumes.recipe import Recipe

BOXES = {"CT": ((2, 0, 7), (15, 20, 5)), "MR": ((8, 8, 8), (4, 3, 5))}  # of arrays of 20^3, crops of 16^3


@pytest.fixture(scope="module")
def padded(cache, tmp_path_factory) -> PreparedCache:
    """Return the tests' cache with all but a box of each training volume, and of one in two others, padded."""
    root = tmp_path_factory.mktemp("padded")
    (root / "volumes").mkdir()
    volumes = []
    for number, volume in enumerate(cache.volumes):
        array = np.array(cache.array(volume))
        box = BOXES[volume.domain] if volume.split == "train" or number % 2 else None
        if box is not None:
            inside = np.zeros(array.shape, dtype=bool)
            inside[tuple(slice(a, a + n) for a, n in zip(*box, strict=True))] = True
            array[~inside] = 0
        np.save(root / volume.file, array)
        volumes.append(replace(volume, box=box))
    return replace(cache, root=root, volumes=tuple(volumes))


@pytest.fixture(scope="module")
def padded_spec(spec, padded):
    return replace(spec, cache=padded.digest)


@pytest.fixture(scope="module")
def padded_evaluation(padded, model_settings, evaluation_settings):
    return EvaluationSet.build(padded, model=model_settings, evaluation=evaluation_settings)


@pytest.fixture(scope="module")
def padded_run(padded_spec, padded, padded_evaluation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / padded_spec.run_id
    train(padded_spec, cache=padded, evaluation=padded_evaluation, folder=folder, threads=1)
    return folder


def test_without_padding_runs_are_those_of_earlier_versions(finished, spec, cache, evaluation, metrics):
    assert (cache.digest, evaluation.digest) == ("5e587f096a5c9471", "f8abb4d846f08f67")
    assert (spec.run_id, spec.trunk_id) == ("979e2f0d628e1660", "80e5ea4b4f0308b3")
    assert evaluation.span is None
    losses = read_run(finished).losses
    # Bit for bit on one machine; processors add in other orders.
    assert losses["CT"]["loss"] == pytest.approx(0.04449435587351521, rel=1e-5)
    assert losses["MR"]["loss"] == pytest.approx(0.04700373796125253, rel=1e-5)
    assert losses["MR"]["foreground_loss"] == pytest.approx(0.11014873323505242, rel=1e-5)
    assert metrics(finished)[0]["loss"] == pytest.approx(0.058454480022192, rel=1e-6)
    assert metrics(finished)[-1]["loss"] == pytest.approx(0.03745799884200096, rel=1e-5)


def test_with_padding_run_and_evaluation_have_other_names(cache, padded, spec, padded_spec, evaluation):
    same = replace(padded, volumes=tuple(replace(v, box=None) for v in padded.volumes))
    assert same.digest == cache.digest != padded.digest
    assert padded_spec.run_id != spec.run_id
    assert padded_spec.trunk_id != spec.trunk_id


def test_a_cache_of_an_earlier_version_knows_its_padding_from_its_geometry(tmp_path):
    (tmp_path / "volumes").mkdir()
    about = {
        "shape": (30, 20, 10),
        "affine": tuple(tuple(row) for row in np.eye(4).tolist()),
        "axes": (0, 1, 2),
        "flipped": (False, False, False),
        "spacing_mm": 1.0,
        "resampled": (30, 20, 10),
        "start": (5, 0, 0),
        "size": (20, 20, 10),
        "before": (0, 0, 5),
        "padded": (20, 20, 20),
    }
    small = Geometry(**about)
    whole = replace(small, size=(20, 20, 20), before=(0, 0, 0))
    assert (small.box, whole.box) == (((0, 0, 5), (20, 20, 10)), None)
    volumes = []
    for key, geometry in (("a", small), ("b", whole)):
        (tmp_path / f"volumes/{key}.json").write_text(
            json.dumps({"geometry": geometry.as_dict()}), encoding="utf-8"
        )
        volumes.append(
            PreparedVolume(
                key=key,
                domain="CT",
                subject=key,
                split="train",
                shape=(20, 20, 20),
                spacing_mm=1.0,
                file=f"volumes/{key}.npy",
                box=geometry.box,
            )
        )
    known = PreparedCache(root=tmp_path, volumes=tuple(volumes), recipe=Recipe())
    index = json.loads(json.dumps(known.as_dict()))
    (tmp_path / INDEX).write_text(json.dumps(index), encoding="utf-8")
    assert PreparedCache.open(tmp_path).volumes == known.volumes
    for row in index["volumes"]:
        del row["box"]
    (tmp_path / INDEX).write_text(json.dumps(index), encoding="utf-8")
    assert PreparedCache.open(tmp_path).volumes == known.volumes
    assert PreparedCache.open(tmp_path).digest == known.digest


@pytest.mark.parametrize("size", [1, 3, 6, 7, 12])
def test_crops_hold_as_many_voxels_that_exist_as_they_can(size):
    edge, crop = 12, 6
    for begin in range(edge - size + 1):
        first, end = np.full((100, 3), begin), np.full((100, 3), begin + size)
        share = np.repeat(np.linspace(0, 1, 100, endpoint=False)[:, None], 3, axis=1)
        corner = corner_of(share, np.full((100, 3), edge), (crop,) * 3, first=first, end=end)
        span = span_of(corner, (crop,) * 3, first=first, end=end)
        held = [min(begin + size, c + crop) - max(begin, c) for c in range(edge - crop + 1)]
        best = [c for c, count in enumerate(held) if count == max(held)]
        assert sorted(set(corner[:, 0].tolist())) == best
        assert np.all(span[:, 1] - span[:, 0] == max(held))


def test_masks_hide_and_show_something_that_exists_and_are_left_alone_where_they_do():
    rng, crop, patch = np.random.default_rng(3), 12, 4
    grid, tokens, changed, kept = Grid.of(crop, patch), 27, 0, 0
    for seen, _ in itertools.product((1, 7, 26), range(300)):
        begin = rng.integers(0, crop, 3)
        end = np.minimum(begin + rng.integers(1, crop + 1, 3), crop)
        span = np.stack([begin, end])[None]
        order = rng.permutation(tokens)[None]
        found = settled_masks(order, seen, span, grid)
        assert sorted(found[0]) == list(range(tokens))
        cube = np.zeros((1, crop, crop, crop), dtype=np.float32)
        cube[0, begin[0] : end[0], begin[1] : end[1], begin[2] : end[2]] = 1
        assert np.array_equal(existing_voxels(torch.from_numpy(span), grid).numpy(), cube > 0)
        real = patchify(torch.from_numpy(cube), grid)[0].sum(dim=1).numpy() > 0
        assert real[found[0, seen:]].any()
        assert real[found[0, :seen]].any() or real.sum() == 1
        before = real[order[0, seen:]].any() and (real[order[0, :seen]].any() or real.sum() == 1)
        assert np.array_equal(found, order) == before
        assert (found != order).sum() in (0, 2)
        changed, kept = changed + (not before), kept + before
    assert changed > 50
    assert kept > 50


@pytest.mark.parametrize("name", ["mae", "unetr"])
def test_a_measured_loss_is_the_mean_over_masked_voxels_that_exist(
    name, padded, model_settings, evaluation_settings
):
    from voxmix.encoders.networks import build_model

    settings = replace(model_settings, name=name)
    evaluation = EvaluationSet.build(padded, model=settings, evaluation=evaluation_settings)
    model = build_model(settings, domains=2, seed=5).eval()
    losses = measure(model, evaluation, adapters=("CT", "MR"))
    masked = evaluation.order[:, evaluation.visible :]
    with torch.no_grad():
        predicted, _ = model(
            evaluation.crops.float(), evaluation.order[:, : evaluation.visible], masked, evaluation.domain
        )
    patches = torch.full((len(masked), 64, 64), torch.nan)
    for row, hidden in enumerate(masked):
        patches[row, hidden] = predicted[row]
    errors = (unpatchify(patches, Grid.of(16, 4)) - evaluation.crops.float()) ** 2  # NaN where it is seen
    partly = 0
    for d, target in enumerate(evaluation.domains):
        found = []
        for row in torch.where(evaluation.domain == d)[0].tolist():
            a, b = evaluation.span[row].tolist()
            inside = errors[row, a[0] : b[0], a[1] : b[1], a[2] : b[2]].flatten()
            partly += inside.numel() < errors[row].numel()
            found.append(float(inside[~inside.isnan()].mean()))
        assert losses[target].loss == pytest.approx(np.mean(found), rel=1e-5)
    assert 0 < partly < len(masked)


def test_padding_is_no_foreground_and_its_share_does_not_hide_what_is(padded, padded_evaluation):
    for row in range(len(padded_evaluation.crops)):
        outside = ~existing_voxels(padded_evaluation.span[row : row + 1], Grid.of(16, 4))[0]
        assert not padded_evaluation.foreground[row][outside].any()
        assert torch.all(padded_evaluation.crops[row][outside] == 0)


def test_an_evaluation_set_with_padding_survives_its_file(padded_evaluation, tmp_path):
    padded_evaluation.save(tmp_path / "set")
    loaded = EvaluationSet.load(tmp_path / "set")
    assert torch.equal(loaded.span, padded_evaluation.span)
    assert loaded.digest == padded_evaluation.digest


def test_padding_has_no_gradient_and_crops_count_alike():
    span = torch.tensor([[[0, 0, 0], [8, 8, 8]], [[2, 3, 0], [3, 8, 8]]])
    patches = torch.arange(8).repeat(2, 1)
    exists = existing_in_patches(span, patches, Grid.of(8, 4))
    assert exists.sum(dim=(1, 2)).tolist() == [512, 40]
    truth, predicted = torch.zeros(2, 8, 64), torch.ones(2, 8, 64, requires_grad=True)
    loss = mean_square_of_existing(predicted, truth, exists)
    assert loss.tolist() == [1, 1]
    loss.sum().backward()
    assert torch.equal(predicted.grad != 0, exists > 0)
    assert predicted.grad.sum(dim=(1, 2)).tolist() == pytest.approx([2, 2])


def test_a_draw_reads_the_same_crop_alone_and_among_others(padded, padded_spec):
    settings = {"model": padded_spec.model, "training": padded_spec.training, "seed": 11}
    rng = np.random.default_rng(0)
    plan = DrawPlan(
        domains=("CT", "MR"), domain=rng.integers(0, 2, 12), volume=rng.integers(0, 3, 12), seed=11
    )
    reader = CropReader(padded, plan, crop=(16, 16, 16))
    together = draw_parameters(0, 12, **settings)
    crops, span = (
        reader.read(0, together.corner, torch.empty(12, 16, 16, 16)).clone(),
        reader.span(0, together.corner),
    )
    for n in range(12):
        alone = draw_parameters(n, n + 1, **settings)
        assert torch.equal(reader.read(n, alone.corner, torch.empty(1, 16, 16, 16))[0], crops[n])
        assert np.array_equal(reader.span(n, alone.corner)[0], span[n])
        outside = ~existing_voxels(torch.from_numpy(span[n : n + 1]), Grid.of(16, 4))[0]
        assert torch.all(crops[n][outside] == 0)
        size = BOXES[plan.domains[plan.domain[n]]][1]
        assert (span[n, 1] - span[n, 0]).tolist() == [min(edge, 16) for edge in size]


def close(first: Path, second: Path, metrics) -> bool:
    pairs = list(zip(metrics(first), metrics(second), strict=True))
    a, b = read_run(first).losses, read_run(second).losses
    return all(x["loss"] == pytest.approx(y["loss"], rel=1e-4) for x, y in pairs) and all(
        a[name]["loss"] == pytest.approx(b[name]["loss"], rel=1e-3) for name in b
    )


def test_pieces_and_processes_train_the_run_of_whole_batches(
    padded_spec, padded, padded_evaluation, padded_run, tmp_path, metrics
):
    pieces, folder = ComputeSettings(micro_batch=3), tmp_path / padded_spec.run_id
    train(padded_spec, cache=padded, evaluation=padded_evaluation, folder=folder, threads=1, compute=pieces)
    assert close(folder, padded_run, metrics)
    first = metrics(folder)[0], metrics(padded_run)[0]
    assert first[0]["gradient_norm"] == pytest.approx(first[1]["gradient_norm"], rel=1e-5)


@pytest.mark.slow
def test_two_processes_train_the_padded_run_of_one(
    padded_spec, padded, padded_evaluation, padded_run, tmp_path, metrics, train_together
):
    folder = tmp_path / padded_spec.run_id
    train_together(padded_spec, folder, devices=2, prepared=(padded, padded_evaluation), micro_batch=3)
    assert close(folder, padded_run, metrics)


def test_a_padded_run_that_was_killed_ends_as_one_that_was_not(
    padded_spec, padded, padded_evaluation, padded_run, tmp_path, dies_at, same_run
):
    folder = tmp_path / padded_spec.run_id

    often = ComputeSettings(checkpoint_seconds=0.0)
    rest = {"cache": padded, "evaluation": padded_evaluation, "folder": folder, "threads": 1}
    with pytest.raises(RuntimeError, match="killed"):
        train(padded_spec, compute=often, progress=dies_at(48), **rest)
    train(padded_spec, **rest)
    assert same_run(folder, padded_run)


def test_a_unetr_trains_on_padded_volumes(padded_spec, padded, evaluation_settings, tmp_path, metrics):
    spec = replace(padded_spec, model=replace(padded_spec.model, name="unetr"), budget=16)
    found = EvaluationSet.build(padded, model=spec.model, evaluation=evaluation_settings)
    train(spec, cache=padded, evaluation=found, folder=tmp_path / spec.run_id, threads=1)
    assert all(row["loss"] > 0 for row in metrics(tmp_path / spec.run_id))


@pytest.mark.parametrize("name", ["mae", "unetr"])
def test_a_training_loss_is_that_of_a_loop_over_draws_patches_and_voxels(name, padded, padded_spec):
    from lightning_fabric import Fabric

    from voxmix.encoders.networks import build_model
    from voxmix.objectives.mae.views import Batches, plan_run
    from voxmix.training.launchers import cluster_environment
    from voxmix.training.pieces import Piece

    spec = replace(padded_spec, model=replace(padded_spec.model, name=name))
    plan = plan_run(spec, spec.budget, cache=padded)
    alone = cluster_environment(ComputeSettings())
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[alone])
    batches = Batches(spec, plan, cache=padded, fabric=fabric, rows=8)
    batch = batches.read(Piece(first=16, last=24, weight=1.0, start=16, stop=24))
    drawn = draw_parameters(16, 24, model=spec.model, training=spec.training, seed=spec.seed)
    network = build_model(spec.model, domains=2, seed=3)
    predicted, truth = network(batch.crops, batch.visible, batch.masked, batch.domain)
    predicted.retain_grad()
    loss = batch.loss(predicted, truth)
    loss.backward()
    errors = (predicted.detach() - truth).square().numpy()
    per_draw, padding = [], 0
    for row, number in enumerate(range(16, 24)):
        volume = padded.select(plan.domains[plan.domain[number]], "train")[plan.volume[number]]
        window = []  # of every axis: whether each of its voxels in the crop exists
        for axis, (first, size) in enumerate(zip(*volume.box, strict=True)):
            line = np.array([first <= voxel < first + size for voxel in range(20)])
            held = [line[corner : corner + 16].sum() for corner in range(5)]
            best = [corner for corner in range(5) if held[corner] == max(held)]
            corner = best[int(drawn.corner[row, axis] * len(best))]
            window.append(line[corner : corner + 16])
        found = []
        for place, hidden in enumerate(batch.masked[row].tolist()):
            block = np.array(np.unravel_index(hidden, (4, 4, 4))) * 4
            for number_in_patch, voxel in enumerate(itertools.product(range(4), repeat=3)):
                if all(line[a + b] for line, a, b in zip(window, block, voxel, strict=True)):
                    found.append(errors[row, place, number_in_patch])
                else:
                    padding += 1
                    assert predicted.grad[row, place, number_in_patch] == 0
        per_draw.append(np.mean(found))
    batches.close()
    assert padding > 1000
    assert loss.item() == pytest.approx(np.mean(per_draw), rel=1e-5)
