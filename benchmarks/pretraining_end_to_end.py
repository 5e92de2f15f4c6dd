"""Volumes per second from disk to optimizer step: voxmix's loop against MONAI's parts in a plain PyTorch loop.

    python benchmarks/pretraining_end_to_end.py [--rounds 5] [--seconds 8]

The alternative: ``MaskedAutoEncoderViT`` of the same size, ``CacheDataset`` with a random crop and the same light
augmentation, ``list_data_collate``, AdamW, clipping, the same masked error. It runs as one would write it, and once more
with what voxmix's loop sets on a CPU (products by oneDNN, memory that is kept). One thread; each loop has a process of
its own, they take turns, and the best round of each counts. Volumes are random arrays, a sixth larger than a crop. Needs
MONAI (``make peers``).
"""

import argparse
import json
import subprocess
import sys
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
from pretraining_step import BATCH, REGIMES, VOLUMES, random_cache, voxmix_step

from voxmix.encoders.patches import patchify
from voxmix.run_settings import ModelSettings, TrainingSettings
from voxmix.training.devices import tune_cpu
from voxmix.volumes.preparing.cache import PreparedCache

CPU = torch.device("cpu")


def monai_step(
    model: ModelSettings,
    cache: PreparedCache,
    folder: Path,
    *,
    batch_size: int = BATCH,
    device: torch.device = CPU,
    bf16: bool = False,
    workers: int = 0,
) -> tuple[Callable[[], None], int]:
    """Return one step of a plain loop over MONAI's parts, and the parameters of its network."""
    training = TrainingSettings(batch_size=batch_size)
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
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        collate_fn=list_data_collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
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
    ).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.05)
    batches = iter(loader)

    def step() -> None:
        nonlocal batches
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        image = batch["image"].as_tensor().to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            predicted, mask = network(image)
        error = (predicted - patchify(image[:, 0], model.grid)).square().mean(dim=2)
        loss = (error * mask).sum() / mask.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step, sum(p.numel() for p in network.parameters())


def monai_step_tuned(
    model: ModelSettings, cache: PreparedCache, folder: Path
) -> tuple[Callable[[], None], int]:
    """Return the same with the process set as voxmix sets its own."""
    tune_cpu(torch.device("cpu"))
    return monai_step(model, cache, folder)


LOOPS = {
    "voxmix": voxmix_step,
    "MONAI, PyTorch": monai_step,
    "MONAI, PyTorch, with voxmix's CPU settings": monai_step_tuned,
}


def measure(loop: str, regime: str, root: Path, seconds: float) -> dict[str, float]:
    """Return volumes per second, of the clock and of CPU, and the number of parameters."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    model = REGIMES[regime]
    with tempfile.TemporaryDirectory() as folder:
        step, parameters = LOOPS[loop](
            model, random_cache(root, volumes=VOLUMES, edge=model.crop * 7 // 6), Path(folder)
        )
        for _ in range(3):
            step()
        began, spent, done = time.perf_counter(), time.process_time(), 0
        while done < 2 or time.perf_counter() < began + seconds:
            step()
            done += BATCH
        clock, cpu = time.perf_counter() - began, time.process_time() - spent
    return {"clock": done / clock, "cpu": done / cpu, "parameters": parameters}


def in_child(loop: str, regime: str, root: Path, seconds: float) -> dict[str, float]:
    """Return what :func:`measure` gives in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps([loop, regime, str(root), seconds])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{loop}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        loop, regime, root, seconds = json.loads(options.child)
        print(json.dumps(measure(loop, regime, Path(root), seconds)))
        return
    print(
        "| regime | loop | parameters | volumes a second | voxmix's times | volumes a second of CPU | voxmix's times |"
    )
    print("|---|---|---:|---:|---:|---:|---:|")
    for regime in REGIMES:
        best: dict[str, dict[str, float]] = {}
        for _ in range(options.rounds):
            for loop in LOOPS:
                with tempfile.TemporaryDirectory() as root:
                    found = in_child(loop, regime, Path(root), options.seconds)
                best[loop] = {key: max(value, best.get(loop, found)[key]) for key, value in found.items()}
        ours = best["voxmix"]
        for loop, found in best.items():
            print(
                f"| {regime} | {loop} | {found['parameters']:,.0f} | {found['clock']:.1f} | "
                f"{ours['clock'] / found['clock']:.2f} | {found['cpu']:.1f} | {ours['cpu'] / found['cpu']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
