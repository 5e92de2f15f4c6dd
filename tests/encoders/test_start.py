"""voxmix's own weights as a start: encoders of mixture studies, and backbones of encoder studies."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from voxmix._io import file_digest
from voxmix.backbone_rows import DavitSettings, VitSettings
from voxmix.encoder_runs import TextSettings
from voxmix.encoders.backbone import build_backbone
from voxmix.encoders.contract import Contract
from voxmix.encoders.mae import Encoder
from voxmix.encoders.patches import patchify
from voxmix.encoders.start import load_start, start_backbone, start_text
from voxmix.encoders.text import build_text_encoder
from voxmix.encoders.vit import Vit
from voxmix.errors import InputError
from voxmix.run_settings import ModelSettings, identity
from voxmix.training.checkpoint import save_weights

GRAY = Contract(image=32, shorter_side=36, channels=1, mean=(0.4,), std=(0.2,))


def _encoder(folder: Path, settings: ModelSettings) -> Encoder:
    """Write a mixture study's encoder, as a run does."""
    torch.manual_seed(0)
    encoder = Encoder(settings)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder.mkdir()
    weights = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    safetensors.torch.save_file(weights, folder / "weights.safetensors")
    card = {
        "kind": "checkpoint",
        "format": 1,
        "weights": "weights.safetensors",
        "weights_sha256": file_digest(folder / "weights.safetensors"),
        "encoder": dataclasses.asdict(settings),
        "encoder_prefix": "encoder.",
        "recipe": {},
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return encoder.eval()


@pytest.mark.parametrize("axes", [2, 3])
def test_an_encoder_of_a_mixture_study_gives_the_features_that_it_gave(tmp_path: Path, axes: int) -> None:
    settings = ModelSettings(crop=16, patch=8, width=24, depth=2, heads=3, axes=axes)  # type: ignore[arg-type]
    encoder = _encoder(tmp_path / "run", settings)
    start = load_start(tmp_path / "run", axes=axes, channels=1)
    assert (start.family, start.fresh) == ("voxmix", ("mask_token",))
    backbone = start_backbone(start, 0).eval()
    assert isinstance(backbone, Vit)
    crops = torch.rand(2, *(16,) * axes)
    grid = settings.grid
    index = torch.arange(grid.patches).expand(2, -1)
    with torch.no_grad():
        expected = encoder(patchify(crops, grid), index)
        found = backbone(crops.unsqueeze(1))
        torch.testing.assert_close(found.patches, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(found.cls, expected.mean(dim=1), rtol=0, atol=1e-5)
        some = backbone.forward_visible(crops.unsqueeze(1), index[:, 1:3])
        seen = encoder(patchify(crops, grid)[:, 1:3], index[:, 1:3])
        torch.testing.assert_close(some.patches, seen, rtol=0, atol=1e-5)
    assert backbone(torch.rand(2, 1, *(24,) * axes)).patches.shape[1] == 3**axes
    with pytest.raises(InputError, match="this run has"):
        load_start(tmp_path / "run", axes=5 - axes)


def _run(
    folder: Path,
    settings: VitSettings | DavitSettings,
    state: dict[str, torch.Tensor],
    prefix: str = "backbone.",
    more: dict[str, torch.Tensor] | None = None,
    **card: Any,
) -> Path:
    """Write what a run of an encoder study publishes, with ``state`` as its backbone."""
    network = torch.nn.Module()
    for name, tensor in ({prefix + n: t for n, t in state.items()} | (more or {})).items():
        *path, last = name.split(".")
        module = network
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, torch.nn.Module())
            module = getattr(module, part)
        module.register_buffer(last, tensor)
    folder.mkdir(exist_ok=True)
    known = {"encoder": {"name": settings.name, **identity(settings)}, "encoder_prefix": prefix, "recipe": {}}
    save_weights(folder, network, known | card)
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        VitSettings(image=32, patch=8, width=24, depth=2, heads=3, registers=2, ffn="swiglu"),
        DavitSettings(image=32, dims=(8, 16), depths=(1, 1), heads=(2, 2), window=4),
    ],
    ids=["vit", "davit"],
)
def test_a_contrastive_run_is_read_with_text_and_projections(
    tmp_path: Path, settings: VitSettings | DavitSettings
) -> None:
    backbone = build_backbone(settings, 3).eval()
    text_settings = TextSettings(width=16, depth=1, heads=2, context=6, vocabulary=300)
    text = build_text_encoder(text_settings, 4).eval()
    head = {"image_projection.weight": torch.randn(12, 24), "logit_scale": torch.tensor(2.0)}
    more = head | {f"text.{name}": tensor for name, tensor in text.state_dict().items()}
    folder = _run(
        tmp_path / "run",
        settings,
        backbone.state_dict(),
        more=more,
        text=identity(text_settings),
        contract=GRAY.as_dict(),
    )
    start = load_start(folder)
    assert (start.family, start.fresh, start.settings, start.contract) == ("voxmix", (), settings, GRAY)
    again, pixels = start_backbone(start, 0).eval(), torch.rand(2, 1, 32, 32)
    assert torch.equal(again(pixels).cls, backbone(pixels).cls)
    assert start.text is not None
    tokens = torch.tensor([[1, 2, 299]])
    assert torch.equal(start_text(start.text).eval()(tokens), text(tokens))
    assert start.head.keys() == head.keys()
    assert load_start(folder).digest == start.digest
    assert load_start(folder, image=64).settings.image == 64


