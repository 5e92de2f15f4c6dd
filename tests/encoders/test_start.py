"""voxmix's own weights as a start: encoders of mixture studies, and backbones of encoder studies."""

import dataclasses
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from voxmix._io import file_digest
from voxmix.backbone_rows import DavitSettings, VitSettings
from voxmix.encoder_runs import TextSettings
from voxmix.encoders.backbone import build_backbone
from voxmix.encoders.backbone_files import write_backbone
from voxmix.encoders.contract import Contract
from voxmix.encoders.mae import Encoder
from voxmix.encoders.open_weights import TextWeights
from voxmix.encoders.patches import patchify
from voxmix.encoders.start import load_start, start_backbone, start_text
from voxmix.encoders.text import build_text_encoder
from voxmix.encoders.vit import Vit
from voxmix.errors import InputError
from voxmix.run_settings import ModelSettings

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
    (folder / "card.json").write_text(json.dumps(card))
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


@pytest.mark.parametrize(
    "settings",
    [
        VitSettings(image=32, patch=8, width=24, depth=2, heads=3, registers=2, ffn="swiglu"),
        DavitSettings(image=32, dims=(8, 16), depths=(1, 1), heads=(2, 2), window=4),
    ],
    ids=["vit", "davit"],
)
def test_a_trained_backbone_is_read_as_it_was_written(
    tmp_path: Path, settings: VitSettings | DavitSettings
) -> None:
    backbone = build_backbone(settings, 3).eval()
    text_settings = TextSettings(width=16, depth=1, heads=2, context=6, vocabulary=300)
    text = build_text_encoder(text_settings, 4).eval()
    head = {"image_projection": torch.randn(12, 24), "logit_scale": torch.tensor(2.0)}
    write_backbone(
        tmp_path / "run",
        settings=settings,
        state=backbone.state_dict(),
        contract=GRAY,
        head=head,
        text=TextWeights(settings=text_settings, state=text.state_dict()),
        about={"objective": "clip"},
    )
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["objective"] == "clip"
    assert Contract.from_dict(card["contract"]) == GRAY
    start = load_start(tmp_path / "run")
    assert (start.family, start.fresh, start.settings, start.contract) == ("voxmix", (), settings, GRAY)
    again, pixels = start_backbone(start, 0).eval(), torch.rand(2, 1, 32, 32)
    assert torch.equal(again(pixels).cls, backbone(pixels).cls)
    assert start.text is not None
    tokens = torch.tensor([[1, 2, 299]])
    assert torch.equal(start_text(start.text).eval()(tokens), text(tokens))
    assert start.head.keys() == head.keys()
    assert load_start(tmp_path / "run").digest == start.digest
    assert load_start(tmp_path / "run", image=64).settings.image == 64


def test_a_damaged_run_is_refused(tmp_path: Path) -> None:
    settings = VitSettings(image=16, patch=8, width=12, depth=1, heads=1)
    backbone = build_backbone(settings, 0)
    contract = dataclasses.replace(GRAY, image=16)

    def write(state: dict[str, torch.Tensor]) -> Path:
        write_backbone(tmp_path, settings=settings, state=state, contract=contract)
        return tmp_path / "card.json"

    state = backbone.state_dict()
    card_file = write({name: tensor for name, tensor in state.items() if name != "norm.bias"})
    with pytest.raises(InputError, match=r"Missing: norm\.bias\. Unexpected: none"):
        load_start(tmp_path)
    write({**state, "more": torch.zeros(1)})
    with pytest.raises(InputError, match=r"Missing: none\. Unexpected: more"):
        load_start(tmp_path)
    write({**state, "norm.bias": torch.zeros(3)})
    with pytest.raises(InputError, match=r"norm\.bias is \(3,\), the network has \(12,\)"):
        load_start(tmp_path)
    write(state)
    load_start(tmp_path)
    card = json.loads(card_file.read_text())
    for change, message in (
        ({"format": 99}, "format version 99"),
        ({"contract": {}}, "contract of images cannot be used"),
        ({"backbone": {"name": "vit", "wide": 3}}, "is damaged"),
        ({"backbone": {"name": "vot"}}, "did you mean 'vit'"),
        ({"weights": "../weights.safetensors"}, "expected a .safetensors file in the same folder"),
    ):
        card_file.write_text(json.dumps(card | change))
        with pytest.raises(InputError, match=message):
            load_start(tmp_path)
    card_file.write_text(json.dumps(card))
    with (tmp_path / "weights.safetensors").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(InputError, match="changed or damaged"):
        load_start(tmp_path)
