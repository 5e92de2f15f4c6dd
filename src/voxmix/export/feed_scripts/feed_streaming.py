"""Prepared volumes from MosaicML streaming: one Stream per domain, mixed by proportion.

    python feed_streaming.py pack CACHE STREAMS       writes STREAMS/<domain>/ (MDS)
    python feed_streaming.py draw STREAMS [DRAWS]     prints realized and wanted shares

In training: ``build_dataset(streams, draws=100_000, batch_size=8)``. Proportions are met over a whole epoch of ``draws``
samples: a run that stops in the middle of one has seen them only roughly.
"""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from streaming import MDSWriter, Stream, StreamingDataset

HERE = Path(__file__).resolve().parent


def shares():
    """Return the domains with weight and their weights."""
    weights = json.loads((HERE / "mixture.json").read_text(encoding="utf-8"))["weights"]
    return {name: share for name, share in weights.items() if share > 0}


def pack(cache, streams):
    """Write the volumes of samples.csv, a folder of MDS shards per domain."""
    with (HERE / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {"volume": "ndarray:float16", "domain": "str"}
    for name in shares():
        with MDSWriter(out=str(Path(streams) / name), columns=columns) as writer:
            for row in (row for row in rows if row["domain"] == name):
                volume = np.load(Path(cache) / row["file"], allow_pickle=False)
                writer.write({"volume": volume, "domain": name})


def build_dataset(streams, *, draws, batch_size, seed=0):
    """Return a dataset of {volume, domain}, ``draws`` samples an epoch in the mixture's proportions."""
    parts = [Stream(local=str(Path(streams) / name), proportion=share) for name, share in shares().items()]
    return StreamingDataset(
        streams=parts, epoch_size=draws, batch_size=batch_size, shuffle=True, shuffle_seed=seed
    )


def main():
    if sys.argv[1] == "pack":
        pack(sys.argv[2], sys.argv[3])
        return
    draws = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    counts = Counter(sample["domain"] for sample in build_dataset(sys.argv[2], draws=draws, batch_size=1))
    for name, share in shares().items():
        sys.stdout.write(f"{name}: wanted {share:.4f}, realized {counts[name] / counts.total():.4f}\n")


if __name__ == "__main__":
    main()
