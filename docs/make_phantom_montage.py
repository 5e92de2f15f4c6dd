"""Draw docs/images/phantoms.png: one phantom of every domain, three planes and its labels.

python docs/make_phantom_montage.py [TARGET.png]
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from voxmix.phantoms.domains import PROTOCOLS, Phantom, make_phantom

SEED = 0
INDEX = {"ABD-CT": 1, "ABD-MRI": 2, "BRAIN-T1": 4, "BRAIN-T2": 4, "HN-CT": 1, "HN-PET": 1}
HEIGHT = {"ABD-CT": 0.6, "ABD-MRI": 0.55, "BRAIN-T1": 0.62, "BRAIN-T2": 0.58, "HN-CT": 0.55, "HN-PET": 0.45}
FRONT = {"HN-CT": 0.62, "HN-PET": 0.56}
PLANES = ("axial", "coronal", "sagittal", "labels")


def limits(domain: str, phantom: Phantom) -> tuple[float, float]:
    """Return the gray values shown as black and white: the HU window, else percentiles."""
    if domain.endswith("CT"):
        return -175, 250
    return 0, float(np.percentile(phantom.image, 99.0 if "PET" not in domain else 99.7))


def planes(domain: str, phantom: Phantom) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Return (image, labels, aspect) of axial, coronal and sagittal slices, the patient's right on the left."""
    x, y, z = phantom.image.shape
    spacing = np.linalg.norm(phantom.affine[:3, :3], axis=0)
    cuts = (
        ((slice(None, None, -1), slice(None), int(z * HEIGHT[domain])), spacing[1] / spacing[0]),
        ((slice(None, None, -1), int(y * FRONT.get(domain, 0.5)), slice(None)), spacing[2] / spacing[0]),
        ((int(x * 0.47), slice(None, None, -1), slice(None)), spacing[2] / spacing[1]),
    )
    return [(phantom.image[cut], phantom.labels[cut], float(aspect)) for cut, aspect in cuts]


def main(target: Path) -> None:
    """Write the montage."""
    figure, axes = plt.subplots(len(PROTOCOLS), 4, figsize=(10.4, 14.4), facecolor="black")
    for row, domain in zip(axes, PROTOCOLS, strict=True):
        phantom = make_phantom(domain, INDEX[domain], seed=SEED, matrix=128)
        low, high = limits(domain, phantom)
        shown = planes(domain, phantom)
        for axis, plane, (image, labels, aspect) in zip(row, PLANES, [*shown, shown[0]], strict=True):
            look = {"origin": "lower", "aspect": aspect}
            axis.imshow(image.T, cmap="gray", vmin=low, vmax=high, interpolation="bilinear", **look)
            if plane == "labels":
                inside = np.ma.masked_equal(labels, 0).T
                axis.imshow(
                    inside, cmap="tab20", vmin=0, vmax=16, alpha=0.55, interpolation="nearest", **look
                )
            axis.set_axis_off()
            axis.set_title(f"{domain}, {plane}", color="white", fontsize=8, pad=3)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.98, wspace=0.03, hspace=0.1)
    figure.savefig(target, dpi=100, facecolor="black")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "phantoms.png")
