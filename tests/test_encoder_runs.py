"""Encoder runs by their numbers: what is in the id, what is not, and what is refused."""

import json
from dataclasses import replace

import pytest

from voxmix.backbone_rows import BACKBONES, DavitSettings, VitSettings
from voxmix.encoder_runs import EncoderSpec, Start, ViewSettings
from voxmix.errors import InputError
from voxmix.objective_rows import OBJECTIVES, objective_settings

SMALL = VitSettings(image=32, patch=8, width=48, depth=2, heads=3)


def spec_of(objective: str, **more: object) -> EncoderSpec:
    given = {"backbone": SMALL, "samples": 64, "subset": "s", "seed": 0, "budget": 512, **more}
    return EncoderSpec(objective=objective, objective_settings=objective_settings(objective), **given)


@pytest.mark.parametrize("objective", OBJECTIVES.names())
@pytest.mark.parametrize("backbone", [SMALL, DavitSettings(image=96)])
def test_a_spec_comes_back_from_its_dict_with_its_id(objective: str, backbone: object) -> None:
    spec = spec_of(objective, backbone=backbone, start=Start(name="open", digest="d"))
    again = EncoderSpec.from_dict(json.loads(json.dumps(spec.as_dict())))
    assert again == spec
    assert again.run_id == spec.run_id


def test_what_is_in_the_id() -> None:
    spec = spec_of("dino", start=Start(name="open", digest="d"))
    assert replace(spec, start=Start(name="another name", digest="d")).run_id == spec.run_id
    others = [
        replace(spec, start=Start(name="open", digest="e")),
        replace(spec, start=None),
        replace(spec, subset="t"),
        replace(spec, samples=65),
        replace(spec, seed=1),
        replace(spec, views=ViewSettings(area=(0.4, 1.0))),
        spec_of("clip"),
        spec_of("siglip"),
        spec_of("unicl"),
    ]
    assert len({spec.run_id, *(other.run_id for other in others)}) == 1 + len(others)


def test_settings_of_a_text_transformer_are_no_part_of_an_objective_without_texts() -> None:
    spec = spec_of("dino")
    assert replace(spec, text=replace(spec.text, width=64, heads=4)).run_id == spec.run_id
    spec = spec_of("clip")
    assert replace(spec, text=replace(spec.text, width=64, heads=4)).run_id != spec.run_id


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="needs DinoSettings, got ContrastiveSettings"):
        replace(spec_of("dino"), objective_settings=objective_settings("clip"))
    with pytest.raises(InputError, match="multiple of patch"):
        VitSettings(image=30, patch=8)
    with pytest.raises(InputError, match="use vit for volumes"):
        DavitSettings(axes=3)
    with pytest.raises(InputError, match=r"unknown objective 'dyno'.*dino"):
        objective_settings("dyno")
    with pytest.raises(InputError, match="damaged"):
        EncoderSpec.from_dict(spec_of("dino").as_dict() | {"extra": 1})
    assert set(BACKBONES.names()) >= {"vit", "davit"}
