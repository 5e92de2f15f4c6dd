"""Crops of prepared volumes from Hugging Face datasets: one data set per domain, mixed by interleave_datasets.

    python feed_datasets.py CACHE [DRAWS]      prints realized and wanted shares

In training: ``build_dataset(cache, crop=96, seed=epoch)`` for each epoch, then any loader, in its order. An epoch ends by
``stopping_strategy``, and how long it is follows from the smallest and the largest domain:

    all_exhausted       until every volume was drawn; small domains repeat; shares are the mixture's, by chance
    first_exhausted     until one domain was drawn whole; nothing repeats; the same shares, in a short epoch

``all_exhausted_without_replacement`` gives every volume once, so the mixture is lost: it is refused here.
"""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from datasets import Dataset, interleave_datasets

HERE = Path(__file__).resolve().parent
STRATEGIES = ("all_exhausted", "first_exhausted")


def shares():
    """Return the domains with weight and their weights."""
    weights = json.loads((HERE / "mixture.json").read_text(encoding="utf-8"))["weights"]
    return {name: share for name, share in weights.items() if share > 0}


def build_dataset(cache, *, crop, seed=0, stopping_strategy="all_exhausted"):
    """Return an epoch of {volume, domain}: random cubes of ``crop`` voxels, float32 in [0, 1], a channel in front."""
    if stopping_strategy not in STRATEGIES:
        raise SystemExit(f"{stopping_strategy} loses the mixture; give one of {', '.join(STRATEGIES)}")
    with (HERE / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted, random = shares(), np.random.default_rng(seed)
    parts = []
    for name in wanted:
        files = [row["file"] for row in rows if row["domain"] == name]
        parts.append(Dataset.from_dict({"file": files, "domain": [name] * len(files)}).shuffle(seed=seed))

    def load(batch):
        crops = []
        for file in batch["file"]:
            volume = np.load(Path(cache) / file, mmap_mode="r", allow_pickle=False)
            corner = [int(random.integers(edge - crop + 1)) for edge in volume.shape]
            x, y, z = (slice(c, c + crop) for c in corner)
            crops.append(np.array(volume[x, y, z], dtype=np.float32)[None])
        return {"volume": crops, "domain": batch["domain"]}

    mixed = interleave_datasets(
        parts, probabilities=list(wanted.values()), seed=seed, stopping_strategy=stopping_strategy
    )
    return mixed.with_transform(load)


def main():
    draws, epoch, counts = int(sys.argv[2]) if len(sys.argv) > 2 else 1000, 0, Counter()
    while counts.total() < draws:
        data = build_dataset(sys.argv[1], crop=8, seed=epoch)
        for sample in data.select(range(min(len(data), draws - counts.total()))):
            counts[sample["domain"]] += 1
        epoch += 1
    for name, share in shares().items():
        sys.stdout.write(f"{name}: wanted {share:.4f}, realized {counts[name] / counts.total():.4f}\n")


if __name__ == "__main__":
    main()
