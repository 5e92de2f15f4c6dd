import json
import re
import shutil
from dataclasses import replace

import pytest
import safetensors.torch
import torch
import yaml

from voxmix._io import read_json, write_json
from voxmix.design import RunSpec
from voxmix.encoders import load_encoder
from voxmix.encoders.networks import build_model
from voxmix.encoders.weight_names import from_timm
from voxmix.errors import InputError
from voxmix.export.encoder import export_encoder
from voxmix.mixture import Mixture
from voxmix.objectives.mae.publish import run_card
from voxmix.run_settings import ModelSettings
from voxmix.training.checkpoint import save_weights

STOCK = ModelSettings(
    crop=32, patch=16, width=24, depth=12, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
)


@pytest.fixture(scope="module")
def run(cache, tmp_path_factory):
    """The checkpoint of a run at MONAI's depth and patch, as training leaves it."""
    folder = tmp_path_factory.mktemp("run")
    spec = RunSpec(mixture=Mixture.from_dict({"CT": 0.5, "MR": 0.5}), budget=8, seed=0, model=STOCK)
    model = build_model(STOCK, domains=2, seed=0)
    save_weights(folder, model, run_card(spec, model, cache, {"CT": 4, "MR": 4}))
    return folder


@pytest.mark.parametrize("names", ["monai-unetr", "monai-vit", "timm"])
def test_an_export_is_loaded_again_whatever_its_names(run, tmp_path, names):
    original = load_encoder(run).weights
    card = export_encoder(run, tmp_path / "hub", names=names)
    again = load_encoder(tmp_path / "hub")
    assert again.card == card
    assert all(torch.equal(again.weights[name], original[name]) for name in original)
    export_encoder(tmp_path / "hub", tmp_path / "other", names="timm")
    state = safetensors.torch.load_file(tmp_path / "other" / "model.safetensors")
    assert all(torch.equal(from_timm(state)[name], original[name]) for name in original)
    adapters = safetensors.torch.load_file(tmp_path / "other" / "adapters.safetensors")
    assert adapters["adapter.weight"].flatten().tolist() == [1, 1]


def test_an_encoder_of_images_keeps_its_axes_in_its_card_and_has_no_hub_page(cache, tmp_path):
    settings = replace(STOCK, axes=2)
    model = build_model(settings, domains=2, seed=0)
    spec = RunSpec(mixture=Mixture.uniform(("CT", "MR")), budget=8, seed=0, model=settings)
    save_weights(tmp_path / "run", model, run_card(spec, model, cache, {"CT": 4, "MR": 4}))
    weights, card = load_encoder(tmp_path / "run")
    assert card["encoder"]["axes"] == 2
    assert all(torch.equal(weights[f"vit.{name}"], t) for name, t in model.encoder.state_dict().items())
    with pytest.raises(InputError, match="is of 2 axes, and an export describes volumes"):
        export_encoder(tmp_path / "run", tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("names", ["monai-unetr", "monai-vit"])
def test_the_readme_s_lines_load_the_weights(run, tmp_path, monkeypatch, names):
    export_encoder(run, tmp_path / "hub", names=names)
    text = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    found: dict = {}
    monkeypatch.chdir(tmp_path / "hub")
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], found)
    network = found["network"]
    encoder = network.vit if names == "monai-unetr" else network
    expected = load_encoder(run).weights["vit.blocks.7.mlp.linear1.weight"]
    assert torch.equal(encoder.blocks[7].mlp.linear1.weight, expected)


