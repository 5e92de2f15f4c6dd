"""One file to one film: PNG, JPEG, DICOM or NumPy by its first bytes, or a reason why not."""

from pathlib import Path

import numpy as np

from voxmix.images.dicom_films import is_dicom_film, read_dicom_film
from voxmix.images.image import MAX_PIXELS, Image, check_size
from voxmix.images.pictures import picture_format, read_picture
from voxmix.volumes.reading.kinds import look, refuse_foreign
from voxmix.volumes.reading.npz_stacks import array_header
from voxmix.volumes.reading.read import MAX_NOT_FINITE, check_archive, reasons_in_words
from voxmix.volumes.volume import UnreadableVolumeError, check_regular, check_voxel_type

_OTHER_PICTURES = (b"II*\0", b"MM\0*", b"BM", b"GIF8", b"RIFF", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"%PDF")


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Return the film of a PNG, JPEG, DICOM or NumPy file (npz, npy), by its bytes, whatever it is called.

    Not-a-number pixels become the lowest value when they are at most a quarter.

    Raises:
        UnreadableVolumeError: damaged, truncated, color, 3D, of several frames, larger than ``max_pixels`` or smaller
            than 16 pixels, one value everywhere; the message is the reason, without path or header text.
    """
    with reasons_in_words():
        image = _dispatch(path, max_pixels=max_pixels)
    pixels, notes = image.pixels, image.notes
    finite = np.isfinite(pixels)
    if not finite.all():
        share = 1 - float(finite.mean())
        if share > MAX_NOT_FINITE:
            raise UnreadableVolumeError(f"{share:.0%} of the pixels are not numbers (NaN or infinite)")
        pixels = np.where(finite, pixels, pixels[finite].min())
        notes = (*notes, f"{share:.1%} of the pixels were not numbers and became the lowest value")
    if pixels.min() == pixels.max():
        raise UnreadableVolumeError("every pixel has the same value")
    return Image(pixels=pixels, spacing_mm=image.spacing_mm, notes=notes, risks=image.risks, view=image.view)


def _dispatch(path: Path, *, max_pixels: int) -> Image:
    if path.is_dir():
        raise UnreadableVolumeError("a folder where an image is expected; a study of images takes 2D images")
    check_regular(path)
    if path.stat().st_size == 0:
        raise UnreadableVolumeError("the file is empty")
    if kind := picture_format(path):
        return read_picture(path, kind=kind, max_pixels=max_pixels)
    if is_dicom_film(path):
        return read_dicom_film(path, max_pixels=max_pixels)
    head = look(path)
    if head.kind in ("npy", "npz"):
        return _read_numpy(path, packed=head.kind == "npz", max_pixels=max_pixels)
    if head.kind != "other":
        raise UnreadableVolumeError(
            "a 3D file in a study of images, which takes 2D images; a volume belongs in a study of volumes"
        )
    if head.start.startswith(_OTHER_PICTURES):
        raise UnreadableVolumeError("an image of a kind that is not read; save it as PNG")
    refuse_foreign(head)
    raise AssertionError("refused above")


def _read_numpy(path: Path, *, packed: bool, max_pixels: int) -> Image:
    """Return the only array of an npz beside ``spacing`` (down, across, in mm), or that of an npy."""
    spacing = None
    if packed:
        check_archive(path, max_voxels=max_pixels)
        with np.load(path, allow_pickle=False) as archive:
            names = [name for name in archive.files if name != "spacing"]
            if len(names) != 1:
                raise UnreadableVolumeError(f"{len(names)} arrays in one npz; an image is one array")
            values = archive[names[0]]
            if "spacing" in archive.files:
                down, across = (float(edge) for edge in archive["spacing"].ravel())
                spacing = (down, across)
    else:
        with path.open("rb") as stream:
            shape, dtype = array_header(stream)
        check_voxel_type(dtype)
        check_size(_plane(shape), max_pixels=max_pixels)
        values = np.load(path, allow_pickle=False)
    check_voxel_type(values.dtype)
    plane = _plane(values.shape)
    check_size(plane, max_pixels=max_pixels)
    return Image(pixels=values.reshape(plane).astype(np.float32), spacing_mm=spacing)


def _plane(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the axes of one pixel that channels or frames leave."""
    return tuple(size for size in shape if size != 1) if len(shape) > 2 else shape
