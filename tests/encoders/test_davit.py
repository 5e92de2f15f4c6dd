"""DaViT: equal to timm's with the same weights, under every name that they are published by."""

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch

from voxmix.backbone_rows import DavitSettings
from voxmix.encoders.backbone import build_backbone, flops_per_image
from voxmix.encoders.checkpoint_names import davit_names, read_by
from voxmix.encoders.checkpoint_parts import expected_of
from voxmix.encoders.davit import Davit
from voxmix.encoders.start import load_start, start_backbone, start_text
from voxmix.errors import InputError

SMALL = DavitSettings(image=64, channels=3, dims=(8, 16, 24), depths=(1, 2, 2), heads=(2, 2, 3), window=4)


def _davit(settings: DavitSettings) -> Davit:
    made = build_backbone(settings, 0)
    assert isinstance(made, Davit)
    with torch.no_grad():
        made.pixel_mean.zero_()
        made.pixel_std.fill_(1)
    return made.eval()


def _timm(module: ModuleType, settings: DavitSettings) -> torch.nn.Module:
    florence = settings.style == "florence"
    model = module.DaVit(
        depths=settings.depths,
        embed_dims=settings.dims,
        num_heads=settings.heads,
        window_size=settings.window,
        down_kernel_size=3 if florence else 2,
        channel_attn_v2=florence,
        named_blocks=florence,
        num_classes=5,
    )
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(index)
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()  # type: ignore[no-any-return]


def _pixels(edge: int = 64, channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, edge, edge, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("style", ["florence", "paper"])
def test_maps_and_means_are_those_of_timm(timm_davit: ModuleType, style: Any) -> None:
    settings = DavitSettings(
        image=64, channels=3, dims=(8, 16, 24), depths=(1, 2, 2), heads=(2, 2, 3), window=4, style=style
    )
    theirs, ours = _timm(timm_davit, settings), _davit(settings)
    state = {n: t for n, t in theirs.state_dict().items() if not n.startswith("head.fc.")}
    expected = {
        n: t for n, t in expected_of(settings, held=999, where=Path()).items() if not n.startswith("pixel_")
    }
    reading, misfit = read_by(
        davit_names(settings, layout="named" if style == "florence" else "numbered"),
        state,
        expected,
        optional=("mask_token",),
    )
    assert misfit == ([], [])
    assert reading.used == state.keys()
    ours.load_state_dict({**ours.state_dict(), **reading.state})
    for edge in (64, 80):  # windows that the image fills, and that it does not
        pixels = _pixels(edge)
        with torch.no_grad():
            last, maps = theirs.forward_intermediates(pixels)  # type: ignore[operator]
            pooled = theirs.forward_head(last, pre_logits=True)  # type: ignore[operator]
            found, features = ours.map(pixels), ours(pixels)
        for mine, other in zip(found[:-1], maps[:-1], strict=True):
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)
        torch.testing.assert_close(features.cls, pooled, rtol=0, atol=1e-5)
        normed = theirs.head.norm(last)  # type: ignore[operator, union-attr]
        torch.testing.assert_close(found[-1], normed, rtol=0, atol=1e-5)
        assert torch.equal(found[-1].flatten(2).transpose(1, 2), features.patches)


def test_settings_are_those_of_a_timm_folder(timm_davit: ModuleType, tmp_path: Path) -> None:
    arguments = {"depths": [1, 1], "embed_dims": [8, 16], "num_heads": [2, 2], "window_size": 4}
    model = timm_davit.DaVit(**arguments, num_classes=3)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "davit_tiny",
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": [3, 64, 64],
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "interpolation": "bicubic",
            "crop_pct": 0.5,
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    start = load_start(tmp_path, image=128)
    assert isinstance(start.settings, DavitSettings)
    assert start.settings.style == "paper"
    assert (start.settings.image, start.contract.image, start.contract.shorter_side) == (128, 64, 128)
    pixels = _pixels()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = model.eval().forward_head(model.forward_features((pixels - mean) / std), pre_logits=True)
        found = start_backbone(start, 0).eval()(pixels).cls
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    changed = config | {"model_args": arguments | {"cpe_act": True}}
    (tmp_path / "config.json").write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(InputError, match="sets cpe_act, which voxmix's davit does not have"):
        load_start(tmp_path)


