"""Open checkpoints: the features of the library that wrote them, and one sentence for each thing that does not fit."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch

from voxmix.backbone_rows import VitSettings
from voxmix.encoders.clip_checkpoint import read_text_weights
from voxmix.encoders.contract import Contract
from voxmix.encoders.start import LoadedStart, load_start, start_backbone, start_text
from voxmix.encoders.vit import Vit
from voxmix.errors import InputError, VoxmixWarning

SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 42,
    "patch_size": 7,
}
PREPROCESSOR = {
    "crop_size": {"height": 42, "width": 42},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5307, 0.4, 0.3],
    "image_std": [0.2583, 0.3, 0.4],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 48},
}


def _shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Make every weight count."""
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(index)
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def _saved(model: torch.nn.Module, folder: Path) -> Path:
    model.save_pretrained(folder)  # type: ignore[operator]
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR), encoding="utf-8")
    return folder


def _normed(pixels: torch.Tensor) -> torch.Tensor:
    mean = torch.tensor(PREPROCESSOR["image_mean"]).view(3, 1, 1)
    return (pixels - mean) / torch.tensor(PREPROCESSOR["image_std"]).view(3, 1, 1)


def _pixels(edge: int = 42, channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, edge, edge, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def dinov2(transformers: ModuleType, tmp_path: Path) -> Path:
    return _saved(transformers.Dinov2Model(transformers.Dinov2Config(**SIZES)), tmp_path / "dinov2")


@pytest.mark.parametrize("swiglu", [False, True])
@pytest.mark.parametrize("registers", [0, 4])
def test_features_are_those_of_transformers(
    transformers: ModuleType, tmp_path: Path, swiglu: bool, registers: int
) -> None:
    if registers:
        config = transformers.Dinov2WithRegistersConfig(
            **SIZES, use_swiglu_ffn=swiglu, num_register_tokens=registers
        )
        model = _shaken(transformers.Dinov2WithRegistersModel(config))
    else:
        model = _shaken(transformers.Dinov2Model(transformers.Dinov2Config(**SIZES, use_swiglu_ffn=swiglu)))
    start = load_start(_saved(model, tmp_path / "folder"))
    assert start.family == ("dinov2_with_registers" if registers else "dinov2")
    assert start.fresh == ()
    ours = start_backbone(start, 0).eval()
    assert isinstance(ours, Vit)
    for edge in (42, 56, 21):  # bicubic, with antialias where there are registers
        pixels = _pixels(edge)
        with torch.no_grad():
            theirs = model(_normed(pixels)).last_hidden_state
            found = ours(pixels)
        torch.testing.assert_close(found.cls, theirs[:, 0], rtol=0, atol=1e-4)
        torch.testing.assert_close(found.patches, theirs[:, 1 + registers :], rtol=0, atol=1e-4)
    hidden = torch.zeros(2, 36, dtype=torch.bool)
    hidden[:, ::3] = True
    with torch.no_grad():
        theirs = model(_normed(_pixels()), bool_masked_pos=hidden).last_hidden_state
        torch.testing.assert_close(ours(_pixels(), hidden).cls, theirs[:, 0], rtol=0, atol=1e-4)
        gray = _pixels(channels=1)
        theirs = model(_normed(gray.expand(-1, 3, -1, -1))).last_hidden_state
        torch.testing.assert_close(ours(gray).cls, theirs[:, 0], rtol=0, atol=1e-4)


def test_positions_resized_once_give_what_resizing_each_time_gives(dinov2: Path) -> None:
    wide, each_time = load_start(dinov2, image=56), load_start(dinov2)
    assert wide.settings.image == 56
    assert wide.digest == each_time.digest
    pixels = _pixels(56)
    one, other = start_backbone(wide, 0).eval(), start_backbone(each_time, 0).eval()
    torch.testing.assert_close(one(pixels).patches, other(pixels).patches, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="a multiple of it, got 50; nearest are 49 and 56"):
        load_start(dinov2, image=50)


def test_newer_names_and_wrapped_models_are_read(transformers: ModuleType, dinov2: Path) -> None:
    known = load_start(dinov2)
    tensors = safetensors.torch.load_file(dinov2 / "model.safetensors")
    newer = {}
    for name, tensor in tensors.items():
        for old, new in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
            name = name.replace(f"attention.attention.{old}", f"attention.{new}")
        newer["dinov2." + name.replace("attention.output.dense", "attention.o_proj")] = tensor
    newer["classifier.weight"] = torch.zeros(2, 48)
    newer["classifier.bias"] = torch.zeros(2)
    safetensors.torch.save_file(newer, dinov2 / "model.safetensors")
    assert load_start(dinov2).digest == known.digest


def test_shards_are_joined(dinov2: Path) -> None:
    known = load_start(dinov2)
    tensors = safetensors.torch.load_file(dinov2 / "model.safetensors")
    (dinov2 / "model.safetensors").unlink()
    halves = [sorted(tensors)[::2], sorted(tensors)[1::2]]
    places = {}
    for number, half in enumerate(halves):
        file = f"model-0000{number}-of-00002.safetensors"
        safetensors.torch.save_file({name: tensors[name] for name in half}, dinov2 / file)
        places |= dict.fromkeys(half, file)
    index = dinov2 / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    assert load_start(dinov2).digest == known.digest
    moved = dict(places) | {halves[0][0]: places[halves[1][0]]}
    index.write_text(json.dumps({"weight_map": moved}), encoding="utf-8")
    with pytest.raises(InputError, match=f"is not the shard that .* Unexpected: {halves[0][0]}"):
        load_start(dinov2)
    index.write_text(
        json.dumps({"weight_map": dict.fromkeys(tensors, "../model.safetensors")}), encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"expected a \.safetensors file in the same folder"):
        load_start(dinov2)
    index.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    (dinov2 / places[halves[1][0]]).unlink()
    with pytest.raises(InputError, match="copy every shard"):
        load_start(dinov2)


def test_the_contract_is_that_of_the_preprocessor(dinov2: Path) -> None:
    start = load_start(dinov2)
    assert start.contract == Contract(
        image=42,
        shorter_side=48,
        resample="bicubic",
        channels=3,
        mean=(0.5307, 0.4, 0.3),
        std=(0.2583, 0.3, 0.4),
    )
    assert Contract.from_dict(json.loads(json.dumps(start.contract.as_dict()))) == start.contract
    backbone = start_backbone(start, 0)
    torch.testing.assert_close(backbone.pixel_mean, torch.tensor([0.5307, 0.4, 0.3]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rescale_factor": 1.0}, "scales intensities by 1.0"),
        ({"do_rescale": False}, "scales intensities by"),
        ({"image_mean": "gray"}, "image_mean should be 3 numbers"),
        ({"image_mean": [0.1, 0.2]}, "mean needs one number for each of 3 channels"),
        ({"image_std": [1.0, 0.0, 1.0]}, "std must be above 0"),
        ({"rescale_factor": [1]}, r"scales intensities by \[1\]"),
        ({"size": {"height": [42]}}, "size should be one edge in pixels"),
        ({"size": {"height": 42, "width": 40}}, "size should be one edge in pixels"),
        ({"size": {"shortest_edge": 30}}, "the crop must lie in the resized image"),
        ({"resample": "soft"}, "resample should be a filter of Pillow"),
    ],
)
def test_a_preprocessing_that_voxmix_does_not_do_is_refused(
    dinov2: Path, change: dict[str, Any], message: str
) -> None:
    (dinov2 / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR | change), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_start(dinov2)


def _without(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.__delitem__(name)


def _with(name: str, tensor: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("layernorm.bias"), r"Missing: layernorm\.bias\. Unexpected: none"),
        (
            _without("encoder.layer.1.attention.attention.key.weight"),
            r"Missing: encoder\.layer\.1\.attention\.attention\.key\.weight\. Unexpected: none",
        ),
        (_with("pooler.weight", torch.zeros(2)), r"Missing: none\. Unexpected: pooler\.weight"),
        (
            _with("embeddings.position_embeddings", torch.zeros(1, 30, 24)),
            r"embeddings\.position_embeddings is \(30, 24\), the network has \(37, 24\)",
        ),
        (
            _with("encoder.layer.0.norm1.weight", torch.full((24,), float("nan"))),
            r"not finite, in encoder\.layer\.0\.norm1\.weight",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    dinov2: Path, change: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    tensors = safetensors.torch.load_file(dinov2 / "model.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, dinov2 / "model.safetensors")
    with pytest.raises(InputError, match=message):
        load_start(dinov2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_type": "bert"},
            "the family 'bert', which voxmix cannot start from; the families are dinov2",
        ),
        ({"model_type": "dinov3"}, "did you mean 'dinov2"),
        ({"model_type": None}, "names neither model_type nor architecture"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'; voxmix's network of this family has 'gelu'"),
        ({"qkv_bias": False}, "qkv_bias is False"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05"),
        ({"hidden_size": "wide"}, "hidden_size should be a whole number above 0, got 'wide'"),
        ({"hidden_size": 25}, "width must be a multiple of heads"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000, the weights hold"),
        ({"num_hidden_layers": 1}, r"Unexpected: encoder\.layer\.1"),
        ({"image_size": [42, 56]}, "image_size should be a whole number"),
        ({"use_swiglu_ffn": True}, r"Missing: encoder\.layer\.0\.mlp\.weights_in\.weight"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    dinov2: Path, change: dict[str, Any], message: str
) -> None:
    config = json.loads((dinov2 / "config.json").read_text(encoding="utf-8"))
    (dinov2 / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_start(dinov2)


def test_what_is_no_checkpoint_is_refused(dinov2: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_start(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"no config\.json in .*copy the whole folder"):
        load_start(empty)
    (tmp_path / "study" / "runs").mkdir(parents=True)
    with pytest.raises(InputError, match=r"give a run of this study, .*runs.ID"):
        load_start(tmp_path / "study")
    with pytest.raises(InputError, match="is a file; give the folder"):
        load_start(dinov2 / "config.json")
    shutil.copy(dinov2 / "config.json", empty)
    with pytest.raises(InputError, match=r"no model\.safetensors in"):
        load_start(empty)
    (empty / "pytorch_model.bin").write_bytes(b"\x80\x04never opened")
    with pytest.raises(InputError, match=r"only as a pickle \(pytorch_model\.bin\).*save_pretrained"):
        load_start(empty)
    whole = (dinov2 / "model.safetensors").read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:4], b"", struct.pack("<Q", 2**62) + whole[8:]):
        (dinov2 / "model.safetensors").write_bytes(damaged)
        with pytest.raises(InputError, match="is not safetensors"):
            load_start(dinov2)
    (dinov2 / "model.safetensors").write_bytes(whole)
    (dinov2 / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"no preprocessor_config\.json in .*how images must be prepared"):
        load_start(dinov2)
    (dinov2 / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="is not JSON"):
        load_start(dinov2)


def test_other_axes_and_colours_are_refused(dinov2: Path) -> None:
    with pytest.raises(InputError, match="are of images, this run has volumes"):
        load_start(dinov2, axes=3)
    assert load_start(dinov2, axes=2, channels=1).settings.channels == 3
    with pytest.raises(InputError, match="take images of 3 channels"):
        load_start(dinov2, channels=4)


def test_the_digest_tells_weights_apart(dinov2: Path) -> None:
    known = load_start(dinov2).digest
    assert len(known) == 16
    preprocessor = dinov2 / "preprocessor_config.json"
    preprocessor.write_text(json.dumps(PREPROCESSOR | {"resample": 2}), encoding="utf-8")
    assert load_start(dinov2).digest != known
    preprocessor.write_text(json.dumps(PREPROCESSOR), encoding="utf-8")
    assert load_start(dinov2).digest == known
    tensors = safetensors.torch.load_file(dinov2 / "model.safetensors")
    tensors["layernorm.bias"][3] += 1e-3
    safetensors.torch.save_file(tensors, dinov2 / "model.safetensors")
    assert load_start(dinov2).digest != known


def _dino_head(width: int = 24) -> dict[str, torch.Tensor]:
    return {
        "mlp.0.weight": torch.zeros(32, width),
        "mlp.0.bias": torch.zeros(32),
        "mlp.2.weight": torch.zeros(8, 32),
        "mlp.2.bias": torch.zeros(8),
        "last_layer.weight_g": torch.ones(64, 1),
        "last_layer.weight_v": torch.randn(64, 8),
    }


def test_a_released_head_is_taken(dinov2: Path) -> None:
    without = load_start(dinov2)
    assert without.head == {}
    file = dinov2 / "dino_head.safetensors"
    safetensors.torch.save_file({f"dino_head.{n}": t for n, t in _dino_head().items()}, file)
    start = load_start(dinov2)
    assert start.head_settings() == {
        "prototypes": 64,
        "head_bottleneck": 8,
        "head_hidden": 32,
        "head_layers": 2,
    }
    named = start.weights("backbone", "head")
    assert torch.equal(named["head.mlp.2.weight"], _dino_head()["mlp.2.weight"])
    assert torch.equal(named["backbone.norm.weight"], start.state["norm.weight"])
    assert start.weights("text") == {}
    assert start.digest != without.digest
    longer = _dino_head()
    longer["last_layer.parametrizations.weight.original0"] = 2 * longer.pop("last_layer.weight_g")
    longer["last_layer.parametrizations.weight.original1"] = longer.pop("last_layer.weight_v")
    safetensors.torch.save_file(longer, file)
    with pytest.warns(VoxmixWarning, match="have lengths from 2 to 2; voxmix's are of length 1"):
        assert load_start(dinov2).head.keys() == start.head.keys()
    safetensors.torch.save_file(_dino_head(width=20), file)
    with pytest.raises(InputError, match=r"mlp\.0\.weight is \(32, 20\), the backbone is 24 wide"):
        load_start(dinov2)
    broken = _dino_head()
    broken["other"] = broken.pop("mlp.2.bias")
    safetensors.torch.save_file(broken, file)
    with pytest.raises(InputError, match=r"Missing: mlp\.2\.bias\. Unexpected: other"):
        load_start(dinov2)


def test_without_a_mask_token_one_follows_from_the_seed(transformers: ModuleType, tmp_path: Path) -> None:
    config = transformers.Dinov2Config(**SIZES, use_mask_token=False)
    start = load_start(_saved(transformers.Dinov2Model(config), tmp_path / "folder"))
    assert start.fresh == ("mask_token",)
    one, again, other = (start_backbone(start, seed) for seed in (0, 0, 1))
    assert isinstance(one, Vit)
    assert isinstance(again, Vit)
    assert isinstance(other, Vit)
    assert torch.equal(one.mask_token, again.mask_token)
    assert not torch.equal(one.mask_token, other.mask_token)
    assert torch.equal(one.norm.weight, other.norm.weight)


CLIP_SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 96,
}


def _clip_config(transformers: ModuleType, act: str = "quick_gelu") -> Any:
    return transformers.CLIPConfig(
        text_config={
            **CLIP_SIZES,
            "hidden_act": act,
            "vocab_size": 320,
            "max_position_embeddings": 12,
            "bos_token_id": 318,
            "eos_token_id": 319,
            "pad_token_id": 0,
        },
        vision_config={
            **CLIP_SIZES,
            "intermediate_size": 40,
            "hidden_act": act,
            "image_size": 42,
            "patch_size": 7,
        },
        projection_dim=16,
    )


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_clip_images_texts_and_head_are_those_of_transformers(
    transformers: ModuleType, tmp_path: Path, act: str
) -> None:
    model = _shaken(transformers.CLIPModel(_clip_config(transformers, act)))
    folder = _saved(model, tmp_path / "clip")
    start: LoadedStart = load_start(folder)
    ours = start_backbone(start, 0).eval()
    pixels = _pixels()
    tokens = torch.tensor([[318, 5, 9, 319, 0, 0], [318, 7, 8, 9, 10, 319]])
    assert start.text is not None
    text = start_text(start.text).eval()
    with torch.no_grad():
        theirs = model.vision_model(_normed(pixels))
        torch.testing.assert_close(ours(pixels).cls, theirs.pooler_output, rtol=0, atol=1e-5)
        wide = model.vision_model(_normed(_pixels(56)), interpolate_pos_encoding=True)
        torch.testing.assert_close(ours(_pixels(56)).cls, wide.pooler_output, rtol=0, atol=1e-5)
        words = model.text_model(tokens).pooler_output
        torch.testing.assert_close(text(tokens), words, rtol=0, atol=1e-5)
        torch.testing.assert_close(text(tokens, torch.tensor([4, 6])), words, rtol=0, atol=1e-5)
        projected = text(tokens) @ start.head["text_projection.weight"].T
        expected = model.text_projection(words)
    torch.testing.assert_close(projected, expected, rtol=0, atol=1e-4)
    assert torch.equal(start.head["logit_scale"], model.logit_scale.detach())
    assert start.head_settings() == {
        "projection": 16,
        "start_scale": pytest.approx(model.logit_scale.exp().item()),
    }
    named = start.weights("backbone", "text", "image_projection", "text_projection", "logit_scale")
    assert {"backbone.mask_token", "text.norm.bias", "image_projection.weight", "logit_scale"} <= named.keys()
    assert start.head["image_projection.weight"].shape == (16, 24)
    assert read_text_weights(folder).settings == start.text.settings
    alone = _saved(
        model.text_model if hasattr(model.text_model, "save_pretrained") else model, tmp_path / "t"
    )
    assert torch.equal(start_text(read_text_weights(alone)).eval()(tokens), text(tokens))


def test_clip_of_images_alone_is_read_and_a_missing_text_weight_is_named(
    transformers: ModuleType, tmp_path: Path
) -> None:
    model = _shaken(transformers.CLIPModel(_clip_config(transformers)))
    folder = _saved(model, tmp_path / "clip")
    vision = transformers.CLIPVisionModel(_clip_config(transformers).vision_config)
    start = load_start(_saved(vision, tmp_path / "vision"))
    assert start.text is None
    assert isinstance(start.settings, VitSettings)
    assert start.settings.style == "clip"
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors["text_model.encoder.layers.0.mlp.fc1.bias"]
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"Missing: text_model\.encoder\.layers\.0\.mlp\.fc1\.bias"):
        load_start(folder)
