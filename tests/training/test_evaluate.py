import hashlib

import numpy as np
import pytest
import torch

from voxmix.errors import InputError
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.run_settings import EvaluationSettings


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


def test_a_set_keeps_its_digest_its_masks_and_its_crops(evaluation):
    # As voxmix made them on 2026-11-28: losses that exist were measured on them. Never edit them here.
    assert evaluation.digest == "f8abb4d846f08f67"
    assert hashlib.sha256(evaluation.order.numpy().tobytes()).hexdigest()[:16] == "c861ca0ab2e83096"
    assert hashlib.sha256(evaluation.crops.numpy().tobytes()).hexdigest()[:16] == "75cdd27d7df33068"


def test_a_set_has_the_same_bytes_whenever_it_is_saved(evaluation, tmp_path):
    path = tmp_path / "set.safetensors"
    written = set()
    for _ in range(20):
        evaluation.save(path)
        written.add(path.read_bytes())
    assert len(written) == 1
    EvaluationSet.load(path).save(path)
    assert {path.read_bytes()} == written


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
