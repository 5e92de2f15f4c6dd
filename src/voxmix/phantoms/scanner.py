"""From tissues to what a scanner stores: CT in HU, MR with bias field and Rician noise, PET with Poisson noise.

Each scanner samples the anatomy with its own voxels, blurs it by its point spread, adds its noise, and
writes its own units.
"""

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from voxmix.phantoms.canvas import Canvas
from voxmix.phantoms.tissues import column

_FWHM = 2.3548


def scan_ct(canvas: Canvas, rng: np.random.Generator, *, contrast: float) -> Float[np.ndarray, "x y z"]:
    """Return HU, whole numbers from -1024: in-plane blur, correlated noise, texture inside tissues.

    ``contrast`` is the strength of the contrast agent, from 0 to 1.
    """
    hu = column("hu") + contrast * column("contrast") + rng.normal(0, 3, len(column("hu")))
    hu[0] = -1000
    image = hu.astype(np.float32)[canvas.tissue]
    image += column("texture")[canvas.tissue] * canvas.noise(14.0)
    image = _blur(image, canvas, sharp_mm=rng.uniform(1.2, 2.0))
    # Reconstruction filters leave noise that is correlated over about two voxels in the slice.
    noise = ndimage.gaussian_filter(rng.standard_normal(canvas.shape, dtype=np.float32), (0.6, 0.6, 0))
    noise *= np.float32(rng.uniform(9, 20) / noise.std())
    # Photons are scarce behind much tissue: noise grows toward the middle of the body.
    image += noise * (0.6 + 0.6 * _thickness(canvas))
    return image.round().clip(-1024, 3071)


def _thickness(canvas: Canvas) -> Float[np.ndarray, "x y z"]:
    body = (canvas.tissue != 0).astype(np.float32)
    return np.broadcast_to(
        ndimage.gaussian_filter(body.mean(axis=2), canvas.shape[0] / 10)[:, :, None], canvas.shape
    )


def scan_mr(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    repetition_ms: float,
    echo_ms: float,
    inversion_ms: float | None = None,
    field: float = 0.25,
) -> Float[np.ndarray, "x y z"]:
    """Return MR magnitude in arbitrary units, at least 0.

    Spin echo, ``density * (1 - exp(-TR/T1)) * exp(-TE/T2)``, or inversion recovery,
    ``density * |1 - 2 exp(-TI/T1) + exp(-TR/T1)| * exp(-TE/T2)``, times a smooth receive field of standard
    deviation ``field`` in log units; noise is Rician (Gudbjartsson and Patz 1995).
    """
    t1 = column("t1") * np.exp(rng.normal(0, 0.03, len(column("t1"))))
    t2 = column("t2") * np.exp(rng.normal(0, 0.03, len(column("t2"))))
    recovered = 1 - np.exp(-repetition_ms / t1)
    if inversion_ms is not None:
        recovered = np.abs(1 - 2 * np.exp(-inversion_ms / t1) + np.exp(-repetition_ms / t1))
    signal = column("density") * recovered * np.exp(-echo_ms / t2)
    signal = (signal / np.sort(signal)[-4]).astype(np.float32)
    image = signal[canvas.tissue]
    relative = column("texture") / 200
    image *= 1 + relative.astype(np.float32)[canvas.tissue] * canvas.noise(14.0)
    image = _blur(image, canvas, sharp_mm=rng.uniform(1.0, 1.8))
    image *= np.exp(np.float32(field) * canvas.noise(260.0))
    level = np.float32(1 / rng.uniform(22, 45))
    real = image + level * rng.standard_normal(canvas.shape, dtype=np.float32)
    imaginary = level * rng.standard_normal(canvas.shape, dtype=np.float32)
    magnitude: np.ndarray = np.sqrt(real**2 + imaginary**2) * np.float32(np.exp(rng.normal(6.2, 0.4)))
    return magnitude


def scan_pet(canvas: Canvas, rng: np.random.Generator) -> Float[np.ndarray, "x y z"]:
    """Return SUV: wide point spread (6 to 7.5 mm), Poisson counts, then the filter of the reconstruction."""
    uptake = column("suv") * np.exp(rng.normal(0, 0.12, len(column("suv"))))
    image = uptake.astype(np.float32)[canvas.tissue]
    image *= np.clip(1 + 0.12 * canvas.noise(24.0), 0.3, None)
    image = _blur(image, canvas, sharp_mm=rng.uniform(5.0, 6.2))
    counts = np.float32(rng.uniform(14, 30) * np.prod(canvas.spacing) / 50)
    image = rng.poisson(np.clip(image, 0, None) * counts).astype(np.float32) / counts
    return _blur(image, canvas, sharp_mm=3.5)


def _blur(
    image: Float[np.ndarray, "x y z"], canvas: Canvas, *, sharp_mm: float
) -> Float[np.ndarray, "x y z"]:
    """Return the image seen through a point spread of ``sharp_mm`` FWHM and the voxel's own size."""
    width = np.hypot(sharp_mm, 0.85 * canvas.spacing) / canvas.spacing / _FWHM
    return np.asarray(ndimage.gaussian_filter(image, width, mode="nearest", truncate=3.0))
