"""A recipe for nnssl: draw training patches by a mixture instead of by the number of images.

1. In pretrain_data.json give every domain a dataset of its own whose ``dataset_index`` is the domain's name. An image's
   identifier is <collection>__<dataset_index>__<subject>__<session>__<image>, and the domain is read from it.
2. Copy this file and mixture.json into nnssl's folder of trainers (nnssl/training/nnsslTrainer), and write into it the
   trainer that you use:

       from nnssl.training.nnsslTrainer.masked_image_modeling.BaseMAETrainer import BaseMAETrainer

       class MixtureMAETrainer(DrawsByMixture, BaseMAETrainer):
           pass

3. Train with ``-tr MixtureMAETrainer``. Validation stays as it is.

    python feed_nnssl.py pretrain_data.json [DRAWS]     checks the names and prints realized and wanted shares

nnssl draws images with replacement and patches at random, so shares are met on average.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


def probabilities(identifiers, weights):
    """Return the probability of each image, given identifiers and the weight of each domain."""
    domains = [name.split("__")[1] for name in identifiers]
    counts = Counter(domains)
    unknown = sorted(set(counts) - set(weights))
    empty = sorted(name for name, share in weights.items() if share > 0 and not counts[name])
    if unknown or empty:
        raise SystemExit(
            f"datasets {unknown or 'none'} are not in the mixture, domains {empty or 'none'} have no images; "
            "set dataset_index to the domains' names"
        )
    return np.array([weights[name] / counts[name] for name in domains])


class DrawsByMixture:
    """Put before one of nnssl's trainers: gives its training loader the mixture's sampling probabilities."""

    def get_plain_dataloaders(self, initial_patch_size):
        train, held_out = super().get_plain_dataloaders(initial_patch_size)
        weights = json.loads((HERE / "mixture.json").read_text(encoding="utf-8"))["weights"]
        train.sampling_probabilities = probabilities(train.indices, weights)
        return train, held_out


def identifiers_of(collection):
    """Return the identifiers of the images in pretrain_data.json."""
    return [
        f"{collection['collection_name']}__{index}__{subject}__{session}__{image['name']}"
        for index, data in collection["datasets"].items()
        for subject, person in data["subjects"].items()
        for session, visit in person["sessions"].items()
        for image in visit["images"]
    ]


def main():
    draws = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    identifiers = identifiers_of(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    weights = json.loads((HERE / "mixture.json").read_text(encoding="utf-8"))["weights"]
    p = probabilities(identifiers, weights)
    drawn = np.random.default_rng(0).choice(identifiers, draws, replace=True, p=p)
    counts = Counter(name.split("__")[1] for name in drawn)
    for name, share in weights.items():
        sys.stdout.write(f"{name}: wanted {share:.4f}, realized {counts[name] / draws:.4f}\n")


if __name__ == "__main__":
    main()
