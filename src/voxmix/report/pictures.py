"""Slices of volumes as PNG data URIs."""

import base64
import io

import numpy as np
from jaxtyping import Shaped
from PIL import Image

_GRAYS = 255


def png_uri(values: Shaped[np.ndarray, "x y"]) -> str:
    """Return a ``data:`` URI of a slice in [0, 1], first axis to the right, second axis up.

    For an axial slice in RAS that is anterior up and the patient's right at the right. Values that are
    not finite are black.
    """
    clean = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    grays = np.round(np.clip(np.rot90(clean), 0, 1) * _GRAYS).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grays)).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
