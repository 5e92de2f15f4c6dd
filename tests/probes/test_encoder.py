"""Encoders of any origin give the features that they gave where they were trained."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from voxmix._io import file_digest
from voxmix.backbone_rows import VitSettings
from voxmix.encoder_runs import TextSettings
from voxmix.encoders.backbone import build_backbone
from voxmix.encoders.contract import Contract
from voxmix.encoders.mae import Encoder
from voxmix.encoders.patches import patchify
from voxmix.encoders.text import build_text_encoder
from voxmix.errors import InputError
from voxmix.images.recipe import ImageRecipe
from voxmix.probe_tasks import JudgedEncoder, ProbeSettings, ProbeTask
from voxmix.probes.data import ProbeData
from voxmix.probes.encoder import check_fits, load_encoder, scaled
from voxmix.probes.features import FeatureStore
from voxmix.probes.judge import judge
from voxmix.probes.task_cases import probe_data
from voxmix.run_settings import ModelSettings, identity
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.recipe import Recipe

COIN = ProbeTask(kind="labels", labels=("coin",))
SMALL = VitSettings(image=16, patch=8, width=12, depth=2, heads=2)


def card_of(folder: Path, weights: dict[str, torch.Tensor], **more: Any) -> Path:
    """Write weights and their card, as a run does."""
    folder.mkdir()
    safetensors.torch.save_file(
        {name: value.contiguous() for name, value in weights.items()}, folder / "weights.safetensors"
    )
    card = {
        "kind": "checkpoint",
        "format": 1,
        "weights": "weights.safetensors",
        "weights_sha256": file_digest(folder / "weights.safetensors"),
        "recipe": {},
        **more,
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def run_of(folder: Path, settings: VitSettings = SMALL, **more: Any) -> Path:
    """Write a run of an encoder study."""
    backbone = build_backbone(settings, 3)
    weights = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    given = {
        "encoder": {"name": settings.name, **identity(settings)},
        "encoder_prefix": "backbone.",
        "text": None,
    }
    return card_of(folder, weights, **given, **more)


@pytest.mark.parametrize("axes", [2, 3])
def test_an_encoder_of_a_mixture_study_sees_the_middle_at_the_spacing_of_its_volumes(
    axes: int, make_pictures: Any, store_folder: Path, tmp_path: Path
) -> None:
    settings = ModelSettings(crop=16, patch=8, width=24, depth=2, heads=3, axes=axes)  # type: ignore[arg-type]
    torch.manual_seed(0)
    encoder = Encoder(settings).eval()
    folder = card_of(
        tmp_path / "run",
        {f"encoder.{name}": value for name, value in encoder.state_dict().items()},
        encoder=dataclasses.asdict(settings),
        encoder_prefix="encoder.",
    )
    loaded = load_encoder(folder)
    assert loaded.native
    assert loaded.axes == axes
    data = probe_data(COIN, "coin", make_pictures(6, axes=axes))  # 16 by 20 (by 16)
    found = FeatureStore(store_folder).features(loaded, data)
    crops = torch.from_numpy(np.stack([data.pixels(case)[:, 2:18] for case in data.cases]))
    grid = settings.grid
    with torch.no_grad():
        expected = encoder(patchify(crops, grid), torch.arange(grid.patches).expand(len(crops), -1)).mean(
            dim=1
        )
    assert np.allclose(found.mean[:, 0], expected.numpy(), atol=1e-4)
    assert np.allclose(found.cls[:, 0], expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_run_of_an_encoder_study_is_judged_like_any(axes: int, make_pictures: Any, tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", dataclasses.replace(SMALL, axes=axes))
    loaded = load_encoder(folder)
    assert not loaded.native
    data = probe_data(ProbeTask(kind="labels", labels=("bright",)), "bright", make_pictures(30, axes=axes))
    found = judge(
        data,
        loaded,
        JudgedEncoder(name="run", encoder=loaded.digest, objective="dino", samples=4),
        store=FeatureStore(tmp_path / "f"),
        folder=tmp_path / "p",
        settings=ProbeSettings(penalties=(1e-2,)),
    ).result
    scores = [(case.truth["bright"], case.score["bright"]) for case in found.cases]  # type: ignore[union-attr]
    assert min(s for t, s in scores if t) > max(s for t, s in scores if not t)


def test_open_weights_are_judged_as_their_library_would(
    make_pictures: Any, store_folder: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        image_size=28, patch_size=14, hidden_size=24, num_hidden_layers=2, num_attention_heads=3
    )
    torch.manual_seed(0)
    theirs = transformers.Dinov2Model(config).eval()
    theirs.save_pretrained(tmp_path / "open")
    processor = {
        "size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}, "do_center_crop": True, "do_resize": True,
        "do_rescale": True, "do_normalize": True, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3], "resample": 3,
        "rescale_factor": 1 / 255,
    }  # fmt: skip
    (tmp_path / "open" / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    made = getattr(transformers, "BitImageProcessorPil", None) or transformers.BitImageProcessor
    prepare = made(**processor)
    data = probe_data(COIN, "coin", make_pictures(4))
    films = [np.rint(data.pixels(case) * 255).clip(0, 255).astype(np.uint8) for case in data.cases]
    inputs = prepare([np.stack([film] * 3, axis=-1) for film in films], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = theirs(pixel_values=inputs).last_hidden_state
    loaded = load_encoder(tmp_path / "open")
    found = FeatureStore(store_folder).features(loaded, data)
    assert np.allclose(found.cls[:, 0], expected[:, 0].numpy(), atol=1e-4)
    assert np.allclose(found.mean[:, 0], expected[:, 1:].mean(dim=1).numpy(), atol=1e-4)
    smaller = load_encoder(tmp_path / "open", image=14)
    assert (smaller.contract.image, smaller.contract.shorter_side) == (14, 16)
    assert smaller.digest != loaded.digest


def test_a_contract_keeps_the_part_of_the_image_that_is_seen() -> None:
    contract = Contract(image=224, shorter_side=256, channels=1, mean=(0.0,), std=(1.0,))
    assert scaled(contract, 224) is contract
    assert (scaled(contract, 112).image, scaled(contract, 112).shorter_side) == (112, 128)


def test_the_text_side_comes_with_both_projections(tmp_path: Path) -> None:
    text = TextSettings(width=12, depth=1, heads=2, context=8, vocabulary=30)
    backbone, encoder = build_backbone(SMALL, 0), build_text_encoder(text, 0)
    weights = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    weights |= {f"text.{name}": value for name, value in encoder.state_dict().items()}
    weights |= {f"{side}_projection.weight": torch.rand(6, 12) for side in ("image", "text")}
    weights["logit_scale"] = torch.tensor(1.0)
    folder = card_of(
        tmp_path / "run",
        weights,
        encoder={"name": "vit", **identity(SMALL)},
        encoder_prefix="backbone.",
        text=dataclasses.asdict(text),
        tokenizer="words",
    )
    side = load_encoder(folder).text
    assert side is not None
    assert side.tokenizer == "words"
    assert side.image_projection.shape == (6, 12)
    tokens = torch.tensor([[1, 5, 7, 2]])
    with torch.no_grad():
        assert torch.equal(side.encoder(tokens), encoder.eval()(tokens))
    assert load_encoder(run_of(tmp_path / "other")).text is None


def test_a_folder_that_holds_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_encoder(tmp_path / "nowhere")
    with pytest.raises(InputError):
        load_encoder(tmp_path)


def _with_recipe(data: ProbeData, recipe: Any) -> ProbeData:
    class Prepared:
        def __init__(self) -> None:
            self.recipe, self.axes = recipe, data.axes

    return dataclasses.replace(data, source=Prepared())


def test_images_of_another_window_are_said(make_pictures: Any, tmp_path: Path) -> None:
    loaded = load_encoder(run_of(tmp_path / "run", recipe=ImageRecipe(pixels=40).as_dict()))
    data = probe_data(COIN, "coin", make_pictures(4))
    assert check_fits(loaded, _with_recipe(data, ImageRecipe(pixels=64))) == ()
    (note,) = check_fits(loaded, _with_recipe(data, ImageRecipe(pixels=40, high=90.0)))
    assert "high 90.0 (the encoder's: 99.0)" in note


def test_volumes_of_another_spacing_are_refused(make_pictures: Any, tmp_path: Path) -> None:
    rule = {"A": IntensityRule(kind="window", low=0, high=1)}
    recipe = Recipe(spacing_mm=2.0, min_shape=(16, 16, 16), intensity={**rule, "B": rule["A"]})
    folder = run_of(tmp_path / "run", dataclasses.replace(SMALL, axes=3), recipe=recipe.as_dict())
    data = probe_data(COIN, "coin", make_pictures(4, axes=3))
    assert check_fits(load_encoder(folder), _with_recipe(data, recipe)) == ()
    with pytest.raises(InputError, match=r"spacing_mm is 1\.5, the encoder's 2\.0"):
        check_fits(load_encoder(folder), _with_recipe(data, dataclasses.replace(recipe, spacing_mm=1.5)))


def test_the_page_on_probes_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import PIL.Image

    from voxmix.images.finding import find_images
    from voxmix.images.prepare import prepare_images

    page = Path(__file__).resolve().parents[2] / "docs" / "concepts" / "probes.md"
    if not page.exists():
        pytest.skip("there are no docs beside the tests")
    rng = np.random.default_rng(0)
    (tmp_path / "films").mkdir()
    rows = ["image,person,split,bright"]
    for number in range(24):
        pixels = rng.integers(0, 60, (20, 20), dtype=np.uint8)
        pixels[5:9, 5:9] = 250
        pixels[12:18, 4:16] += np.uint8(150 * (number % 2))
        PIL.Image.fromarray(pixels).save(tmp_path / "films" / f"{number}.png")
        rows.append(f"{number}.png,p{number},{'validation' if number < 8 else 'train'},{number % 2}")
    (tmp_path / "films" / "films.csv").write_text("\n".join(rows), encoding="utf-8")
    prepare_images(find_images(tmp_path / "films"), tmp_path / "cache", ImageRecipe(pixels=20))
    run_of(tmp_path / "encoder")
    monkeypatch.chdir(tmp_path)
    block, *_ = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(block, {})
    assert "AUROC 1.000" in capsys.readouterr().out
    assert (tmp_path / "probes" / "findings" / "mine" / "seed-0" / "result.json").is_file()
