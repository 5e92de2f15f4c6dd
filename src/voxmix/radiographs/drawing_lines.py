"""The same tubes and lines on any frontal chest film: where its landmarks are, and what a tube adds to its grays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from voxmix.errors import InputError, did_you_mean
from voxmix.radiographs.body import RIGHT, Body
from voxmix.radiographs.film_grid import FilmGrid
from voxmix.radiographs.persons import any_tube, random
from voxmix.radiographs.tubes import TUBES, Tube, cast

_BLUR = 0.5
_LEAST_EDGE = 32
_HALF_CHEST_MM = 128.0
_APEX_MM = -9.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Landmarks:
    """Where the chest lies on a film, in pixels.

    Attributes:
        midline: Column of the spine at the height of the carina.
        walls: Columns of the ribs' inner edge on the left and on the right of the film, where the chest is widest.
        apex: Row of the top of the lungs.
        dome: Row of the top of the diaphragm on the patient's right.
        carina: Row of the carina; None puts it where it lies in most chests.
    """

    midline: float
    walls: tuple[float, float]
    apex: float
    dome: float
    carina: float | None = None


class WithLines(NamedTuple):
    """A film with tubes drawn on it, their maps, and the tubes."""

    image: np.ndarray
    maps: dict[str, Bool[np.ndarray, "row col"]]
    tubes: dict[str, Tube]


def draw_lines(
    image: np.ndarray,
    tubes: Sequence[str | Tube],
    *,
    seed: int,
    landmarks: Landmarks | None = None,
) -> WithLines:
    """Draw tubes and lines onto a frontal chest film.

    Args:
        image: Gray values of one film, bones white, the patient's right on the left; any numbers.
        tubes: Labels of tubes (``endotracheal_tube`` ...), whose ways and positions the seed decides, or tubes.
        seed: Decides the ways; the same arguments give the same film.
        landmarks: Where the chest lies; without them :func:`find_landmarks` looks for them, which can fail on films
            that show little lung: look at the result.

    Returns:
        A new image of the same type and shape, changed inside the maps and two pixels around them and nowhere else; a
        map for each tube; and the tubes.

    Raises:
        InputError: no film, a film below 32 pixels, values that are not numbers, or an unknown tube.
    """
    film = _checked(image)
    rng = random(seed, "radiographs lines", 0)
    chosen: dict[str, Tube] = {}
    for item in tubes:
        drawn = any_tube(item, rng) if isinstance(item, str) and item in TUBES else item
        if isinstance(drawn, str) or drawn.name not in TUBES:
            name = drawn if isinstance(drawn, str) else drawn.name
            raise InputError(f"no tube {name!r}; {did_you_mean(name, list(TUBES), what='there are ')}")
        chosen[drawn.name] = drawn
    where = landmarks or find_landmarks(film)
    grid, body = _fitted(film.shape, where)
    added = np.zeros(film.shape, dtype=np.float32)
    maps = {}
    for name, tube in chosen.items():
        shadow = cast(grid, body, tube)
        added += shadow.added
        maps[name] = shadow.shown
    return WithLines(image=_whiter(image, film, added), maps=maps, tubes=chosen)


def find_landmarks(image: np.ndarray) -> Landmarks:
    """Return where the chest lies on a frontal film: two dark lungs beside a bright middle.

    Raises:
        InputError: no film, a film below 32 pixels, or values that are not numbers.
    """
    film = _checked(image)
    rows, columns = film.shape
    low, high = np.percentile(film, (5, 95))
    gray = np.clip((film - low) / max(float(high - low), 1e-9), 0, 1)
    gray = ndimage.gaussian_filter(gray, min(rows, columns) / 50)
    band = gray[int(0.28 * rows) : int(0.62 * rows)].mean(axis=0)
    across = (np.arange(columns) + 0.5) / columns
    midline = float(np.argmax(band - 6 * (across - 0.5) ** 2 - 10 * (np.abs(across - 0.5) > 0.2)))
    lungs, walls = [], []
    for side in (-1, 1):
        reach = midline + side * columns * np.linspace(0.1, 0.34, 40)
        lung = float(reach[np.argmin(np.interp(reach, np.arange(columns), band))])
        outward = lung + side * columns * np.linspace(0.02, 0.24, 60)
        inside = outward[(outward > 0) & (outward < columns - 1)]
        rise = np.gradient(np.interp(inside, np.arange(columns), band)) if len(inside) > 2 else np.zeros(1)
        far = float(inside[int(np.argmax(rise))]) if rise.max() > 1e-3 else lung + side * 0.1 * columns
        half = np.clip(abs(far - midline), 0.26 * columns, 0.47 * columns)
        lungs.append(lung)
        walls.append(midline + side * float(half))
    column = np.mean(
        [gray[:, int(np.clip(lung, 2, columns - 3)) + d] for lung in lungs for d in (-2, 0, 2)], axis=0
    )
    upper, lower = int(0.2 * rows), int(0.6 * rows)
    darkest = upper + int(np.argmin(column[upper:lower]))
    above = column[int(0.03 * rows) : darkest + 1]
    half_way = 0.45 * float(above.max()) + 0.55 * float(above[-1])
    apex = float(int(0.03 * rows) + np.flatnonzero(above >= min(half_way, above.max()))[-1])
    below = column[darkest : int(0.97 * rows)]
    dome = darkest + float(np.argmax(np.gradient(below))) if len(below) > 3 else 0.8 * rows
    apex = float(np.clip(apex, 0.02 * rows, 0.3 * rows))
    dome = float(np.clip(dome, apex + 0.4 * rows, 0.97 * rows))
    return Landmarks(midline=midline, walls=(walls[0], walls[1]), apex=apex, dome=dome)


def _checked(image: np.ndarray) -> Float[np.ndarray, "row col"]:
    given = np.asarray(image)
    if given.ndim != 2:
        raise InputError(
            f"a film is an array of rows and columns, got the shape {given.shape}; give one gray film"
        )
    if min(given.shape) < _LEAST_EDGE:
        raise InputError(f"a film has at least {_LEAST_EDGE} pixels along each side, got {given.shape}")
    if given.dtype.kind not in "uif" or not np.isfinite(given).all():
        raise InputError(
            f"a film holds finite numbers, got values of the type {given.dtype}; give gray values"
        )
    return given.astype(np.float32)


def _fitted(shape: tuple[int, ...], where: Landmarks) -> tuple[FilmGrid, Body]:
    """Return a grid and a body that lie as the landmarks say."""
    rows, columns = shape
    pixel = 2 * _HALF_CHEST_MM / max(where.walls[1] - where.walls[0], 1.0)
    top = Body().dome_top(RIGHT)[1]
    lift = float(np.clip(top - (_APEX_MM + (where.dome - where.apex) * pixel), -25, 90))
    across = ((columns - 1) / 2 - where.midline) * pixel
    down = _APEX_MM + ((rows - 1) / 2 - where.apex) * pixel
    below = None if where.carina is None else where.carina - where.apex
    carina = 88.0 - 0.2 * lift if below is None else _APEX_MM + below * pixel
    body = replace(Body(), lift=lift, carina=(3.0, carina))
    return FilmGrid((rows, columns), pixel, (float(across), float(down))), body


def _whiter(
    image: np.ndarray, film: Float[np.ndarray, "row col"], added: Float[np.ndarray, "row col"]
) -> np.ndarray:
    """Return the film where ``added`` mm of water took away light: nearer to white, never beyond it."""
    thick = ndimage.gaussian_filter(added, _BLUR, truncate=3.0)
    black, white = (float(v) for v in np.percentile(film, (0.5, 99.5)))
    if np.asarray(image).dtype == np.uint8:
        white = max(white, 250.0)
    share = 1 - np.exp(-thick / np.float32(42))
    room = np.maximum(white - film, 0.06 * (white - black))
    changed = film + room * share
    result = np.array(image)
    touched = thick > 0
    if result.dtype.kind in "ui":
        top = np.iinfo(result.dtype).max
        result[touched] = np.minimum(np.rint(changed[touched]), top).astype(result.dtype)
    else:
        result[touched] = changed[touched]
    return result
