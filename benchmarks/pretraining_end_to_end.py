"""Volumes per second from disk to optimizer step: voxmix's loop against MONAI's parts in a plain PyTorch loop.

    python benchmarks/pretraining_end_to_end.py [--rounds 5] [--seconds 8]

The alternative: ``MaskedAutoEncoderViT`` of the same size, ``CacheDataset`` with a random crop and the same light
augmentation, ``list_data_collate``, AdamW, clipping, the same masked error. One thread, one process; the two take
turns, and the best round of each counts. Volumes are random arrays, a sixth larger than a crop. Needs MONAI
(``make peers``).
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from monai.data import CacheDataset, DataLoader, list_data_collate
from monai.networks.nets import MaskedAutoEncoderViT
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    LoadImaged,
    RandAdjustContrastd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandSpatialCropd,
)
from pretraining_step import DEMO, DOMAINS, random_cache

from voxmix.compute import ComputeSettings
from voxmix.design import ModelSettings, RunSpec, TrainingSettings
from voxmix.mixture import Mixture
from voxmix.pretraining.devices import launch_fabric
from voxmix.pretraining.masking import patchify
from voxmix.pretraining.session import Session
from voxmix.pretraining.train import make_step
from voxmix.volumes.cache import PreparedCache

BATCH, VOLUMES = 8, 20
PROXY = ModelSettings(
    crop=96, patch=16, width=192, depth=6, heads=6, decoder_width=96, decoder_depth=2, decoder_heads=4
)
REGIMES = {"proxy, 96^3": PROXY, "demo, 32^3": DEMO}


def voxmix_step(model: ModelSettings, cache: PreparedCache, folder: Path) -> tuple[Callable[[], None], int]:
    """Return one step of the loop behind ``voxmix run``, and the parameters of its network."""
    spec = RunSpec(
        mixture=Mixture.uniform(DOMAINS),
        budget=BATCH << 14,
        seed=0,
        model=model,
        training=TrainingSettings(batch_size=BATCH),
    )
    quiet = ComputeSettings(device="cpu", trackers=(), pictures=False)
    fabric = launch_fabric(quiet, precision=spec.training.precision)
    session = Session.start(
        spec, fabric, compute=quiet, cache=cache, evaluation="", folder=folder, trunk=None
    )
    session.network.train()
    return lambda: make_step(session), sum(p.numel() for p in session.model.parameters())


def monai_step(model: ModelSettings, cache: PreparedCache) -> tuple[Callable[[], None], int]:
    """Return one step of a plain loop over MONAI's parts, and the parameters of its network."""
    training = TrainingSettings(batch_size=BATCH)
    steps = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image", channel_dim="no_channel"),
            EnsureTyped("image", dtype=torch.float32),
            RandSpatialCropd("image", roi_size=(model.crop,) * 3, random_size=False),
            RandScaleIntensityd("image", factors=training.scale, prob=training.scale_probability),
            RandAdjustContrastd("image", prob=training.contrast_probability, gamma=(0.7, 1.4)),
            RandGaussianNoised("image", prob=training.noise_probability, std=training.noise),
        ]
    )
    items = [{"image": str(cache.root / volume.file)} for volume in cache.volumes]
    loader = DataLoader(
        CacheDataset(items, steps, progress=False),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        collate_fn=list_data_collate,
    )
    network = MaskedAutoEncoderViT(
        in_channels=1,
        img_size=model.crop,
        patch_size=model.patch,
        hidden_size=model.width,
        mlp_dim=round(model.width * model.mlp_ratio),
        num_layers=model.depth,
        num_heads=model.heads,
        masking_ratio=model.mask_ratio,
        decoder_hidden_size=model.decoder_width,
        decoder_mlp_dim=round(model.decoder_width * model.mlp_ratio),
        decoder_num_layers=model.decoder_depth,
        decoder_num_heads=model.decoder_heads,
        qkv_bias=True,
        pos_embed_type="learnable",
        decoder_pos_embed_type="learnable",
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.05)
    batches = iter(loader)

    def step() -> None:
        nonlocal batches
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        image = batch["image"].as_tensor()
        predicted, mask = network(image)
        error = (predicted - patchify(image[:, 0], model.patch)).square().mean(dim=2)
        loss = (error * mask).sum() / mask.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step, sum(p.numel() for p in network.parameters())


def rate(step: Callable[[], None], seconds: float) -> tuple[float, float]:
    """Return volumes per second, of the clock and of CPU."""
    began, spent, done = time.perf_counter(), time.process_time(), 0
    while done < 2 or time.perf_counter() < began + seconds:
        step()
        done += BATCH
    return done / (time.perf_counter() - began), done / (time.process_time() - spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    print("| regime | loop | parameters | volumes a second | ratio | volumes a second of CPU | ratio |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name, model in REGIMES.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            cache = random_cache(root, volumes=VOLUMES, edge=model.crop * 7 // 6)
            (root / "run").mkdir()
            ours, theirs = voxmix_step(model, cache, root / "run"), monai_step(model, cache)
            best = {"voxmix": (0.0, 0.0), "MONAI, PyTorch": (0.0, 0.0)}
            for _ in range(options.rounds):
                for loop, (step, _) in zip(best, (ours, theirs), strict=True):
                    step()
                    both = zip(best[loop], rate(step, options.seconds), strict=True)
                    best[loop] = tuple(max(pair) for pair in both)  # type: ignore[assignment]
            base = best["MONAI, PyTorch"]
            for (loop, (clock, cpu)), (_, parameters) in zip(best.items(), (ours, theirs), strict=True):
                print(
                    f"| {name} | {loop} | {parameters:,} | {clock:.1f} | {clock / base[0]:.1f} | "
                    f"{cpu:.1f} | {cpu / base[1]:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
