import json
import subprocess
import sys
import zipfile

import pytest
import torch
from monai.networks.nets import UNETR, ViT

from voxmix._io import file_digest
from voxmix.design import RunSpec
from voxmix.encoders import interchange, load_encoder, weight_names
from voxmix.encoders.mae import Encoder
from voxmix.encoders.networks import build_model
from voxmix.encoders.unetr import Unetr, build_unetr
from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.objectives.mae import EvaluationSet, train
from voxmix.run_settings import ModelSettings
from voxmix.runs.cards import read_card
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.preparing.same_preprocessing import check_preprocessing
from voxmix.volumes.recipe import Recipe

SETTINGS = ModelSettings(
    crop=32, patch=16, width=24, depth=12, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
)


@pytest.fixture(scope="module")
def weights():
    return weight_names.prefixed(build_model(SETTINGS, domains=1, seed=0).encoder.state_dict())


@pytest.fixture(scope="module")
def run(cache, model_settings, training_settings, evaluation_settings, tmp_path_factory):
    spec = RunSpec(
        mixture=Mixture.from_dict({"CT": 0.5, "MR": 0.5}),
        budget=8,
        seed=0,
        model=model_settings,
        training=training_settings,
        evaluation=evaluation_settings,
    )
    folder = tmp_path_factory.mktemp("runs") / spec.run_id
    evaluation = EvaluationSet.build(cache, model=model_settings, evaluation=evaluation_settings)
    train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    return folder


def copied(run, folder, **changes):
    """Return a copy of a run's weights and card, the card with changes."""
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes((run / "weights.safetensors").read_bytes())
    card = {**json.loads((run / "card.json").read_text(encoding="utf-8")), **changes}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def stock_unetr(**changes):
    options = {"img_size": 32, "feature_size": 4, "hidden_size": 24, "mlp_dim": 96, "num_heads": 2}
    return UNETR(1, 2, **{**options, **changes})


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_weights_go_to_monai_and_back_unchanged(weights):
    for line in ("1.3", "1.4", "1.5", "1.6"):
        there = weight_names.to_monai(weights, line=line)
        assert same(weight_names.from_monai(there), weights)
        vit = weight_names.to_monai(weight_names.bare(weights), line=line)
        assert weight_names.prefixed(vit).keys() == there.keys()


def test_weights_go_to_timm_and_back_unchanged(weights):
    there = weight_names.to_timm(weights)
    assert {
        "patch_embed.proj.weight",
        "pos_embed",
        "blocks.0.attn.proj.bias",
        "blocks.11.mlp.fc2.weight",
        "norm.weight",
        "blocks.3.attn.qkv.weight",
    } <= set(there)
    assert same(weight_names.from_timm(there), weights)


def test_a_whole_unetr_goes_to_the_installed_monai_and_back_with_the_same_output():
    torch.manual_seed(0)
    ours = Unetr(SETTINGS, out_channels=2, feature_size=4).eval().double()
    stock = stock_unetr().eval().double()
    stock.load_state_dict(weight_names.to_monai(ours.state_dict(), line="1.6"), strict=True)
    volume = torch.rand(1, 1, 32, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(stock(volume), ours(volume))
        again = Unetr(SETTINGS, out_channels=2, feature_size=4).eval().double()
        interchange.load_strict(again, weight_names.from_monai(stock.state_dict()))
        torch.testing.assert_close(again(volume), ours(volume))


def test_a_patch_embedding_of_the_old_kind_becomes_the_convolution_that_computes_the_same():
    torch.manual_seed(0)
    old = stock_unetr(proj_type="perceptron").eval()
    ours = Unetr(SETTINGS, out_channels=2, feature_size=4).eval()
    interchange.load_strict(ours, weight_names.from_monai(old.state_dict()))
    volume = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(volume), old(volume), rtol=1e-4, atol=1e-5)


def test_a_stock_vit_is_read():
    vit = ViT(1, (32, 32, 32), (16, 16, 16), hidden_size=24, mlp_dim=96, num_layers=12, num_heads=2)
    encoder = Encoder(SETTINGS)
    interchange.load_strict(encoder, weight_names.from_monai(vit.state_dict()))
    assert torch.equal(encoder.blocks[5].attn.qkv.weight, vit.blocks[5].attn.qkv.weight)


