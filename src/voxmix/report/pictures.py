"""Slices of volumes as PNG data URIs."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

_GRAYS = 255
_OPACITY = 0.55


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


def _grays(values: Shaped[np.ndarray, "x y"]) -> UInt8[np.ndarray, "y x"]:
    clean = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    return np.round(np.clip(np.rot90(clean), 0, 1) * _GRAYS).astype(np.uint8)


def _uri(pixels: UInt8[np.ndarray, "..."]) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
