"""Weights and mixtures in the libraries they are made for, each installed into a temporary folder.

    python tests/training/check_interchange.py [monai] [timm] [loaders]

Whole UNETRs go to the UNETR of MONAI's release lines and back, strictly, with the same output in float64; an exported
encoder goes into timm's VisionTransformer by the lines of its README; the scripts for WebDataset and MosaicML
streaming draw a mixture, and batchgenerators (nnssl's loader) by the recipe's probabilities. Needs the network, so it
is no part of the test suite. Where a library imports more at its start than these lines use (torchvision,
transformers), empty modules stand in.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from voxmix.design import RunSpec
from voxmix.encoders.interchange import load_encoder, load_strict
from voxmix.encoders.mae import Encoder
from voxmix.encoders.networks import build_model
from voxmix.encoders.patches import patchify
from voxmix.encoders.unetr import Unetr
from voxmix.encoders.weight_names import MonaiLine, from_monai, prefixed, to_monai, to_timm
from voxmix.export.encoder import export_encoder
from voxmix.export.feeds import Loader, write_feed
from voxmix.grid import Grid
from voxmix.mixture import Mixture
from voxmix.objectives.mae.publish import run_card
from voxmix.run_settings import ModelSettings
from voxmix.training.checkpoint import save_weights
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.recipe import Recipe

RELEASES: dict[MonaiLine, str] = {"1.3": "1.3.2", "1.4": "1.4.0", "1.5": "1.5.1", "1.6": "1.6.1"}
TIMM = ("timm==1.0.31",)
LOADERS: dict[Loader, tuple[str, ...]] = {
    "webdataset": ("webdataset==1.0.2", "braceexpand"),
    "streaming": (
        "mosaicml-streaming==0.13.0", "Brotli", "xxhash", "zstd<2", "python-snappy", "cramjam", "catalogue", "tqdm",
    ),
    "nnssl": ("batchgenerators==0.25.5",),
    "torchio": ("torchio==1.2.1", "deprecated", "humanize", "wrapt"),
    "datasets": (
        "datasets==5.2.0", "dill", "multiprocess", "pandas", "python-dateutil", "requests", "six", "urllib3", "xxhash",
    ),
}  # fmt: skip
SETTINGS = ModelSettings(
    crop=32, patch=16, width=24, depth=12, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
)
MIXTURE = Mixture.from_dict({"CT": 0.6, "MR": 0.3, "PET": 0.1})

MONAI_CODE = """
import sys, torch, monai
from monai.networks.nets import UNETR
assert monai.__version__ == sys.argv[2], monai.__version__
saved = torch.load(sys.argv[1], weights_only=True)
unetr = UNETR(1, 2, img_size=32, feature_size=4, hidden_size=24, mlp_dim=96, num_heads=2).eval()
theirs = {k: v.clone() for k, v in unetr.state_dict().items()}
with torch.no_grad():
    answer = unetr.double()(saved["volume"])
    unetr.load_state_dict(saved["state"], strict=True)
    torch.testing.assert_close(unetr(saved["volume"]), saved["output"])
torch.save({"state": theirs, "output": answer}, sys.argv[3])
"""
EMPTY = """
import importlib.machinery, sys, types
for name in sys.argv[1].split(","):
    module = types.ModuleType(name)
    module.__path__, module.__file__ = [], "empty"
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__getattr__ = lambda attribute: type(attribute, (), {})
    sys.modules[name] = module
"""
TIMM_CODE = """
import re, torch
exec(re.search(r"```python\\n(.*?)```", open("README.md").read(), re.DOTALL)[1])
saved = torch.load("saved.pt", weights_only=True)
with torch.no_grad():
    found = network.eval().double().forward_features(saved["volume"])
