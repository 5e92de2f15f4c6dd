"""Slices of volumes as PNG data URIs."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

_GRAYS = 255
_OPACITY = 0.55
_EDGE = 320
"""Pixels along the longer side of an enlarged picture, about."""
_DASH = 4


def png_uri(values: Shaped[np.ndarray, "x y"]) -> str:
    """Return a ``data:`` URI of a slice in [0, 1], first axis to the right, second axis up.

    For an axial slice in RAS that is anterior up and the patient's right at the right. Values that are
    not finite are black.
    """
    return _uri(_grays(values))


def overlay_uri(
    values: Shaped[np.ndarray, "x y"], labels: Shaped[np.ndarray, "x y"], colors: Sequence[str]
) -> str:
    """Return the same slice with label k laid over it in ``colors[k - 1]`` (#rrggbb); 0 stays as it is."""
    shown = np.repeat(_grays(values)[:, :, None], 3, axis=2).astype(np.float64)
    turned = np.rot90(labels)
    for number in sorted({int(v) for v in turned.ravel()} - {0}):
        color = colors[(number - 1) % len(colors)]
        tint = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        shown[turned == number] = (1 - _OPACITY) * shown[turned == number] + _OPACITY * np.array(tint)
    return _uri(shown.round().astype(np.uint8))


def outlines_uri(
    values: Shaped[np.ndarray, "x y"],
    found: Sequence[tuple[Shaped[np.ndarray, "x y"], str]],
    known: Sequence[Shaped[np.ndarray, "x y"]] = (),
) -> str:
    """Return a ``data:`` URI of the same slice, enlarged, with masks as outlines: ``found`` each in its color (#rrggbb),
    ``known`` in dashes of black and white, which differ from any color on any ground, and in gray print.
    """
    gray = _grays(values)
    factor = max(1, round(_EDGE / max(gray.shape)))
    shown = np.repeat(_enlarged(gray, factor)[:, :, None], 3, axis=2)
    for mask, color in found:
        shown[_outline(mask, factor)] = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    row, column = np.indices(shown.shape[:2])
    dashes = np.asarray((row + column) // _DASH % 2 * _GRAYS)
    for mask in known:
        line = _outline(mask, factor)
        shown[line] = dashes[line, None]
    return _uri(shown)


def _enlarged(values: Shaped[np.ndarray, "y x"], factor: int) -> np.ndarray:
    return np.kron(values, np.ones((factor, factor), dtype=values.dtype))


def _outline(mask: Shaped[np.ndarray, "x y"], factor: int) -> np.ndarray:
    """Return the pixels just inside the border of an enlarged mask, two deep where it was enlarged."""
    inside = np.pad(_enlarged(np.rot90(np.asarray(mask, dtype=np.bool_)), factor), 1)
    core = inside
    for _ in range(min(factor, 2)):
        core = core & np.roll(core, 1, 0) & np.roll(core, -1, 0) & np.roll(core, 1, 1) & np.roll(core, -1, 1)
    found: np.ndarray = (inside & ~core)[1:-1, 1:-1]
    return found


def _grays(values: Shaped[np.ndarray, "x y"]) -> UInt8[np.ndarray, "y x"]:
    clean = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    return np.round(np.clip(np.rot90(clean), 0, 1) * _GRAYS).astype(np.uint8)


def _uri(pixels: UInt8[np.ndarray, "..."]) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
