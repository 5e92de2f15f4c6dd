"""Crops: the policy of MONAI's RandCropByPosNegLabeld, a pure function of (seed, draw)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from voxmix.datasets.table import tasks_of_sets
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.protocol import FinetuneSettings, Protocol
from voxmix.downstream.transforms import CropSource, centered, change, to_regions
from voxmix.run_settings import ModelSettings

MakeProtocol = Callable[..., Protocol]


def test_a_draw_does_not_depend_on_its_batch(cases: CaseSet, protocol_of: MakeProtocol) -> None:
    source = CropSource(cases, protocol_of(cases), seed=3)
    whole, labels = source.batch(0, 12)
    for start, stop in ((0, 5), (5, 12)):
        part, part_labels = CropSource(cases, protocol_of(cases), seed=3).batch(start, stop)
        assert torch.equal(part, whole[start:stop])
        assert torch.equal(part_labels, labels[start:stop])
    other, _ = CropSource(cases, protocol_of(cases), seed=4).batch(0, 12)
    assert not torch.equal(other, whole)


def test_every_case_is_seen_once_before_any_is_seen_again(cases: CaseSet, protocol_of: MakeProtocol) -> None:
    source = CropSource(cases, protocol_of(cases, draws=2 * 3 * len(cases.part("train"))), seed=0)
    rounds = source._order.reshape(3, -1)
    assert all(sorted(visits) == list(range(len(source.train))) for visits in rounds)


@pytest.mark.parametrize(("pos", "neg"), [(4, 1), (1, 1), (0, 1), (1, 0)])
def test_centers_are_labeled_as_often_as_asked(
    cases: CaseSet, pos: float, neg: float, model_settings: ModelSettings
) -> None:
    """Equal to MONAI's transform in distribution: share of labeled centers, before crops are moved inside."""
    from monai.transforms import RandCropByPosNegLabel

    task = replace(cases.task, pos=pos, neg=neg)
    small = replace(model_settings, crop=4)  # small crops are hardly moved
    protocol = Protocol(task=task, model=small, cases="", settings=FinetuneSettings(draws=600))
    labels = np.asarray(cases.labels(cases.part("train")[0]))
    source = CropSource(cases, protocol, seed=0)
    numbers = source.numbers(0, 600)
    inside = np.flatnonzero(labels)
    ours = [labels[source._window(u, labels, inside, n)][2, 2, 2] > 0 for n, u in enumerate(numbers)]
    theirs = RandCropByPosNegLabel(
        spatial_size=4, label=torch.from_numpy(labels[None]), pos=pos, neg=neg, num_samples=600
    )
    theirs.set_random_state(0)
    reference = [bool(crop[0, 2, 2, 2] > 0) for crop in theirs(torch.from_numpy(labels[None]))]
    assert np.mean(ours) == pytest.approx(pos / (pos + neg), abs=0.06)
    assert np.mean(ours) == pytest.approx(np.mean(reference), abs=0.09)


def test_an_empty_label_map_still_gives_crops(cases: CaseSet, protocol_of: MakeProtocol) -> None:
    source = CropSource(cases, protocol_of(cases), seed=0)
    labels = np.zeros((20, 20, 20), np.uint8)
    window = source._window(np.zeros(12), labels, np.zeros(0, np.int64), 0)
    assert labels[window].shape == (16, 16, 16)


def test_without_change_crops_stay_as_they_are(cases: CaseSet, protocol_of: MakeProtocol) -> None:
    protocol = protocol_of(cases, shift=0.0, rotation=0.0, scale=0.0)
    source = CropSource(cases, protocol, seed=0)
    images, labels = source.batch(0, 3)
    same, same_labels = change(images, labels, source.numbers(0, 3), protocol)
    assert torch.equal(same, images)
    assert torch.equal(same_labels, labels)


def test_image_and_labels_move_together(cases: CaseSet, protocol_of: MakeProtocol) -> None:
    protocol = protocol_of(cases, shift=0.0, rotation=30.0, scale=0.3)
    source = CropSource(cases, protocol, seed=0)
    _, labels = source.batch(0, 8)
    moved, moved_labels = change(labels.unsqueeze(1).float(), labels, source.numbers(0, 8), protocol)
    assert not torch.equal(moved_labels, labels)
    assert set(moved_labels.unique().tolist()) <= {0, 1, 2}
    agree = (moved.squeeze(1).round() == moved_labels.float()).float().mean()
    assert agree > 0.97