torch.testing.assert_close(found, saved["features"])
"""
TIMM_IMAGES_CODE = """
import torch
from functools import partial
from timm.models.vision_transformer import VisionTransformer
network = VisionTransformer(
    img_size=48, patch_size=8, in_chans=1, embed_dim=24, depth=3, num_heads=2, mlp_ratio=4, qkv_bias=False,
    class_token=False, global_pool="", num_classes=0, norm_layer=partial(torch.nn.LayerNorm, eps=1e-5)
)
saved = torch.load("saved.pt", weights_only=True)
network.load_state_dict(saved["state"])
with torch.no_grad():
    found = network.eval().double().forward_features(saved["volume"])
torch.testing.assert_close(found, saved["features"])
"""
RUN = "import runpy; sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')"
NO_IMAGES = "timm.data,torchvision,torchvision.ops,torchvision.ops.misc,torchvision.models,torchvision.models.feature_extraction"
NO_TEXT = ",".join(
    [*(f"streaming.{part}" for part in ("text", "vision", "multimodal")), "transformers",
     "transformers.feature_extraction_utils", "transformers.tokenization_utils_base"]
)  # fmt: skip


def install(folder: Path, packages: tuple[str, ...]) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, *packages], check=True)


def run(libraries: Path, *arguments: str, cwd: Path | None = None) -> str:
    command = [sys.executable, "-W", "ignore", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(libraries)}
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_monai(line: MonaiLine, folder: Path) -> str:
    torch.manual_seed(0)
    ours = Unetr(SETTINGS, out_channels=2, feature_size=4).eval()
    state = to_monai(ours.state_dict(), line=line)
    volume = torch.rand(1, 1, 32, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        output = ours.double()(volume)
    torch.save({"state": state, "volume": volume, "output": output}, folder / "saved.pt")
    install(folder / "libraries", (f"monai=={RELEASES[line]}",))
    back = folder / "back.pt"
    run(folder / "libraries", "-c", MONAI_CODE, str(folder / "saved.pt"), RELEASES[line], str(back))
    saved = torch.load(back, weights_only=True)
    again = Unetr(SETTINGS, out_channels=2, feature_size=4).eval()
    load_strict(again, from_monai(saved["state"]))
    with torch.no_grad():
        torch.testing.assert_close(again.double()(volume), saved["output"])
    return f"MONAI {RELEASES[line]}: a whole UNETR there and back, strictly, with the same output"


def check_timm(folder: Path) -> str:
    cache = small_cache(folder / "cache")
    spec = RunSpec(mixture=MIXTURE, budget=10, seed=0, model=SETTINGS)
    draws = dict(zip(MIXTURE.domains, MIXTURE.draws(10).tolist(), strict=True))
    model = build_model(SETTINGS, domains=3, seed=0)
    (folder / "run").mkdir()
    save_weights(folder / "run", model, run_card(spec, model, cache, draws))
    hub = folder / "hub"
    export_encoder(folder / "run", hub, names="timm")
    volume = torch.rand(1, 1, 32, 32, 32, dtype=torch.float64)
    assert load_encoder(hub).card["names"] == "timm"
    with torch.no_grad():
        features = model.encoder.double()(
            patchify(volume[:, 0], Grid.of(32, 16)), torch.arange(8).unsqueeze(0)
        )
    torch.save({"volume": volume, "features": features}, hub / "saved.pt")
    install(folder / "libraries", TIMM)
    run(folder / "libraries", "-c", EMPTY + TIMM_CODE, NO_IMAGES, cwd=hub)
    return f"{TIMM[0]}: the README's lines load an export strictly, with the same features"


def check_timm_images(folder: Path) -> str:
    settings = ModelSettings(axes=2, crop=48, patch=8, width=24, depth=3, heads=2)
    torch.manual_seed(0)
    encoder, images = Encoder(settings), torch.rand(2, 1, 48, 48, dtype=torch.float64)
    state = to_timm(prefixed(encoder.state_dict()))
    with torch.no_grad():
        features = encoder.double()(patchify(images[:, 0], settings.grid), torch.arange(36).repeat(2, 1))
    torch.save({"state": state, "volume": images, "features": features}, folder / "saved.pt")
    install(folder / "libraries", TIMM)
    run(folder / "libraries", "-c", EMPTY + TIMM_IMAGES_CODE, NO_IMAGES, cwd=folder)
    return f"{TIMM[0]}: an encoder of images goes into its own VisionTransformer strictly, with the same features"


def check_loader(loader: Loader, folder: Path) -> str:
    libraries, cache = folder / "libraries", small_cache(folder / "cache")
    install(libraries, LOADERS[loader])
    *_, script = write_feed(MIXTURE, folder / "feed", loader=loader, budget=1000, cache=cache)
    if loader == "nnssl":
        code = f"""
