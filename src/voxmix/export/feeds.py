"""A mixture for the data loaders of others: weights, a list of samples, and a script that runs.

Most of them draw at random, so realized counts differ from the quotas by chance; voxmix's own plan
(:func:`voxmix.training.draws.plan_draws`) meets them exactly.
"""

import csv
import io
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Float

from voxmix._io import naming_full_disk, write_json, write_text
from voxmix.errors import InputError
from voxmix.export.targets import Loader
from voxmix.mixture import Mixture
from voxmix.volumes.preparing.cache import PreparedCache
from voxmix.volumes.preparing.storage import codec_of

MIXTURE_FILE, SAMPLES_FILE = "mixture.json", "samples.csv"


def sample_weights(mixture: Mixture, domains: Sequence[str]) -> Float[np.ndarray, " sample"]:
    """Return one weight per sample of a pooled data set, given each sample's domain; they sum to 1.

    For ``torch.utils.data.WeightedRandomSampler(weights, num_samples=budget, replacement=True)`` and MONAI's
    ``DistributedWeightedRandomSampler(dataset, weights=weights)``. With ``replacement=False`` a pass over the
    pool gives every sample once, whatever the weights: the mixture is lost.

    Raises:
        InputError: a sample of an unknown domain, or a domain with weight and no sample.
    """
    unknown = sorted(set(domains) - set(mixture.domains))
    if unknown:
        raise InputError(f"samples of {unknown}, the mixture has {list(mixture.domains)}; leave them out")
    counts = dict.fromkeys(mixture.domains, 0)
    for name in domains:
        counts[name] += 1
    empty = [name for name in mixture.domains if mixture[name] > 0 and counts[name] == 0]
    if empty:
        raise InputError(
            f"the mixture gives weight to {empty}, which have no samples; add some or set weight 0"
        )
    each = {name: mixture[name] / counts[name] for name in mixture.domains if counts[name]}
    return np.array([each[name] for name in domains])


def write_feed(
    mixture: Mixture, folder: Path, *, loader: Loader, budget: int, cache: PreparedCache
) -> tuple[Path, ...]:
    """Write what a loader needs to draw by a mixture, and return the files.

    ``mixture.json`` (weights, and draws per domain at ``budget``), ``samples.csv`` (every training volume of the
    cache with its domain and weight; files relative to the cache, no subject) and ``feed_<loader>.py``, a script
    of a page that needs the loader's library and NumPy, not voxmix: run it to compare realized and wanted shares,
    import it to train.

    Raises:
        InputError: the mixture gives weight to a domain without training volumes, or volumes are compressed: the
            scripts read NumPy's own files.
    """
    volumes = [v for name in mixture.domains if name in cache.domains for v in cache.select(name, "train")]
    packed = [v for v in volumes if codec_of(Path(v.file)) != "npy"]
    if packed and loader != "nnssl":
        raise InputError(
            f"{len(packed)} of {len(volumes)} prepared volumes are compressed, and the script for {loader} reads npy "
            "files; set data.codec to npy in the study file and prepare again"
        )
    weights = sample_weights(mixture, [v.domain for v in volumes])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "domain", "weight"])
    table.writerows([v.file, v.domain, repr(float(w))] for v, w in zip(volumes, weights, strict=True))
    value = {
        "kind": "mixture",
        "format": 1,
        "weights": mixture.as_dict(),
        "budget": budget,
        "draws": dict(zip(mixture.domains, mixture.draws(budget).tolist(), strict=True)),
        "cache": cache.digest,
    }
    script = folder / f"feed_{loader}.py"
    with naming_full_disk(folder):
        write_json(folder / MIXTURE_FILE, value)
        write_text(folder / SAMPLES_FILE, text.getvalue())
        write_text(script, feed_script(loader))
    return folder / MIXTURE_FILE, folder / SAMPLES_FILE, script


def feed_script(loader: Loader) -> str:
    """Return the script of a loader."""
    source = files("voxmix.export").joinpath("feed_scripts", f"feed_{loader}.py")
    return source.read_text(encoding="utf-8")