def _as_florence(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return our weights under the names of Florence-2's code, written here by hand, the other way round."""
    found = {}
    for name, tensor in state.items():
        if name == "mask_token" or name.startswith("pixel_"):
            continue
        name = re.sub(r"^reductions\.(\d+)\.conv", r"convs.\1.proj", name)
        name = re.sub(r"^reductions\.(\d+)\.norm", r"convs.\1.norm", name)
        name = re.sub(r"^norm\.", "norms.", name)
        name = re.sub(r"^stages\.(\d+)\.(\d+)\.(spatial|channel)\.", r"blocks.\1.\2.\3_block.", name)
        attention = "window_attn" if "spatial" in name else "channel_attn"
        name = name.replace("position1", "conv1.fn.dw").replace("position2", "conv2.fn.dw")
        name = re.sub(r"\.norm1\.", f".{attention}.norm.", name)
        name = re.sub(r"_block\.(qkv|proj)\.", rf"_block.{attention}.fn.\1.", name)
        name = re.sub(r"\.norm2\.", ".ffn.norm.", name)
        name = re.sub(r"\.(fc[12])\.", r".ffn.fn.net.\1.", name)
        found[name] = tensor
    return found


def _medimageinsight(folder: Path) -> tuple[Davit, dict[str, torch.Tensor]]:
    """Write a small folder with MedImageInsight's names and a configuration in JSON; return its tower and its tensors."""
    ours = _davit(SMALL)
    tensors = {f"image_encoder.{name}": tensor for name, tensor in _as_florence(ours.state_dict()).items()}
    assert "image_encoder.blocks.1.0.channel_block.channel_attn.fn.qkv.weight" in tensors
    assert "image_encoder.blocks.0.0.spatial_block.ffn.fn.net.fc2.bias" in tensors
    width, text = 16, {}
    for number in range(2):
        block = f"lang_encoder.resblocks.{number}"
        text |= {
            f"{block}.attn.in_proj_weight": torch.randn(3 * width, width),
            f"{block}.attn.in_proj_bias": torch.randn(3 * width),
            f"{block}.attn.out_proj.weight": torch.randn(width, width),
            f"{block}.attn.out_proj.bias": torch.randn(width),
            f"{block}.mlp.c_fc.weight": torch.randn(4 * width, width),
            f"{block}.mlp.c_fc.bias": torch.randn(4 * width),
            f"{block}.mlp.c_proj.weight": torch.randn(width, 4 * width),
            f"{block}.mlp.c_proj.bias": torch.randn(width),
        }
        for norm in ("ln_1", "ln_2"):
            text |= {f"{block}.{norm}.weight": torch.ones(width), f"{block}.{norm}.bias": torch.zeros(width)}
    text |= {
        "lang_encoder.token_embedding.weight": torch.randn(300, width),
        "lang_encoder.positional_embedding": torch.randn(10, width),
        "lang_encoder.ln_final.weight": torch.ones(width),
        "lang_encoder.ln_final.bias": torch.zeros(width),
        "text_projection": torch.randn(width, 12),
        "image_projection": torch.randn(24, 12),
        "logit_scale": torch.tensor(4.0),
    }
    tensors |= text
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    config = {
        "model_type": "davit",
        "projection_dim": 12,
        "vision_config": {
            "image_size": 64,
            "dim_embed": [8, 16, 24],
            "depths": [1, 2, 2],
            "num_heads": [2, 2, 3],
            "num_groups": [2, 2, 3],
            "window_size": 4,
        },
        "text_config": {
            "hidden_size": width,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 10,
            "vocab_size": 300,
        },
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    preprocessor = {"size": 64, "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")
    return ours, tensors


def test_medimageinsight_s_names_are_read_with_text_and_projections(tmp_path: Path) -> None:
    ours, tensors = _medimageinsight(tmp_path)
    start = load_start(tmp_path)
    assert start.settings == SMALL
    assert start.fresh == ("mask_token",)
    pixels = _pixels()
    assert torch.equal(start_backbone(start, 0).eval()(pixels).cls, ours(pixels).cls)
    assert start.text is not None
    assert not start.text.settings.causal
    assert start_text(start.text)(torch.tensor([[1, 2, 299]])).shape == (1, 16)
    assert start.head["image_projection.weight"].shape == (12, 24)
    del tensors["image_encoder.norms.weight"]
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"Missing: image_encoder\.norms\.weight"):
        load_start(tmp_path)


YAML = """
TASK: UniCLTask
IMAGE_ENCODER:
  NAME: davit_v1
  NUM_CLASSES: 0
  IMAGE_SIZE: [64, 64]
  IMAGE_MEAN: [0, 0.0, 0.0]
  IMAGE_STD: [1.0, 1.0, 1.0]
  SPEC:
    DROP_PATH_RATE: 0.2
    PATCH_SIZE: [7, 3, 3]
    PATCH_STRIDE: [4, 2, 2]
    PATCH_PADDING: [3, 1, 1]
    PATCH_PRENORM: [false, true, true]
    DIM_EMBED: [8, 16, 24]
    NUM_HEADS: [2, 2, 3]
    NUM_GROUPS: [2, 2, 3]
    DEPTHS: [1, 2, 2]
    WINDOW_SIZE: 4
LANG_ENCODER:
  NAME: transformer
  TOKENIZER: clip
  CONTEXT_LENGTH: 10
  WIDTH: 16
  HEADS: 2
  LAYERS: 2
  AUTOGRESSIVE: false
UNICL_MODEL:
  DIM_PROJECTION: 12
AUG:
  INTERPOLATION: bicubic
TEST:
  CENTER_CROP: false
CUSTOMIZED_PARAMS_CONF:
  WEIGHT_DECAY_PATTERNS:
    "\\\\.bias$": 0.0
"""


def test_medimageinsight_s_own_configuration_gives_the_same_start(tmp_path: Path) -> None:
    _, tensors = _medimageinsight(tmp_path)
    as_json = load_start(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "config.yaml").write_text(YAML, encoding="utf-8")
    found = load_start(tmp_path)
    assert found.digest == as_json.digest
    assert found.contract == as_json.contract
    assert found.text is not None
    assert found.text.settings.vocabulary == 300
    older = {"image_encoder.": "visual.", "lang_encoder.": "text.", "image_projection": "vision_projection"}
    for names in (older, {"text_projection": "lang_projection"}):
        changed = dict(tensors)
        for new, old in names.items():
            changed = {re.sub(f"^{re.escape(new)}", old, name): tensor for name, tensor in changed.items()}
        assert changed.keys() != tensors.keys()
        safetensors.torch.save_file(changed, tmp_path / "model.safetensors")
        assert load_start(tmp_path).digest == as_json.digest
    (tmp_path / "config.yaml").write_text(
        YAML.replace("CENTER_CROP: false", "CENTER_CROP: true"), encoding="utf-8"
    )
    assert load_start(tmp_path).contract.shorter_side == 73


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "WINDOW_SIZE: 4",
            "SHIFT: 4",
            r"SPEC has keys that voxmix does not know: SHIFT; features could be others",
        ),
        ("  WIDTH: 16\n", "", "LANG_ENCODER lacks WIDTH; copy the config.yaml"),
        ("UNICL_MODEL:", "UNICL:", "UNICL_MODEL is not there; copy the config.yaml"),
        (
            "[7, 3, 3]",
            "[7, 2, 2]",
            r"PATCH_SIZE is \[7, 2, 2\]; voxmix's network of this family has \[7, 3, 3\]",
        ),
        (
            "TOKENIZER: clip",
            "TOKENIZER: zcode",
            "TOKENIZER is 'zcode'; voxmix's network of this family has 'clip'",
        ),
        ("WINDOW_SIZE: 4", "STANDPARAM: false", "STANDPARAM is False"),
        ("[64, 64]", "[64, 32]", r"IMAGE_SIZE should be one edge, or two equal ones, got \[64, 32\]"),
        ("[0, 0.0, 0.0]", "[0, 0.0]", r"IMAGE_MEAN should be three numbers, got \[0, 0.0\]"),
        ("bicubic", "random", "INTERPOLATION should be one of nearest, bilinear, bicubic, got 'random'"),
        ("WIDTH: 16", "WIDTH: wide", "hidden_size should be a whole number above 0, got 'wide'"),
        ("DEPTHS: [1, 2, 2]", "DEPTHS: 5", "PATCH_SIZE is"),
        ("TASK: UniCLTask", "TASK: [", "is not YAML"),
    ],
)
def test_a_configuration_of_medimageinsight_with_other_features_is_refused(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    _medimageinsight(tmp_path)
    (tmp_path / "config.json").unlink()
    assert old in YAML
    (tmp_path / "config.yaml").write_text(YAML.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        load_start(tmp_path)


@pytest.mark.parametrize("pickled", [True, False])
def test_the_page_on_encoders_makes_a_start_of_what_is_released(
    pickled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = tmp_path / "2024.09.27" / "vision_model"
    release.mkdir(parents=True)
    _, tensors = _medimageinsight(release)
    (release.parent / "config.yaml").write_text(YAML, encoding="utf-8")
    weights = release / "medimageinsigt-v1.0.0.pt"
    if pickled:
        torch.save(tensors, weights)
        (tmp_path / "medimageinsight").mkdir()
        (tmp_path / "medimageinsight" / "config.yaml").write_text(YAML, encoding="utf-8")
        with pytest.raises(InputError, match="never opens a pickle, so make that file"):
            load_start(tmp_path / "medimageinsight")
    else:
        (release / "model.safetensors").rename(weights)
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "encoders.md").read_text(encoding="utf-8")
    section = page[page.index("## Begin from MedImageInsight") :]
    first, second = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:2]
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(first, "encoders.md", "exec"), names)
    exec(compile(second, "encoders.md", "exec"), names)
    assert load_start(tmp_path / "medimageinsight").settings == SMALL


