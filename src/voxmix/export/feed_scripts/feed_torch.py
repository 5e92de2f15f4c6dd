"""Crops of prepared volumes, drawn by a mixture with PyTorch's WeightedRandomSampler.

    python feed_torch.py CACHE [DRAWS]      prints realized and wanted shares

In training: ``for crops, domains in build_loader(cache, crop=96, draws=100_000, batch_size=8, seed=0)``. Every draw
is random, with replacement: shares differ from the mixture's by about sqrt(w * (1 - w) / draws). Without replacement
a pass over the pool would give every volume once, and the mixture would be lost.
"""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

HERE = Path(__file__).resolve().parent


class Crops(Dataset):
    """Random cubes of ``crop`` voxels of the volumes in samples.csv, float32 in [0, 1], and their domains."""

    def __init__(self, cache, crop):
        self.cache, self.crop = Path(cache), crop
        with (HERE / "samples.csv").open(newline="", encoding="utf-8") as file:
            self.rows = list(csv.DictReader(file))
        self.weights = [float(row["weight"]) for row in self.rows]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        volume = np.load(self.cache / row["file"], mmap_mode="r", allow_pickle=False)
        corner = [int(torch.randint(edge - self.crop + 1, ())) for edge in volume.shape]
        x, y, z = (slice(c, c + self.crop) for c in corner)
        return torch.from_numpy(np.array(volume[x, y, z], dtype=np.float32)).unsqueeze(0), row["domain"]


def build_loader(cache, *, crop, draws, batch_size, seed=0, workers=0):
    """Return a loader of (crops, domains): ``draws`` crops in batches, drawn by the mixture."""
    data = Crops(cache, crop)
    generator = torch.Generator().manual_seed(seed)
    sampler = WeightedRandomSampler(data.weights, draws, replacement=True, generator=generator)
    return DataLoader(data, batch_size, sampler=sampler, num_workers=workers, generator=generator)


def main():
    draws = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    counts = Counter()
    for _, domains in build_loader(sys.argv[1], crop=8, draws=draws, batch_size=8):
        counts.update(domains)
    for name, share in json.loads((HERE / "mixture.json").read_text(encoding="utf-8"))["weights"].items():
        sys.stdout.write(f"{name}: wanted {share:.4f}, realized {counts[name] / draws:.4f}\n")


if __name__ == "__main__":
    main()
