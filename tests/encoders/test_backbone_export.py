"""Exported backbones: transformers' features are ours, and what comes back is what went out."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from voxmix.backbone_rows import BackboneSettings, DavitSettings, VitSettings
from voxmix.encoder_runs import TextSettings
from voxmix.encoders.backbone import Backbone, build_backbone
from voxmix.encoders.contract import Contract
from voxmix.encoders.start import load_start
from voxmix.encoders.text import build_text_encoder
from voxmix.errors import InputError
from voxmix.export.backbone import export_backbone
from voxmix.run_settings import identity
from voxmix.training.checkpoint import save_weights

VIT = VitSettings(image=28, patch=7, width=24, depth=2, heads=3, layer_scale=0.5)
CONTRACT = Contract(image=42, shorter_side=48, channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
TEXT = TextSettings(width=16, depth=1, heads=2, context=6, vocabulary=40)


def shaken(network: nn.Module) -> nn.Module:
    """Make every weight count."""
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    return network


def run_of(
    folder: Path, settings: BackboneSettings, *, contract: Contract | None = None, **beside: nn.Module
) -> tuple[Path, Backbone]:
    """Write what a finished run leaves of its weights, with more in its card than an export may pass on."""
    backbone = build_backbone(settings, 0)
    shaken(backbone)
    if contract is not None:
        backbone.pixel_mean.copy_(torch.tensor(contract.mean))
        backbone.pixel_std.copy_(torch.tensor(contract.std))
    card: dict[str, Any] = {
        "run_id": "77ab",
        "encoder": {"name": settings.name, **identity(settings)},
        "encoder_prefix": "teacher.backbone.",
        "objective": "dino",
        "objective_settings": {},
        "text": identity(TEXT) if "text" in beside else None,
        "tokenizer": "",
        "contract": None if contract is None else contract.as_dict(),
        "start": None,
        "samples": 64,
        "subset": "5e7",
        "budget": 640,
        "seed": 0,
        "cache": "cac4e",
        "recipe": {"pixels": 40, "low": 1.0, "high": 99.0},
        "code": "0",
        "folder": "/data/Person Name/films",
    }
    save_weights(folder, nn.ModuleDict({"teacher": nn.ModuleDict({"backbone": backbone, **beside})}), card)
    return folder, backbone.eval()


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(24, 8))
        self.prototypes = nn.Parameter(torch.randn(5, 8))


@pytest.mark.parametrize(
    ("settings", "contract"),
    [
        (VIT, None),
        (replace(VIT, channels=3), CONTRACT),
        (replace(VIT, registers=2), None),
        (replace(VIT, registers=2, style="dinov2-registers", channels=3), CONTRACT),
        (replace(VIT, ffn="swiglu"), None),
        (replace(VIT, layer_scale=0.0), None),
        (replace(VIT, drop_path=0.2), None),
    ],
    ids=["gray", "color", "registers", "registers in color", "swiglu", "no scale", "drop path"],
)
def test_transformers_opens_the_folder_and_has_the_features_of_the_run(
    transformers: ModuleType, tmp_path: Path, settings: VitSettings, contract: Contract | None
) -> None:
    run, ours = run_of(tmp_path / "run", settings, contract=contract)
    _, files = export_backbone(run, tmp_path / "out")
    assert {"model.safetensors", "config.json", "preprocessor_config.json", "card.json"} < {*files}
    theirs, told = transformers.AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    theirs.eval()
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not told[what]
    known = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text(encoding="utf-8"))
    mean, std = (torch.tensor(known[name]).view(-1, 1, 1) for name in ("image_mean", "image_std"))
    assert known["crop_size"] == {"height": 28, "width": 28}
    assert known["size"] == {"shortest_edge": 32 if contract else 28}
    pixels = torch.rand(2, settings.channels, 28, 28, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        found, expected = theirs((pixels - mean) / std).last_hidden_state, ours(pixels)
    torch.testing.assert_close(found[:, 0], expected.cls, rtol=0, atol=1e-4)
    torch.testing.assert_close(found[:, 1 + settings.registers :], expected.patches, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        VIT,
        replace(VIT, layer_scale=0.0, registers=2, ffn="swiglu", drop_path=0.1),
        replace(VIT, axes=3, image=14),
        replace(VIT, style="clip", layer_scale=0.0),
        replace(VIT, mlp_ratio=3.5),
        DavitSettings(image=32, dims=(8, 16), depths=(1, 1), heads=(2, 2), window=4),
    ],
    ids=["hub", "hub without scale", "3D", "clip", "ratio", "davit"],
)
def test_a_start_from_the_export_is_a_start_from_the_run(tmp_path: Path, settings: BackboneSettings) -> None:
    run, _ = run_of(tmp_path / "run", settings, head=Head(), text=build_text_encoder(TEXT, 0))
    card, files = export_backbone(run, tmp_path / "out", license="mit")
    again, files_again = export_backbone(tmp_path / "out", tmp_path / "again", license="mit")
    assert again == card
    assert files_again == files
    first, second = load_start(run), load_start(tmp_path / "out")
    assert second.digest == first.digest == load_start(tmp_path / "again").digest
    assert second.settings == first.settings
    assert second.head_settings() == first.head_settings() != {}
    assert second.text is not None
    assert {*second.head} == {"head.mlp.0.weight", "head.mlp.0.bias", "head.prototypes"}
    with pytest.raises(InputError, match="choose another folder"):
        export_backbone(run, run)


def test_nothing_goes_on_but_settings_counts_and_digests(tmp_path: Path) -> None:
    run, _ = run_of(tmp_path / "run", VIT)
    _, files = export_backbone(run, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*files}
    for path in (tmp_path / "out").iterdir():
        for word in (b"Person", b"/data", str(tmp_path).encode()):
            assert word not in path.read_bytes()


def test_the_readme_has_lines_that_load_the_weights(
    transformers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, ours = run_of(tmp_path / "run", replace(VIT, channels=3), contract=CONTRACT)
    export_backbone(run, tmp_path / "out", license="apache-2.0")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: apache-2.0\nlibrary_name: transformers\n")
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path / "out")
    for block in blocks:
        known: dict[str, Any] = {}
        exec(block, known)
        with torch.no_grad():
            torch.testing.assert_close(known["features"], ours(known["images"]).cls, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("file", "words"),
    [("model.safetensors", "SHA-256"), ("heads.safetensors", "SHA-256"), ("card.json", "JSON")],
)
def test_an_export_that_was_damaged_is_refused(tmp_path: Path, file: str, words: str) -> None:
    run, _ = run_of(tmp_path / "run", VIT, head=Head())
    export_backbone(run, tmp_path / "out")
    path = tmp_path / "out" / file
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=words):
        load_start(tmp_path / "out")
    path.unlink()
    with pytest.raises(InputError, match="no such file" if "card" not in file else "preprocessor_config"):
        load_start(tmp_path / "out") if "card" not in file else _without_preprocessor(tmp_path / "out")


def _without_preprocessor(folder: Path) -> None:
    assert load_start(folder).family == "dinov2"  # as a folder of transformers, without its card
    (folder / "preprocessor_config.json").unlink()
    load_start(folder)