def test_rotation_is_about_the_long_axis(cases: CaseSet, protocol_of: MakeProtocol) -> None:
    """A column along z (the last axis) through the middle stays where it is; one along x does not."""
    protocol = protocol_of(cases, shift=0.0, rotation=80.0, scale=0.0)
    bars = torch.zeros(1, 1, 16, 16, 16)
    bars[..., 7:9, 7:9, :] = 1
    numbers = np.full((1, 12), 0.99)
    numbers[:, 4:8] = (1.0, 0.5, 0.0, 1.0)
    along_z, _ = change(bars, torch.zeros(1), numbers, protocol)
    along_x, _ = change(bars.permute(0, 1, 4, 2, 3), torch.zeros(1), numbers, protocol)
    assert along_z[0, 0, 7:9, 7:9, :].min() > 0.8
    assert along_x[0, 0, 0, 7:9, 7:9].max() < 0.2


def test_an_image_moves_as_a_volume_that_is_the_same_along_its_long_axis(
    cases: CaseSet, protocol_of: MakeProtocol
) -> None:
    protocol = protocol_of(cases, shift=0.2, rotation=40.0, scale=0.3)
    images = torch.rand(6, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    labels = (images[:, 0] * 3).to(torch.uint8)
    numbers = np.random.default_rng(1).random((6, 12))
    flat, flat_labels = change(images, labels, numbers, protocol)
    deep, deep_labels = change(
        images.unsqueeze(-1).expand(-1, -1, -1, -1, 12),
        labels.unsqueeze(-1).expand(-1, -1, -1, 12),
        numbers,
        protocol,
    )
    assert not torch.allclose(flat, images)
    torch.testing.assert_close(flat, deep[..., 6], rtol=1e-4, atol=1e-5)
    assert torch.equal(flat_labels, deep_labels[..., 6])


def test_shift_is_bounded(cases: CaseSet, protocol_of: MakeProtocol) -> None:
    protocol = protocol_of(cases, shift=0.1, shift_probability=1.0, affine_probability=0.0)
    numbers = np.random.default_rng(0).random((200, 12))
    shifted, _ = change(torch.zeros(200, 1, 2, 2, 2), torch.zeros(200), numbers, protocol)
    assert shifted.abs().max() <= 0.1
    assert shifted.amin() < -0.09
    assert shifted.amax() > 0.09


def test_brats_regions_of_label_triples(model_settings: ModelSettings) -> None:
    """NCR 1, ED 2, ET 3: whole tumor is all three, the core 1 and 3, enhancing 3 alone."""
    brats = next(task for task in tasks_of_sets() if task.name == "brats-t1")
    protocol = Protocol(task=brats, model=model_settings, cases="")
    labels = torch.tensor([0, 1, 2, 3], dtype=torch.uint8).view(1, 1, 1, 4)
    masks = to_regions(labels, protocol)[0, :, 0, 0]
    whole, core, enhancing = masks.tolist()
    assert whole == [0, 1, 1, 1]
    assert core == [0, 1, 0, 1]
    assert enhancing == [0, 0, 0, 1]
    assert tuple(brats.classes) == ("whole tumor", "tumor core", "enhancing tumor")


def test_brats_regions_equal_monai_on_the_older_labels(model_settings: ModelSettings) -> None:
    from monai.transforms import ConvertToMultiChannelBasedOnBratsClasses

    brats = next(task for task in tasks_of_sets() if task.name == "brats-t1")
    labels = torch.randint(0, 4, (1, 5, 5, 5), generator=torch.Generator().manual_seed(0))
    ours = to_regions(labels, Protocol(task=brats, model=model_settings, cases=""))[0]
    older = torch.where(labels == 3, 4, labels)
    core, whole, enhancing = ConvertToMultiChannelBasedOnBratsClasses()(older).float()
    assert torch.equal(ours, torch.stack([whole, core, enhancing]))


def test_views_are_the_middle() -> None:
    image = np.arange(6**3).reshape(6, 6, 6)
    assert np.array_equal(centered(image, (2, 2, 2)), image[2:4, 2:4, 2:4])
    assert np.array_equal(centered(image[0, :, :5], (4, 1)), image[0, 1:5, 2:3])
