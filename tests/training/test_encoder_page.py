"""The Python of docs/how-to/encoders.md, run from top to bottom on an export."""

import re
from pathlib import Path

import torch

from voxmix.design import RunSpec
from voxmix.encoders.networks import build_model
from voxmix.export.encoder import export_encoder
from voxmix.mixture import Mixture
from voxmix.objectives.mae.publish import run_card
from voxmix.training.checkpoint import save_weights

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "encoders.md"


def test_the_page_s_lines_run(cache, model_settings, tmp_path, monkeypatch, capsys):
    spec = RunSpec(mixture=Mixture.pure(("CT", "MR"), "MR"), budget=8, seed=0, model=model_settings)
    model = build_model(model_settings, domains=2, seed=0)
    save_weights(tmp_path, model, run_card(spec, model, cache, {"CT": 0, "MR": 8}))
    export_encoder(tmp_path, tmp_path / "encoder", names="timm")
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    text, _, other = PAGE.read_text(encoding="utf-8").partition("## Begin from MedImageInsight")
    assert other, "tests/encoders/test_davit.py runs the rest"
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(block, found)
    assert capsys.readouterr().out == "1.5 mm\n"
    state = model.encoder.state_dict()
    assert all(torch.equal(found["network"].vit.state_dict()[name], state[name]) for name in state)
    assert all(torch.equal(found["ours"][name], state[name]) for name in state)