def test_of_a_self_distilled_run_the_teacher_is_read(tmp_path: Path) -> None:
    settings = VitSettings(image=16, patch=8, width=12, depth=1, heads=1)
    student, teacher = build_backbone(settings, 0), build_backbone(settings, 1).eval()
    more = {f"student.backbone.{name}": tensor for name, tensor in student.state_dict().items()}
    for tower in ("student", "teacher"):
        more |= {f"{tower}.head.mlp.0.weight": torch.full((4, 12), float(tower == "teacher"))}
    more |= {"teacher.head.prototypes": torch.ones(32, 4), "center": torch.zeros(32)}
    folder = _run(
        tmp_path / "run", settings, teacher.state_dict(), prefix="teacher.backbone.", more=more, text=None
    )
    start = load_start(folder)
    pixels = torch.rand(2, 1, 16, 16)
    assert torch.equal(start_backbone(start, 0).eval()(pixels).cls, teacher(pixels).cls)
    assert start.head["head.mlp.0.weight"].min() == 1
    assert start.head_settings() == {"prototypes": 32, "head_bottleneck": 4, "head_layers": 1}
    assert (start.contract.mean, start.contract.std) == ((0.5,), (0.25,))


def test_a_damaged_run_is_refused(tmp_path: Path) -> None:
    settings = VitSettings(image=16, patch=8, width=12, depth=1, heads=1)
    state = build_backbone(settings, 0).state_dict()
    _run(tmp_path, settings, {name: tensor for name, tensor in state.items() if name != "norm.bias"})
    with pytest.raises(InputError, match=r"Missing: norm\.bias\. Unexpected: none"):
        load_start(tmp_path)
    _run(tmp_path, settings, {**state, "more": torch.zeros(1)})
    with pytest.raises(InputError, match=r"Missing: none\. Unexpected: more"):
        load_start(tmp_path)
    _run(tmp_path, settings, {**state, "norm.bias": torch.zeros(3)})
    with pytest.raises(InputError, match=r"norm\.bias is \(3,\), the network has \(12,\)"):
        load_start(tmp_path)
    _run(tmp_path, settings, state)
    load_start(tmp_path)
    card_file = tmp_path / "card.json"
    card = json.loads(card_file.read_text(encoding="utf-8"))
    for change, message in (
        ({"format": 99}, "format version 99"),
        ({"contract": {}}, "contract of images cannot be used"),
        ({"encoder": {"name": "vit", "wide": 3}}, "is damaged"),
        ({"encoder": {"name": "vit", "depth": 10**9}}, "1,000,000,000 blocks, of"),
        ({"encoder": {**card["encoder"], "width": 10**9}}, "a network that its weights cannot be of"),
        ({"encoder": {**card["encoder"], "depth": 2.5}}, "is damaged.*depth"),
        ({"text": {"depth": 10**9}}, "a network that its weights cannot be of"),
        ({"text": {"width": 10, "heads": 3}}, "text width must be a multiple of heads"),
        ({"weights": "../weights.safetensors"}, r"expected a \.safetensors file in the same folder"),
    ):
        card_file.write_text(json.dumps(card | change), encoding="utf-8")
        with pytest.raises(InputError, match=f"(?s){message}"):
            load_start(tmp_path)
    card_file.write_text(json.dumps(card), encoding="utf-8")
    with (tmp_path / "weights.safetensors").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(InputError, match="changed or damaged"):
        load_start(tmp_path)
