"""Crops of prepared volumes, drawn by a mixture with MONAI's DistributedWeightedRandomSampler.

    python feed_monai.py CACHE [DRAWS]      prints realized and wanted shares, over two ranks

In training, on every rank: ``build_loader(cache, crop=96, draws_per_rank=10_000, batch_size=8, rank=rank,
world_size=world)``; call ``loader.sampler.set_epoch(epoch)`` before each epoch. MONAI deals the volumes out to the
ranks first and draws by weight among a rank's own, so shares are near the mixture's only where every rank holds
volumes of every domain: with fewer volumes of a domain than ranks, some ranks never see it.
"""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from monai.data import DataLoader, Dataset, DistributedWeightedRandomSampler
from monai.transforms import Compose, RandSpatialCropd

HERE = Path(__file__).resolve().parent


def load(item):
    """Return the item with its volume, a channel in front."""
    volume = np.load(item["image"], allow_pickle=False).astype(np.float32)
    return {**item, "image": torch.from_numpy(volume[None])}


def build_loader(cache, *, crop, draws_per_rank, batch_size, rank, world_size, seed=0, workers=0):
    """Return a rank's loader of dictionaries: ``image`` (batch, 1, x, y, z) float32 in [0, 1], and ``domain``."""
    with (HERE / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    items = [{"image": str(Path(cache) / row["file"]), "domain": row["domain"]} for row in rows]
    transforms = Compose([load, RandSpatialCropd("image", (crop, crop, crop), random_size=False)])
    data = Dataset(items, transforms)
    sampler = DistributedWeightedRandomSampler(
        data,
        weights=[float(row["weight"]) for row in rows],
        num_samples_per_rank=draws_per_rank,
        generator=torch.Generator().manual_seed(seed + rank),
        num_replicas=world_size,
        rank=rank,
        seed=seed,
    )
    return DataLoader(data, batch_size=batch_size, sampler=sampler, num_workers=workers)


def main():
    draws, ranks = int(sys.argv[2]) if len(sys.argv) > 2 else 1000, 2
    counts = Counter()
    for rank in range(ranks):
        loader = build_loader(
            sys.argv[1], crop=8, draws_per_rank=draws // ranks, batch_size=8, rank=rank, world_size=ranks
        )
        for batch in loader:
            counts.update(batch["domain"])
    for name, share in json.loads((HERE / "mixture.json").read_text(encoding="utf-8"))["weights"].items():
        sys.stdout.write(f"{name}: wanted {share:.4f}, realized {counts[name] / counts.total():.4f}\n")


if __name__ == "__main__":
    main()
