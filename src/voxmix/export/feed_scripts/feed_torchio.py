"""Crops of prepared volumes from a TorchIO queue, which takes its volumes by a mixture.

    python feed_torchio.py CACHE [DRAWS]      prints realized and wanted shares

In training: ``for batch in build_loader(cache, crop=96, draws=100_000, batch_size=8)``, or ``build_queue`` for a loader of your
own. The queue opens ``draws / crops_per_volume`` volumes, drawn by weight with replacement, and cuts ``crops_per_volume``
crops from each: shares differ from the mixture's by about sqrt(w * (1 - w) * crops_per_volume / draws). Without replacement
every volume would come once, and the mixture would be lost.
"""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torchio as tio
from torch.utils.data import WeightedRandomSampler

HERE = Path(__file__).resolve().parent


def read(path):
    """Return a prepared volume with a channel in front, float32 in [0, 1], and an affine of unit voxels."""
    volume = np.load(path, allow_pickle=False).astype(np.float32)
    return torch.from_numpy(volume[None]), np.eye(4)


def build_queue(cache, *, crop, draws, crops_per_volume=4, length=64, seed=0, workers=0, transform=None):
    """Return a queue of subjects: ``image``, a crop, and ``domain``."""
    with (HERE / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    subjects = [
        tio.Subject(image=tio.ScalarImage(Path(cache) / row["file"], reader=read), domain=row["domain"])
        for row in rows
    ]
    by_mixture = WeightedRandomSampler(
        [float(row["weight"]) for row in rows],
        max(1, draws // crops_per_volume),
        replacement=True,
        generator=torch.Generator().manual_seed(seed),
    )
    return tio.Queue(
        tio.SubjectsDataset(subjects, transform=transform),
        max_length=length,
        samples_per_volume=crops_per_volume,
        sampler=tio.UniformSampler(crop),
        subject_sampler=by_mixture,
        shuffle_subjects=False,  # the sampler's order is random already, and the queue allows no other
        num_workers=workers,
    )


def build_loader(cache, *, crop, draws, batch_size, **options):
    """Return a loader of batches: ``batch["image"]["data"]`` (batch, 1, x, y, z), and ``batch["domain"]``."""
    return tio.SubjectsLoader(build_queue(cache, crop=crop, draws=draws, **options), batch_size=batch_size)


def main():
    draws = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    counts = Counter()
    for batch in build_loader(sys.argv[1], crop=8, draws=draws, batch_size=8):
        counts.update(batch["domain"])
    for name, share in json.loads((HERE / "mixture.json").read_text(encoding="utf-8"))["weights"].items():
        sys.stdout.write(f"{name}: wanted {share:.4f}, realized {counts[name] / counts.total():.4f}\n")


if __name__ == "__main__":
    main()
