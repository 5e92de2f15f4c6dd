import numpy as np
import pytest
import torch

from voxmix.design import EvaluationSettings
from voxmix.errors import InputError
from voxmix.pretraining.build import build_model
from voxmix.pretraining.evaluate import EvaluationSet, clustered_standard_error, measure, pictures
from voxmix.pretraining.masking import patchify, take


@pytest.fixture(scope="module")
def evaluation(cache, model_settings, evaluation_settings):
    return EvaluationSet.build(cache, model=model_settings, evaluation=evaluation_settings)


def test_the_set_is_deterministic_and_survives_its_file(
    evaluation, cache, model_settings, evaluation_settings, tmp_path
):
    again = EvaluationSet.build(cache, model=model_settings, evaluation=evaluation_settings)
    evaluation.save(tmp_path / "set.safetensors")
    for other in (again, EvaluationSet.load(tmp_path / "set.safetensors")):
        assert other.digest == evaluation.digest
        assert (other.domains, other.visible) == (evaluation.domains, evaluation.visible)
        for name in ("crops", "foreground", "domain", "volume", "order"):
            assert torch.equal(getattr(other, name), getattr(evaluation, name))
    seeded = EvaluationSettings(crops_per_domain=6, seed=1)
    different = EvaluationSet.build(cache, model=model_settings, evaluation=seeded)
    assert different.digest != evaluation.digest
    assert not torch.equal(different.order, evaluation.order)


def test_crops_are_cut_from_validation_volumes_alone(evaluation, cache):
    for row in range(len(evaluation.crops)):
        name = evaluation.domains[evaluation.domain[row]]
        crop = evaluation.crops[row].numpy()
        edge = crop.shape[0]
        room = range(20 - edge + 1)
        held_out = [np.asarray(cache.array(v)) for v in cache.select(name, "validation")]
        assert any(
            np.array_equal(v[x : x + edge, y : y + edge, z : z + edge], crop)
            for v in held_out
            for x in room
            for y in room
            for z in room
        )


def test_crops_are_spread_over_volumes_and_hold_foreground(evaluation):
    volumes, counts = np.unique(evaluation.volume.numpy(), return_counts=True)
    assert volumes.tolist() == [0, 1, 2, 3]
    assert counts.tolist() == [3, 3, 3, 3]
    assert evaluation.foreground.flatten(1).float().mean(dim=1).min() > 0.1


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
            body = take(patchify(evaluation.foreground[row : row + 1].float(), 4), masked)
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
    swapped = measure(model, evaluation, adapters=("MR", "X"))
    assert swapped["CT"].loss == plain["CT"].loss
    assert swapped["MR"].loss != plain["MR"].loss


def test_standard_error_counts_volumes_not_crops():
    rng = np.random.default_rng(0)
    volume = np.repeat(np.arange(40), 5)
    values = rng.normal(size=40)[volume]  # five equal crops of each volume: 40 facts, not 200
    expected = values[::5].std(ddof=1) / np.sqrt(40)
    assert clustered_standard_error(values, volume) == pytest.approx(expected)
    assert clustered_standard_error(values[:5], volume[:5]) is None


def test_pictures_show_what_was_hidden(evaluation, model_settings):
    model = build_model(model_settings, domains=2, seed=0)
    shown = pictures(model, evaluation, adapters=("CT", "MR"))
    assert shown["domains"].tolist() == ["CT", "MR"]
    for d in range(2):
        original, masked, rebuilt = (shown[f"{d}/{n}"] for n in ("original", "masked", "reconstructed"))
        assert original.shape == (16, 16)
        assert original.dtype == np.float16
        seen = masked != 0
        assert np.array_equal(masked[seen], original[seen])
        assert np.array_equal(rebuilt[seen], original[seen])
        assert original.max() > 0


def test_what_cannot_be_evaluated_is_refused(
    cache, make_cache, model_settings, evaluation_settings, tmp_path
):
    kept = tuple(v for v in cache.volumes if (v.domain, v.split) != ("MR", "validation"))
    trained_only = type(cache)(root=cache.root, volumes=kept, recipe=cache.recipe)
    with pytest.raises(InputError, match="MR has no validation volume"):
        EvaluationSet.build(trained_only, model=model_settings, evaluation=evaluation_settings)
    small = make_cache({"CT": 1}, edge=12)
    with pytest.raises(InputError, match=r"crop is 16 voxels.*shape \(12, 12, 12\)"):
        EvaluationSet.build(small, model=model_settings, evaluation=evaluation_settings)
    (tmp_path / "broken").write_bytes(b"no")
    with pytest.raises(InputError, match="is not an evaluation set"):
        EvaluationSet.load(tmp_path / "broken")
    with pytest.raises(InputError, match="is not an evaluation set"):
        EvaluationSet.load(tmp_path / "absent")
