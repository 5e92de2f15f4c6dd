"""Loads our encoder strictly into the UNETR of MONAI's older releases and compares the features, in float64.

    python tests/pretraining/check_monai_releases.py

Each release is installed into a temporary folder, not into the environment. Needs the network, so it is no part
of the test suite.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

import torch

from voxmix.design import ModelSettings
from voxmix.pretraining.build import build_model
from voxmix.pretraining.masking import patchify
from voxmix.pretraining.weight_names import MonaiLine, prefixed, to_monai

RELEASES = {"1.3": "1.3.2", "1.4": "1.4.0", "1.5": "1.5.1", "1.6": "1.6.1"}
SETTINGS = ModelSettings(
    crop=32, patch=16, width=24, depth=12, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
)
IN_RELEASE = """
import sys, torch, monai
from monai.networks.nets import UNETR
assert monai.__version__ == sys.argv[2], monai.__version__
saved = torch.load(sys.argv[1], weights_only=True)
unetr = UNETR(1, 2, img_size=32, feature_size=4, hidden_size=24, mlp_dim=96, num_heads=2).eval()
rest = {k: v for k, v in unetr.state_dict().items() if not k.startswith("vit.")}
unetr.load_state_dict({**rest, **saved["state"]}, strict=True)
with torch.no_grad():
    torch.testing.assert_close(unetr.double().vit(saved["volume"])[0], saved["features"])
"""


def check(line: MonaiLine, release: str, folder: Path) -> None:
    encoder = build_model(SETTINGS, domains=1, seed=0).encoder
    state = to_monai(prefixed(encoder.state_dict()), line=line)
    volume = torch.rand(1, 1, 32, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        features = encoder.double()(patchify(volume[:, 0], 16), torch.arange(8).unsqueeze(0))
    torch.save({"state": state, "volume": volume, "features": features}, folder / "saved.pt")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "monai")]
    subprocess.run([*pip, f"monai=={release}"], check=True)
    command = [sys.executable, "-W", "ignore", "-c", IN_RELEASE, str(folder / "saved.pt"), release]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(folder / "monai")})


def main() -> None:
    assert set(RELEASES) == set(get_args(MonaiLine))
    for line in get_args(MonaiLine):
        with tempfile.TemporaryDirectory() as folder:
            check(line, RELEASES[line], Path(folder))
        sys.stdout.write(f"MONAI {RELEASES[line]}: strict load, same features\n")


if __name__ == "__main__":
    main()
