import numpy as np
import pytest
import torch
from PIL import Image

from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.encoders.networks import build_model
from voxmix.encoders.patches import patchify, take
from voxmix.grid import Grid
from voxmix.mixture import Mixture
from voxmix.objectives.mae import train
from voxmix.objectives.mae.held_out_losses import clustered_standard_error, measure
from voxmix.objectives.mae.reconstructions import save_reconstructions
from voxmix.runs import read_run


def test_losses_equal_those_computed_by_hand(evaluation, model_settings):
    model = build_model(model_settings, domains=2, seed=0)
    losses = measure(model, evaluation, adapters=("CT", "MR"))
    for d, name in enumerate(evaluation.domains):
        errors, inside, voxels = [], 0.0, 0.0
        for row in torch.where(evaluation.domain == d)[0].tolist():
            order = evaluation.order[row : row + 1]
            visible, masked = order[:, : evaluation.visible], order[:, evaluation.visible :]
            crop = evaluation.crops[row : row + 1].float()
            with torch.no_grad():
                predicted, truth = model(crop, visible, masked, torch.tensor([d]))
            error = (predicted - truth).square()
            errors.append(error.mean().item())
            body = take(patchify(evaluation.foreground[row : row + 1].float(), Grid.of(16, 4)), masked)
            inside += (error * body).sum().item()
            voxels += body.sum().item()
        assert losses[name].loss == pytest.approx(np.mean(errors), rel=1e-5)
        assert losses[name].foreground_loss == pytest.approx(inside / voxels, rel=1e-5)
        assert (losses[name].crops, losses[name].volumes) == (6, 2)


def test_a_target_is_served_by_its_own_adapter_or_the_identity(evaluation, model_settings):
    model = build_model(model_settings, domains=2, seed=0)
    plain = measure(model, evaluation, adapters=("CT", "MR"))
    with torch.no_grad():
        model.adapter.weight[0] = 3.0
    own = measure(model, evaluation, adapters=("CT", "MR"))
    assert own["CT"].loss != plain["CT"].loss
    assert own["MR"].loss == plain["MR"].loss
    assert (own["CT"].adapter, own["MR"].adapter) == ("CT", "MR")
    swapped = measure(model, evaluation, adapters=("MR", "X"))
    assert swapped["CT"].loss == plain["CT"].loss
    assert swapped["MR"].loss != plain["MR"].loss
    assert (swapped["CT"].adapter, swapped["MR"].adapter) == (None, "MR")


def test_standard_error_counts_volumes_not_crops():
    rng = np.random.default_rng(0)
    volume = np.repeat(np.arange(40), 5)
    values = rng.normal(size=40)[volume]  # five equal crops of each volume: 40 facts, not 200
    expected = values[::5].std(ddof=1) / np.sqrt(40)
    assert clustered_standard_error(values, volume) == pytest.approx(expected)
    assert clustered_standard_error(values[:5], volume[:5]) is None


def test_a_pure_run_is_measured_with_the_target_s_and_with_the_source_s_adapter(evaluation, model_settings):
    model = build_model(model_settings, domains=2, seed=0)
    drawn = {"CT": 0, "MR": 8}
    start = measure(model, evaluation, adapters=("CT", "MR"), drawn=drawn, source="MR")
    for loss in start.values():  # all adapters are the identity still
        assert loss.source_adapter_loss == loss.loss
    with torch.no_grad():
        model.adapter.weight.copy_(torch.tensor([9.0, 2.0]).view_as(model.adapter.weight))
    losses = measure(model, evaluation, adapters=("CT", "MR"), drawn=drawn, source="MR")
    assert (losses["CT"].adapter, losses["MR"].adapter) == (None, "MR")
    assert losses["CT"].loss == start["CT"].loss  # no draw trained it, so the identity serves
    assert losses["MR"].source_adapter_loss == losses["MR"].loss != start["MR"].loss
    swapped = measure(model, evaluation, adapters=("X", "CT"))  # CT served by the second adapter
    assert losses["CT"].source_adapter_loss == pytest.approx(swapped["CT"].loss, rel=1e-6)
    several = measure(model, evaluation, adapters=("CT", "MR"), drawn={"CT": 4, "MR": 4})
    assert {loss.source_adapter_loss for loss in several.values()} == {None}


def test_pictures_show_what_was_hidden(evaluation, model_settings, tmp_path):
    model = build_model(model_settings, domains=2, seed=0)
    save_reconstructions(model, evaluation, tmp_path, adapters=("CT", "MR"))
    shown = np.load(tmp_path / "pictures.npz", allow_pickle=False)
    assert shown["domains"].tolist() == ["CT", "MR"]
    for d, name in enumerate(("CT", "MR")):
        original, masked, rebuilt = (shown[f"{d}/{n}"] for n in ("original", "masked", "reconstructed"))
        assert original.shape == (16, 16)
        assert original.dtype == np.float16
        seen = masked != 0
        assert np.array_equal(masked[seen], original[seen])
        assert np.array_equal(rebuilt[seen], original[seen])
        assert original.max() > 0
        sheet = np.asarray(Image.open(tmp_path / f"picture-{name}.png"))
        assert sheet.shape == (20 + 3 * 256 + 12, 3 * 256 + 12, 3)
        first, second, third = (sheet[20:276:16, x : x + 256 : 16] for x in (0, 262, 524))
        assert np.ptp(first.astype(int), axis=2).max() == 0  # gray
        upright = np.rot90(original.astype(float))
        order = np.argsort(upright, axis=None)
        assert (np.diff(first[:, :, 0].astype(int).flatten()[order]) >= 0).all()
        hidden = (second == (64, 96, 160)).all(axis=2)
        assert 0 < hidden.mean() < 1
        assert np.array_equal(second[~hidden], first[~hidden])
        assert np.array_equal(third[~hidden], first[~hidden])


def test_a_finished_run_says_which_adapter_served_and_keeps_no_picture_if_told_so(
    evaluation, cache, model_settings, training_settings, evaluation_settings, tmp_path
):
    spec = RunSpec(
        mixture=Mixture.pure(("CT", "MR"), "MR"),
        budget=24,
        seed=0,
        model=model_settings,
        training=training_settings,
        evaluation=evaluation_settings,
    )
    folder = tmp_path / spec.run_id
    compute = ComputeSettings(device="cpu", pictures=False, trackers=())
    train(spec, cache=cache, evaluation=evaluation, folder=folder, compute=compute, threads=1)
    assert not [path.name for path in folder.iterdir() if "picture" in path.name]
    losses = read_run(folder).losses
    assert (losses["CT"]["adapter"], losses["MR"]["adapter"]) == (None, "MR")
    assert losses["MR"]["source_adapter_loss"] == losses["MR"]["loss"]
    assert (
        losses["CT"]["source_adapter_loss"] != losses["CT"]["loss"]
    )  # MR's adapter has moved from the identity
    assert losses["CT"]["source_adapter_loss"] == pytest.approx(losses["CT"]["loss"], rel=0.2)