import sys, numpy, runpy
from collections import Counter
from batchgenerators.dataloading.data_loader import DataLoader
recipe = runpy.run_path({str(script)!r})
names = [f"all__{{d}}__s{{i}}__1__a" for d, n in (("CT", 2), ("MR", 5), ("PET", 30)) for i in range(n)]
class Loader(DataLoader):
    def generate_train_batch(self):
        return self.get_indices()
p = recipe["probabilities"](names, {MIXTURE.as_dict()!r})
loader = Loader(names, 10, 1, None, True, False, True, None)
loader.indices = names
loader.sampling_probabilities = p
numpy.random.seed(0)
counts = Counter(n.split("__")[1] for _ in range(200) for n in next(loader))
for d, share in {MIXTURE.as_dict()!r}.items():
    print(f"{{d}}: wanted {{share:.4f}}, realized {{counts[d] / 2000:.4f}}")
"""
        text = run(libraries, "-c", code)
    elif loader in ("torchio", "datasets"):
        text = run(libraries, str(script), str(cache.root), "2000")
    else:
        start = ("-c", EMPTY + RUN, NO_TEXT, str(script))
        run(libraries, *start, "pack", str(cache.root), str(folder / "packed"))
        text = run(libraries, *start, "draw", str(folder / "packed"), "2000")
    realized = {line.split(":")[0]: float(line.split()[-1]) for line in text.splitlines()}
    for name, share in MIXTURE.as_dict().items():
        assert abs(realized[name] - share) < 0.04, text
    return f"{LOADERS[loader][0]}: {json.dumps(realized)} of {json.dumps(MIXTURE.as_dict())}"


def small_cache(root: Path) -> PreparedCache:
    (root / "volumes").mkdir(parents=True)
    volumes = []
    for name, count in {"CT": 5, "MR": 7, "PET": 13}.items():
        for i in range(count):
            file, shape = f"volumes/{name}{i}.npy", (9 + i, 8, 10)
            np.save(root / file, np.zeros(shape, dtype=np.float16))
            volumes.append(
                PreparedVolume(
                    key=file, domain=name, subject=str(i), split="train", shape=shape, spacing_mm=1.0, file=file
                )
            )  # fmt: skip
    rule = IntensityRule(kind="percentile", low=0.5, high=99.5)
    recipe = Recipe(spacing_mm=1.0, min_shape=(8, 8, 8), intensity=dict.fromkeys(MIXTURE.domains, rule))
    return PreparedCache(root=root, volumes=tuple(volumes), recipe=recipe)


def main() -> None:
    assert set(RELEASES) == set(get_args(MonaiLine))
    wanted = sys.argv[1:] or ["monai", "timm", "loaders"]
    checks = []
    if "monai" in wanted:
        checks += [lambda folder, line=line: check_monai(line, folder) for line in RELEASES]
    if "timm" in wanted:
        checks += [check_timm, check_timm_images]
    if "loaders" in wanted:
        checks += [lambda folder, loader=loader: check_loader(loader, folder) for loader in LOADERS]
    for check in checks:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(f"{check(Path(folder))}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
