"""From the beam's way to a film: scatter, exposure, the curve of the film, blur, noise, borders and markers.

Every center has its own habits; they are the rows of ``CENTERS``.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from voxmix.radiographs.film_grid import FilmGrid

ATTENUATION = 0.0165
"""Of water, for a mm, at the mean energy of a chest film, less than the textbook's 0.02 for what scatter fills up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Center:
    """How one hospital makes films, and whom it sees.

    Attributes:
        name: Its domain.
        portable: Share of films taken at the bedside (AP), where tubes are.
        field_mm: Least and largest width of a film.
        tall: Least and largest height over width.
        lung_gray, middle_gray: Gray of healthy lung and of the mediastinum, from 0 to 1.
        curve: Steepness of the film's curve; 0 is a straight line.
        noise: Standard deviation of the noise at a quarter of the exposure of lung, in gray.
        blur: Standard deviation of the detector's blur in pixels.
        scatter: Scattered light against the mean of the direct one.
        shutter: Share of films with a border; its gray.
        marker: Letter burnt in, its corner (1: the patient's left), whether it has a ring; share of films with it.
        words: Words burnt in on portable films, and the share of these that have them.
        wires: Share of portable films with ECG wires over them, which no label names.
        prevalence: What a finding's prevalence is multiplied by.
        tubes: What the rate of tubes is multiplied by.
    """

    name: str
    portable: float
    field_mm: tuple[float, float]
    tall: tuple[float, float]
    lung_gray: float
    middle_gray: float
    curve: float
    noise: float
    blur: float
    scatter: float
    shutter: tuple[float, float]
    marker: tuple[str, int, bool, float]
    words: tuple[tuple[str, ...], float]
    wires: float
    prevalence: float
    tubes: float


CENTERS: tuple[Center, ...] = (
    Center(
        name="CXR-A", portable=0.35, field_mm=(318, 362), tall=(1.02, 1.2), lung_gray=0.36, middle_gray=0.82, curve=1.0,
        noise=0.012, blur=0.45, scatter=0.03, shutter=(0.15, 0.0), marker=("L", 1, False, 0.9), words=(("ERECT",), 0.1),
        wires=0.15, prevalence=0.8, tubes=0.75,
    ),
    Center(
        name="CXR-B", portable=0.75, field_mm=(335, 400), tall=(0.86, 1.06), lung_gray=0.44, middle_gray=0.86, curve=0.3,
        noise=0.026, blur=0.8, scatter=0.07, shutter=(0.45, 0.97), marker=("R", -1, True, 0.75),
        words=(("PORTABLE", "AP SUPINE", "MOBILE"), 0.5), wires=0.5, prevalence=1.35, tubes=1.3,
    ),
)  # fmt: skip
"""Two centers: one of a clinic's film room, with a hard curve and little noise; one of an intensive care unit."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exposure:
    """What of a film does not depend on what is in the chest: grays, noise, borders, letters."""

    low: float
    high: float
    noise: Float[np.ndarray, "row col"]
    open: Bool[np.ndarray, "row col"] | None
    border: float
    lead: Bool[np.ndarray, "row col"]


def expose(
    center: Center, grid: FilmGrid, water: Float[np.ndarray, "row col"], lung: Bool[np.ndarray, "row col"],
    middle: Bool[np.ndarray, "row col"], lead: Bool[np.ndarray, "row col"], rng: np.random.Generator,
) -> Exposure:  # fmt: skip
    """Return the exposure that shows a healthy chest (``water``) in the center's grays."""
    density = _density(center, water, water)
    noise = rng.standard_normal(grid.shape).astype(np.float32)
    low = float(np.median(density[lung])) if lung.any() else float(np.percentile(density, 30))
    high = float(np.median(density[middle])) if middle.any() else float(np.percentile(density, 80))
    window = None
    if rng.random() < center.shutter[0]:
        window = _window(grid.shape, rng)
    return Exposure(
        low=low, high=max(high, low + 0.2), noise=noise, open=window, border=center.shutter[1], lead=lead
    )


def develop(
    center: Center,
    exposure: Exposure,
    water: Float[np.ndarray, "row col"],
    healthy: Float[np.ndarray, "row col"],
) -> UInt8[np.ndarray, "row col"]:
    """Return the film of what the beam passed: 0 black to 255 white. ``healthy`` sets the scattered light."""
    density = _density(center, water, healthy)
    density = ndimage.gaussian_filter(density, center.blur, mode="nearest", truncate=3.0)
    share = (density - np.float32(exposure.low)) / np.float32(exposure.high - exposure.low)
    gray = center.lung_gray + share * np.float32(center.middle_gray - center.lung_gray)
    # Fewer photons behind more tissue: noise grows with the square root of what was absorbed.
    fewer = np.exp(np.float32(0.5) * np.clip(density - np.float32(exposure.low), -1.5, 2.2)) * np.float32(0.6)
    gray += np.float32(center.noise) * fewer * exposure.noise
    gray = _film(gray, center.curve)
    if exposure.open is not None:
        gray = np.where(exposure.open, gray, np.float32(exposure.border))
    gray = np.where(exposure.lead, np.float32(0.985), gray)
    return np.asarray(np.rint(np.clip(gray, 0, 1) * 255).astype(np.uint8))


def _density(center: Center, water: np.ndarray, healthy: np.ndarray) -> Float[np.ndarray, "row col"]:
    direct = np.exp(np.float32(-ATTENUATION) * water)
    calm = direct if healthy is water else np.exp(np.float32(-ATTENUATION) * healthy)
    coarse = ndimage.uniform_filter(calm[::4, ::4], 9, mode="nearest")
    scattered = np.repeat(np.repeat(coarse, 4, axis=0), 4, axis=1)[: water.shape[0], : water.shape[1]]
    scattered = ndimage.uniform_filter(scattered, 7, mode="nearest")
    scattered = np.minimum(scattered, np.float32(0.25))
    return np.asarray(-np.log(direct + np.float32(center.scatter) * scattered), dtype=np.float32)


def _film(gray: Float[np.ndarray, "row col"], curve: float) -> Float[np.ndarray, "row col"]:
    """Return the gray behind the curve of a film: a toe below and a shoulder above."""
    toe = np.where(gray < 0.12, np.float32(0.12) * np.exp((gray - np.float32(0.12)) / np.float32(0.12)), gray)
    top = np.float32(0.66)
    rest = np.float32(1) - top
    gray = np.where(toe > top, top + rest * (1 - np.exp(-(toe - top) / rest)), toe)
    bent = gray + np.float32(0.035 * curve) * np.sin(np.float32(2 * np.pi) * (gray - np.float32(0.5)))
    return np.asarray(bent, dtype=np.float32)


def _window(shape: tuple[int, int], rng: np.random.Generator) -> Bool[np.ndarray, "row col"]:
    """Return where the collimator was open: a rectangle, sometimes turned a little."""
    rows, columns = shape
    top, bottom, left, right = rng.uniform(0.0, 0.055, 4)
    turn = rng.normal(0, 0.012)
    i = (np.arange(rows) / rows)[:, None]
    j = (np.arange(columns) / columns)[None, :]
    down, across = i + turn * (j - 0.5), j - turn * (i - 0.5)
    return np.asarray((down >= top) & (down < 1 - bottom) & (across >= left) & (across < 1 - right))