def test_weights_that_do_not_fit_are_refused_by_name_and_nothing_changes(weights):
    other = Encoder(ModelSettings(crop=48, patch=16, width=24, depth=12, heads=2))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    wrong = {name: t for name, t in weight_names.bare(weights).items() if name != "norm.bias"}
    with pytest.raises(
        InputError,
        match=r"Missing: \['norm.bias'\].*Unexpected: \['extra'\].*position_embeddings is \(1, 8, 24\).*\(1, 27, 24\)",
    ):
        interchange.load_strict(other, {**wrong, "extra": torch.zeros(1)})
    assert same(other.state_dict(), before)


@pytest.mark.parametrize("patch", [8, 16])
def test_both_networks_initialize_the_same_unetr(patch):
    settings = {"crop": 32, "patch": patch, "width": 12, "depth": 4, "heads": 2}
    light = {"decoder_width": 12, "decoder_depth": 1, "decoder_heads": 2}
    for name in ("mae", "unetr"):
        kind = ModelSettings(name=name, **settings, **light)
        trained = build_model(kind, domains=2, seed=3)
        encoder = weight_names.prefixed(trained.encoder.state_dict())
        unetr = build_unetr(kind, in_channels=1, out_channels=3, feature_size=4, encoder=encoder)
        assert same({n: t for n, t in unetr.state_dict().items() if n.startswith("vit.")}, encoder)
        assert unetr(torch.rand(1, 1, 32, 32, 32)).shape == (1, 3, 32, 32, 32)
        other = build_unetr(kind, in_channels=1, out_channels=3, feature_size=4)
        rest = {n: t for n, t in other.state_dict().items() if not n.startswith("vit.")}
        assert all(torch.equal(unetr.state_dict()[n], t) for n, t in rest.items())  # of the seed alone


def test_a_volume_of_equal_channels_gets_the_features_of_one(weights):
    volume = torch.rand(1, 1, 32, 32, 32, dtype=torch.float64)
    features = []
    for channels in (1, 4):
        network = build_unetr(
            SETTINGS, in_channels=channels, out_channels=2, feature_size=4, encoder=weights
        ).double()
        features.append(network.vit.patch_embedding(volume.repeat(1, channels, 1, 1, 1)))
    torch.testing.assert_close(*features)


def test_position_codes_go_to_another_crop(weights):
    same_crop = interchange.for_crop(weights, SETTINGS)
    name = "vit.patch_embedding.position_embeddings"
    torch.testing.assert_close(same_crop[name], weights[name])
    larger = ModelSettings(crop=48, patch=16, width=24, depth=12, heads=2)
    resized = interchange.for_crop(weights, larger)
    build_unetr(larger, out_channels=2, feature_size=4, encoder=resized)
    grid, before = resized[name].reshape(3, 3, 3, 24), weights[name].reshape(2, 2, 2, 24)
    torch.testing.assert_close(grid[::2, ::2, ::2], before)
    torch.testing.assert_close(grid[1, 0, 2], (before[0, 0, 1] + before[1, 0, 1]) / 2)


def test_an_encoder_is_loaded_with_its_card(run, cache):
    weights, card = load_encoder(run)
    assert {name.split(".")[1] for name in weights} == {"patch_embedding", "blocks", "norm"}
    assert all(name.startswith("vit.") for name in weights)
    assert card["encoder"]["width"] == 24
    assert card["recipe"] == cache.recipe.as_dict()
    assert card["draws"] == {"CT": 4, "MR": 4}
    assert same(load_encoder(run / "weights.safetensors").weights, weights)


