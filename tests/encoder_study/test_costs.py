"""What the features of an encoder take on the disk: as much as what each backbone gives, whatever its family."""

import pytest

pytest.importorskip("torch")

import torch

from voxmix.backbone_rows import BackboneSettings, DavitSettings, VitSettings
from voxmix.encoder_study.costs import feature_bytes
from voxmix.probe_tasks import ProbeTask
from voxmix.probes.encoder import untrained_encoder

VIT = VitSettings(image=28, patch=14, width=24, depth=3, heads=2)
DAVIT = DavitSettings(image=40, dims=(8, 16), depths=(1, 2), heads=(2, 2), window=3)
VOLUMES = VitSettings(image=16, patch=8, width=12, depth=2, heads=2, axes=3)


@pytest.mark.parametrize(("settings", "layers"), [(VIT, 2), (DAVIT, 2), (VOLUMES, 1)])
def test_bytes_of_features_are_those_of_what_a_backbone_gives(
    settings: BackboneSettings, layers: int
) -> None:
    encoder, cases = untrained_encoder(settings), 5
    pixels = torch.zeros(cases, settings.channels, *(settings.image,) * settings.axes)
    found = encoder.backbone.layers(pixels, last=layers)
    top = found[-1]
    pooled = top.cls.float().nbytes + top.patches.mean(dim=1).float().nbytes
    assert pooled > 0
    labels = ProbeTask(kind="labels", labels=("a",))
    assert feature_bytes(encoder, labels, cases=cases, layers=layers) == pooled
    masks = ProbeTask(kind="masks")
    assert feature_bytes(encoder, masks, cases=cases, layers=layers) == pooled + top.patches.half().nbytes
    attention = ProbeTask(kind="labels", labels=("a",), head="attention")
    tokens = sum(each.patches.half().nbytes for each in found)
    assert feature_bytes(encoder, attention, cases=cases, layers=layers) == pooled + tokens
