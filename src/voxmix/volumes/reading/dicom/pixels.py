"""DICOM pixels: decoded by GDCM, rescaled, and never inverted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from voxmix._optional import require
from voxmix.volumes.reading.dicom.headers import Slice
from voxmix.volumes.reading.scratch import temporary_folder
from voxmix.volumes.volume import UnreadableVolumeError

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def is_inverted(header: Any) -> bool:
    """Return whether an image is shown with its lowest value in white."""
    return str(header.get("PhotometricInterpretation")) == "MONOCHROME1"


def pixels_of(slices: Sequence[Slice]) -> tuple[Float[np.ndarray, "x y z"], tuple[str, ...]]:
    """Return rescaled pixels as float32, and what to say: slopes may differ from slice to slice, as in PET."""
    columns, rows = slices[0].size
    data = np.empty((columns, rows, len(slices)), dtype=np.float32)
    frames: dict[Path, np.ndarray] = {}
    for index, part in enumerate(slices):
        if part.file not in frames:
            frames = {part.file: decoded(part.file, part.header)}
        pixels = frames[part.file].reshape(-1, rows, columns)
        if part.frame >= len(pixels):
            raise UnreadableVolumeError("truncated or damaged: fewer frames than the header says")
        gain, offset = part.rescale
        data[:, :, index] = pixels[part.frame].T
        if part.rescale != (1.0, 0.0):
            data[:, :, index] = data[:, :, index] * np.float64(gain) + offset
    inverted = {is_inverted(part.header) for part in slices}
    if inverted == {False} or slices[0].header.get("Modality") == "CT":
        return data, ()
    if len(inverted) > 1:
        raise UnreadableVolumeError(
            "DICOM slices of one image of which some are shown inverted (MONOCHROME1)"
        )
    return data, ("shown inverted (MONOCHROME1): voxels are the stored values, as in images that are not",)


def decoded(file: Path, header: Any) -> Shaped[np.ndarray, "..."]:
    """Return the rescaled pixels of a file, never inverted: GDCM would do that to MONOCHROME1, HU or not.

    Raises:
        UnreadableVolumeError: cut off, damaged, or packed in a way that is not read.
    """
    if not is_inverted(header):
        return _by_gdcm(file)
    pydicom = require("pydicom", extra="imaging")
    whole = pydicom.dcmread(file, force=True)
    plain = whole.group_dataset(0x0028)
    for name in ("SOPClassUID", "SOPInstanceUID", *_GROUPS, "PixelData"):
        if name in whole:
            plain[name] = whole[name]
    plain.file_meta = pydicom.dataset.FileMetaDataset()
    plain.PhotometricInterpretation = "MONOCHROME2"
    meta = getattr(whole, "file_meta", {})
    syntax = meta.get("TransferSyntaxUID") or pydicom.uid.ImplicitVRLittleEndian
    plain.file_meta.TransferSyntaxUID = syntax
    with temporary_folder() as folder:
        plain.save_as(folder / "0", enforce_file_format=True)
        return _by_gdcm(folder / "0")


def _by_gdcm(file: Path) -> Shaped[np.ndarray, "..."]:
    try:
        str(file).encode()
    except UnicodeEncodeError:  # SimpleITK ends the whole process at a name that is no UTF-8.
        with temporary_folder() as folder:
            (folder / "0").symlink_to(file.absolute())
            return _by_gdcm(folder / "0")
    itk = require("SimpleITK", extra="imaging")
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        return np.asarray(itk.GetArrayFromImage(itk.ReadImage(str(file), itk.sitkFloat32)))
    except RuntimeError:
        raise UnreadableVolumeError(
            "the pixels of a DICOM file cannot be unpacked: it is cut off, damaged, or packed in a way that is not read"
        ) from None