def test_changed_and_missing_weights_are_refused(run, tmp_path):
    copy = copied(run, tmp_path / "copy")
    data = bytearray((copy / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=r"has SHA-256 .* its card expects"):
        load_encoder(copy)
    (copy / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="no such file"):
        load_encoder(copy)
    (copy / "card.json").unlink()
    with pytest.raises(InputError, match=r"no card\.json in"):
        load_encoder(copy)
    with pytest.raises(InputError, match="no such folder"):
        load_encoder(tmp_path / "absent")


def test_a_card_of_another_network_is_refused_by_names_and_shapes(run, tmp_path):
    encoder = read_card(run)["encoder"]
    deeper = copied(run, tmp_path / "deeper", encoder={**encoder, "depth": 3})
    with pytest.raises(InputError, match=r"Missing: \['vit\.blocks\.2\.attn"):
        load_encoder(deeper)
    wider = copied(run, tmp_path / "wider", encoder={**encoder, "width": 48})
    with pytest.raises(InputError, match=r"vit\.norm\.bias is \(24,\), the network has \(48,\)"):
        load_encoder(wider)
    unknown = copied(run, tmp_path / "unknown", encoder={**encoder, "dropout": 0.1})
    with pytest.raises(InputError, match="encoder settings cannot be used"):
        load_encoder(unknown)
    lacking = copied(run, tmp_path / "lacking")
    (lacking / "card.json").write_text(json.dumps({"kind": "checkpoint", "format": 1}), encoding="utf-8")
    with pytest.raises(InputError, match=r"lacks \['weights'"):
        load_encoder(lacking)
    (lacking / "card.json").write_text(json.dumps({"kind": "law", "format": 1}), encoding="utf-8")
    with pytest.raises(InputError, match="found 'law'"):
        load_encoder(lacking)
    with pytest.raises(InputError, match="format version 9"):
        load_encoder(copied(run, tmp_path / "newer", format=9))


@pytest.mark.parametrize(
    "changes",
    [
        {"crop": 10**9},
        {"crop": 16 * 10**8},
        {"width": 12 * 10**6},
        {"depth": 10**9},
        {"mlp_ratio": 1e12},
        {"crop": -32},
        {"crop": "many"},
        {"width": True},
        {"depth": None},
        {"crop": float("1e300")},
        {"patch": 0},
    ],
)
def test_a_card_of_absurd_sizes_is_refused_before_a_network_is_built(run, tmp_path, changes, monkeypatch):
    def build(settings):
        raise AssertionError(f"built {settings}")

    monkeypatch.setattr(interchange, "Encoder", build)
    encoder = read_card(run)["encoder"]
    with pytest.raises(InputError, match="copy"):
        load_encoder(copied(run, tmp_path / "copy", encoder={**encoder, **changes}))


@pytest.mark.parametrize("head", [b"", b"\xff" * 8, (10**12).to_bytes(8, "little") + b"{}", b"{}"])
def test_a_damaged_head_of_the_weights_is_named(run, tmp_path, head):
    copy = copied(run, tmp_path / "copy")
    (copy / "weights.safetensors").write_bytes(head)
    card = {**read_card(run), "weights_sha256": file_digest(copy / "weights.safetensors")}
    (copy / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(InputError, match="is not safetensors"):
        load_encoder(copy)


def test_nothing_is_unpickled(run, tmp_path):
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch opened'\ntR.")
    with pytest.raises(InputError, match=r"bomb\.pt looks like a PyTorch pickle"):
        load_encoder(bomb)
    renamed = copied(run, tmp_path / "renamed")
    (renamed / "weights.safetensors").write_bytes(bomb.read_bytes())
    card = {**read_card(run), "weights_sha256": file_digest(bomb)}
    (renamed / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(InputError, match="is not safetensors"):
        load_encoder(renamed)


@pytest.mark.parametrize("name", ["../run/weights.safetensors", "/etc/hostname", "weights.pt"])
def test_a_card_leads_to_no_file_outside_its_folder(run, tmp_path, name):
    with pytest.raises(InputError, match=r"expected a \.safetensors file in the same folder"):
        load_encoder(copied(run, tmp_path / "copy", weights=name))


def test_a_card_opens_without_torch(run):
    code = (
        "import sys; from pathlib import Path; from voxmix.runs.cards import read_card\n"
        f"card = read_card(Path({str(run)!r}))\n"
        "assert card['recipe']['spacing_mm'] == 1.5\n"
        "assert not {'torch', 'monai', 'scipy', 'safetensors'} & set(sys.modules), 'heavy imports'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_volumes_prepared_otherwise_are_refused(run, cache):
    card = read_card(run)
    check_preprocessing(card, cache.recipe, domains=("CT", "MR", "AN-UNSEEN-CT"))
    padded = Recipe(spacing_mm=1.5, min_shape=(64, 64, 64), intensity=cache.recipe.intensity)
    check_preprocessing(card, padded, domains=("CT",))
    window = IntensityRule(kind="window", low=-175.0, high=250.0)
    other = Recipe(spacing_mm=2.0, intensity={**cache.recipe.intensity, "CT": window})
    with pytest.raises(
        InputError, match=r"spacing_mm is 2\.0, the encoder's 1\.5; intensity of CT is .*window.*percentile"
    ):
        check_preprocessing(card, other, domains=("CT", "MR"))
    with pytest.raises(InputError, match="version is 1, the encoder's 0"):
        check_preprocessing({"recipe": {**card["recipe"], "version": 0}}, cache.recipe)
