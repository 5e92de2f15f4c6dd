import json

import pytest
import safetensors.torch
import torch
from monai.networks.nets import UNETR, ViT

from voxmix.design import ModelSettings, RunSpec
from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.pretraining import EvaluationSet, interchange, load_encoder, train
from voxmix.pretraining.build import build_model
from voxmix.pretraining.masking import patchify
from voxmix.pretraining.model import Encoder

SETTINGS = ModelSettings(
    crop=32, patch=16, width=24, depth=12, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
)


@pytest.fixture(scope="module")
def weights():
    return build_model(SETTINGS, domains=1, seed=0).encoder.state_dict()


def stock_unetr():
    return UNETR(1, 2, img_size=32, feature_size=4, hidden_size=24, mlp_dim=96, num_heads=2)


def test_weights_go_to_monai_and_back_unchanged(weights):
    for line in ("1.3", "1.4", "1.5", "1.6"):
        for prefix in ("", "vit."):
            back = interchange.from_monai(interchange.to_monai(weights, line=line, prefix=prefix))
            assert back.keys() == weights.keys()
            assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_weights_go_to_timm_and_back_unchanged(weights):
    there = interchange.to_timm(weights)
    assert {
        "patch_embed.proj.weight",
        "pos_embed",
        "blocks.0.attn.proj.bias",
        "blocks.11.mlp.fc2.weight",
    } <= set(there)
    assert {"norm.weight", "blocks.3.attn.qkv.weight"} <= set(there)
    back = interchange.from_timm(there)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_the_installed_unetr_takes_the_encoder_by_its_keys(weights):
    unetr = stock_unetr()
    before = {name: tensor.clone() for name, tensor in unetr.state_dict().items()}
    state = interchange.to_monai(weights, line="1.6", prefix="vit.")
    rest = {name: tensor for name, tensor in before.items() if not name.startswith("vit.")}
    unetr.load_state_dict({**rest, **state}, strict=True)
    volume = torch.rand(1, 1, 32, 32, 32, dtype=torch.float64)
    encoder = Encoder(SETTINGS)
    interchange.load_strict(encoder, weights)
    unetr.double()
    encoder.double()
    everything = torch.arange(8).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(unetr.vit(volume)[0], encoder(patchify(volume[:, 0], 16), everything))


def test_a_stock_vit_is_read(weights):
    vit = ViT(1, (32, 32, 32), (16, 16, 16), hidden_size=24, mlp_dim=96, num_layers=12, num_heads=2)
    encoder = Encoder(SETTINGS)
    interchange.load_strict(encoder, interchange.from_monai(vit.state_dict()))
    assert torch.equal(encoder.blocks[5].attn.qkv.weight, vit.blocks[5].attn.qkv.weight)


def test_weights_that_do_not_fit_are_refused_by_name_and_nothing_changes(weights):
    other = Encoder(ModelSettings(crop=48, patch=16, width=24, depth=12, heads=2))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    wrong = {name: tensor for name, tensor in weights.items() if name != "norm.bias"}
    with pytest.raises(
        InputError,
        match=r"Missing: \['norm.bias'\].*Unexpected: \['extra'\].*position_embeddings is \(1, 8, 24\).*\(1, 27, 24\)",
    ):
        interchange.load_strict(other, {**wrong, "extra": torch.zeros(1)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_an_exported_encoder_says_how_volumes_must_be_prepared(
    cache, model_settings, training_settings, evaluation_settings, tmp_path
):
    spec = RunSpec(
        mixture=Mixture.from_dict({"CT": 0.5, "MR": 0.5}),
        budget=8,
        seed=0,
        model=model_settings,
        training=training_settings,
        evaluation=evaluation_settings,
    )
    evaluation = EvaluationSet.build(cache, model=model_settings, evaluation=evaluation_settings)
    train(spec, cache=cache, evaluation=evaluation, folder=tmp_path / "run", threads=1)
    original = load_encoder(tmp_path / "run").weights
    card = interchange.export_encoder(tmp_path / "run", tmp_path / "hub", names="timm")
    state = safetensors.torch.load_file(tmp_path / "hub" / "model.safetensors")
    assert all(torch.equal(interchange.from_timm(state)[name], original[name]) for name in original)
    assert json.loads((tmp_path / "hub" / "card.json").read_text()) == card
    assert card["recipe"]["spacing_mm"] == 1.5
    text = (tmp_path / "hub" / "README.md").read_text()
    assert "| CT | percentile | 0.5 | 99.5 |" in text
    assert "| MR | 50.0% | 4 |" in text
    with pytest.raises(InputError, match=r"prefix 'vit\.' is for MONAI's names only"):
        interchange.export_encoder(tmp_path / "run", tmp_path / "hub", names="timm", prefix="vit.")
