"""PNG and JPEG by Pillow: one gray image each; color, alpha and rotation by rules that are said."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from voxmix.images.image import Image, check_size
from voxmix.volumes.volume import UnreadableVolumeError

SUFFIXES = (".png", ".jpg", ".jpeg")
_STARTS = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}

TURNED = "turned as its camera noted (EXIF)"
"""Note of an image whose pixels are in another order than in its file."""

_GRAY_STEP = 16
"""Levels of 255 by which the channels of a gray pixel may differ: JPEG's color subsampling leaves up to about 10."""

_MOST_COLORED = 1e-3
"""Share of pixels that may have color and still be a mark on a gray film."""


def picture_format(path: Path) -> str:
    """Return PNG or JPEG by a file's first bytes, "" for anything else."""
    with path.open("rb") as stream:
        start = stream.read(8)
    return next((name for magic, name in _STARTS.items() if start.startswith(magic)), "")


def read_picture(path: Path, *, kind: str, max_pixels: int) -> Image:
    """Return the film of a PNG or JPEG file.

    Channels that are equal are gray; at most a thousandth of the pixels may have color, as a mark on the film has.
    Transparent pixels are black. The rotation that a camera noted (EXIF) is applied.

    Raises:
        UnreadableVolumeError: color, several images in one file, or too large; other errors are Pillow's.
    """
    import PIL.Image
    from PIL import ImageOps

    # Opened here: Pillow leaves a file open that it refuses.
    with path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Its bound on pixels comes with a warning; ours is checked below.
        try:
            opened = PIL.Image.open(stream, formats=(kind,))
        except PIL.Image.DecompressionBombError:
            raise UnreadableVolumeError(
                f"its pixels are more than the {max_pixels} that are allowed"
            ) from None
        with opened:
            check_size((opened.height, opened.width), max_pixels=max_pixels)
            if getattr(opened, "n_frames", 1) > 1:
                raise UnreadableVolumeError("several images in one file; give one in each")
            try:
                opened.load()
            except (OSError, SyntaxError, ValueError) as error:
                cut = "truncat" in str(error)
                why = (
                    "truncated or damaged: the file ends too early"
                    if cut
                    else "damaged: it cannot be unpacked"
                )
                raise UnreadableVolumeError(why) from None
            turned = ImageOps.exif_transpose(opened)
            values, notes, risks = _gray(turned)
            if turned.size != opened.size or opened.getexif().get(0x0112, 1) not in (0, 1):
                notes = (*notes, TURNED)
    return Image(pixels=values, notes=notes, risks=risks)


def _gray(picture: Any) -> tuple[Float[np.ndarray, "row column"], tuple[str, ...], tuple[str, ...]]:
    """Return float32 pixels, notes and risks of an image of any mode."""
    mode = picture.mode
    if mode in ("P", "PA"):
        picture = picture.convert("RGBA" if "transparency" in picture.info or mode == "PA" else "RGB")
    elif mode in ("L", "RGB") and "transparency" in picture.info:
        picture = picture.convert("LA" if mode == "L" else "RGBA")
    elif mode == "1":
        picture = picture.convert("L")
    values = np.asarray(picture)
    if values.ndim == 2:
        said = ("an image of one bit: black and white alone",) if mode == "1" else ()
        return values.astype(np.float32), said, ()
    if picture.mode not in ("LA", "RGB", "RGBA"):
        raise UnreadableVolumeError(f"color image ({picture.mode}); give a gray one")
    alpha = values[..., -1] if picture.mode in ("LA", "RGBA") else None
    gray, notes, risks = _from_channels(values[..., : 1 if picture.mode == "LA" else 3], mode)
    if alpha is not None and alpha.min() < 255:
        gray = gray * (alpha.astype(np.float32) / 255)
        notes = (*notes, f"{np.mean(alpha < 255):.0%} of its pixels are transparent: taken as black")
    return gray, notes, risks


def _from_channels(
    values: Shaped[np.ndarray, "row column channel"], mode: str
) -> tuple[Float[np.ndarray, "row column"], tuple[str, ...], tuple[str, ...]]:
    if values.shape[2] == 1:
        return values[..., 0].astype(np.float32), (), ()
    spread = values.max(axis=2).astype(np.int16) - values.min(axis=2)
    colored = float(np.mean(spread > _GRAY_STEP))
    if colored > _MOST_COLORED:
        what = "a palette of colors" if mode in ("P", "PA") else mode
        raise UnreadableVolumeError(
            f"color image ({what}): {colored:.1%} of its pixels have color; give a gray one"
        )
    gray = values.mean(axis=2, dtype=np.float32)
    if spread.max() == 0:
        return gray, (), ()
    notes = ("its color channels are all but equal: their mean is taken",)
    return gray, notes, ("colored marks",) if colored else ()
