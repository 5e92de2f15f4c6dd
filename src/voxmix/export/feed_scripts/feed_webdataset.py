"""Prepared volumes from WebDataset shards, one set of shards per domain, mixed by RandomMix.

    python feed_webdataset.py pack CACHE SHARDS       writes SHARDS/<domain>/<number>.tar
    python feed_webdataset.py draw SHARDS [DRAWS]     prints realized and wanted shares

In training: ``build_stream(shards)`` gives (volume, domain) without end. Every domain's stream repeats: RandomMix would
otherwise go on with the domains that are left when the smallest is used up, and the mixture would be lost.
"""

import csv
import json
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import webdataset as wds

HERE = Path(__file__).resolve().parent
VOLUMES_PER_SHARD = 100


def shares():
    """Return the domains with weight and their weights."""
    weights = json.loads((HERE / "mixture.json").read_text(encoding="utf-8"))["weights"]
    return {name: share for name, share in weights.items() if share > 0}


def pack(cache, shards):
    """Write the volumes of samples.csv as shards per domain."""
    with (HERE / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in shares():
        (Path(shards) / name).mkdir(parents=True, exist_ok=True)
        pattern = str(Path(shards) / name / "%06d.tar")
        with wds.ShardWriter(pattern, maxcount=VOLUMES_PER_SHARD, verbose=0) as writer:
            for number, row in enumerate(row for row in rows if row["domain"] == name):
                volume = np.load(Path(cache) / row["file"], allow_pickle=False)
                writer.write({"__key__": f"{number:08d}", "npy": volume, "txt": name})


def build_stream(shards, seed=0):
    """Return an endless stream of (volume, domain), volumes as float16 arrays of their own size."""
    wanted = shares()
    streams = []
    for name in wanted:
        urls = sorted(str(path) for path in (Path(shards) / name).glob("*.tar"))
        data = wds.WebDataset(urls, shardshuffle=len(urls), seed=seed, empty_check=False).repeat()
        streams.append(data.shuffle(VOLUMES_PER_SHARD, seed=seed).decode().to_tuple("npy", "txt"))
    return wds.RandomMix(streams, list(wanted.values()))


def main():
    if sys.argv[1] == "pack":
        pack(sys.argv[2], sys.argv[3])
        return
    draws = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    counts = Counter(domain for _, domain in islice(build_stream(sys.argv[2]), draws))
    for name, share in shares().items():
        sys.stdout.write(f"{name}: wanted {share:.4f}, realized {counts[name] / draws:.4f}\n")


if __name__ == "__main__":
    main()