def test_the_readme_of_another_depth_builds_our_unetr(cache, model_settings, tmp_path, monkeypatch):
    spec = RunSpec(mixture=Mixture.pure(("CT", "MR"), "MR"), budget=8, seed=0, model=model_settings)
    model = build_model(model_settings, domains=2, seed=0)
    save_weights(tmp_path, model, run_card(spec, model, cache, {"CT": 0, "MR": 8}))
    export_encoder(tmp_path, tmp_path / "hub")
    monkeypatch.chdir(tmp_path / "hub")
    found: dict = {}
    exec(
        re.search(
            r"```python\n(.*?)```", (tmp_path / "hub" / "README.md").read_text(encoding="utf-8"), re.DOTALL
        )[1],
        found,
    )
    kernel = model.encoder.patch_embedding.patch_embeddings.weight
    assert torch.equal(found["network"].vit.patch_embedding.patch_embeddings.weight, kernel)


def test_an_export_says_how_volumes_must_be_prepared(run, tmp_path):
    card = export_encoder(run, tmp_path / "hub", license="apache-2.0")
    assert card["recipe"]["spacing_mm"] == 1.5
    text = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    assert "| CT | clip to percentiles 0.5 to 99.5 of the non-zero voxels, scale to [0, 1] |" in text
    assert "| MR | 50.0% | 4 | not known | not known | not stated |" in text
    assert "## Losses" not in text
    header = yaml.safe_load(text.split("---")[1])
    assert header["license"] == "apache-2.0"
    assert header["library_name"] == "monai"
    config = json.loads((tmp_path / "hub" / "config.json").read_text(encoding="utf-8"))
    assert (config["image_size"], config["hidden_size"], config["intermediate_size"]) == (32, 24, 96)
    assert config["preprocessing"]["intensity"]["CT"] == {"kind": "percentile", "low": 0.5, "high": 99.5}


def test_no_license_is_invented(run, tmp_path):
    export_encoder(run, tmp_path / "hub")
    assert "license" not in yaml.safe_load(
        (tmp_path / "hub" / "README.md").read_text(encoding="utf-8").split("---")[1]
    )


def test_exports_that_cannot_be_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="choose another folder"):
        export_encoder(run, run)
    export_encoder(run, tmp_path / "hub")
    (tmp_path / "hub" / "adapters.safetensors").unlink()
    with pytest.raises(InputError, match=r"no such file: .*adapters\.safetensors"):
        export_encoder(tmp_path / "hub", tmp_path / "other")


def test_the_model_card_has_amounts_losses_licenses_limits_and_what_to_cite(run, tmp_path):
    result = {
        "losses": {"CT": {"loss": 0.0213, "loss_se": 0.0007}, "MR": {"loss": 0.0456, "loss_se": 0.0012}},
        "volumes": {"CT": 1200, "MR": 30},
        "unique_volumes": {"CT": 4, "MR": 3},
        "machine": "of the lab",
    }
    shutil.copytree(run, tmp_path / "run")
    write_json(tmp_path / "run" / "result.json", result)
    export_encoder(tmp_path / "run", tmp_path / "hub", data_license=["CT=CC-BY-4.0"])
    export_encoder(tmp_path / "hub", tmp_path / "again", names="timm")  # what is known stays known
    for folder in ("hub", "again"):
        text = (tmp_path / folder / "README.md").read_text(encoding="utf-8")
        assert "| CT | 50.0% | 4 | 1,200 | 4 | CC-BY-4.0 |" in text
        assert "| MR | 50.0% | 4 | 30 | 3 | not stated |" in text
        assert "| CT | 0.0213 | 0.0007 |" in text
        assert "It is no medical device" in text
        assert "It saw volumes of CT, MR, 8 draws in all" in text
        assert "arXiv 2605.06859" in text
        assert "of the lab" not in text + json.dumps(read_json(tmp_path / folder / "card.json"))


@pytest.mark.parametrize(("stated", "told"), [("CC0", "DOMAIN=LICENSE"), ("CR=CC0", "no domain 'CR'")])
def test_a_license_of_no_domain_is_refused(run, tmp_path, stated, told):
    with pytest.raises(InputError, match=told):
        export_encoder(run, tmp_path / "hub", data_license=[stated])
    assert not (tmp_path / "hub").exists()