def test_a_hidden_place_cannot_be_seen_and_every_parameter_learns() -> None:
    model = _davit(SMALL).train()
    pixels = _pixels(channels=1).requires_grad_()
    hidden = torch.zeros(2, 16, dtype=torch.bool)
    hidden[:, 5] = True
    model(pixels, hidden).cls.square().sum().backward()
    assert pixels.grad is not None
    assert pixels.grad[..., 16:32, 16:32].abs().max() == 0
    assert pixels.grad[..., :16, :16].abs().max() > 0
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_layers_levels_edges_and_patches_left_out() -> None:
    model = _davit(SMALL)
    assert torch.equal(model.layers(_pixels(), last=2)[-1].cls, model(_pixels()).cls)
    with pytest.raises(InputError, match="features of its last 1 to 2 blocks, got 3"):
        model.layers(_pixels(), last=3)
    with pytest.raises(InputError, match="a multiple of 16, got 40"):
        model(_pixels(40))
    with pytest.raises(InputError, match="cannot leave patches out"):
        model.forward_visible(_pixels(), torch.zeros(2, 1, dtype=torch.int64))
    assert len(model.blocks) == 5
    assert model.level("reductions.0.conv.weight") == 0
    assert model.level("stages.0.0.spatial.qkv.weight") == 1
    assert model.level("reductions.1.conv.weight") == model.level("stages.1.0.channel.fc1.bias") == 2
    assert model.level("stages.2.1.channel.fc1.bias") == 5
    assert model.level("norm.weight") == 6
    assert flops_per_image(SMALL) > 0
    with pytest.raises(InputError, match="davit is for images"):
        DavitSettings(axes=3)
    with pytest.raises(InputError, match="dims must be multiples of heads"):
        DavitSettings(dims=(9,), heads=(2,), depths=(1,))
