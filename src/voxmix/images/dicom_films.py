"""DICOM films (CR, DX and other single frames): gray values rescaled, bone bright, spacing where the header says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxmix._optional import require
from voxmix.images.image import Image, check_size
from voxmix.volumes.reading.dicom.pixels import decoded
from voxmix.volumes.reading.dicom.sniff import begins_as_dicom
from voxmix.volumes.volume import UnreadableVolumeError

_TAGS = (
    "SOPClassUID", "Modality", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "ModalityLUTSequence", "PresentationLUTShape",
    "PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio", "RescaleSlope", "RescaleIntercept", "ViewPosition", "BurnedInAnnotation",
    "PatientID", "PatientName",
)  # fmt: skip
_NO_IMAGES = ("1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.1.1.66.4")
_STACKED = ("CT", "MR", "PT", "NM")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmHeader:
    """What a table of images takes from a header: ``person`` identifies, and stays in memory and the private list."""

    person: str
    view: str
    names: tuple[str, ...] = ()
    """PatientName, PatientID and the names of physicians: what is taken out of the report."""


def is_dicom_film(path: Path) -> bool:
    """Return whether a file holds DICOM by its first bytes, whatever it is called."""
    return begins_as_dicom(path)


_NAMES = (
    "PatientName", "PatientID", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "ReferringPhysicianName",
    "NameOfPhysiciansReadingStudy", "PerformingPhysicianName", "OperatorsName", "RequestingPhysician", "AccessionNumber",
)  # fmt: skip


def film_header(path: Path) -> FilmHeader:
    """Return person and view of a DICOM file; "" for what it does not say or what cannot be read."""
    try:
        header = _header(path)
        person = str(header.get("PatientID") or "").strip() or str(header.get("PatientName") or "").strip()
        names = (str(header.get(tag) or "").strip() for tag in _NAMES)
        return FilmHeader(person=person, view=_view(header), names=tuple(name for name in names if name))
    except ImportError:
        raise
    except Exception:  # Reading its pixels says what is wrong with it.
        return FilmHeader(person="", view="")


def read_dicom_film(path: Path, *, max_pixels: int) -> Image:
    """Return the film of a DICOM file of one frame.

    Values are rescaled (RescaleSlope); those that are shown inverted (MONOCHROME1, or where it is given
    PresentationLUTShape INVERSE) are turned around, so that bone is bright in every image. Pixels of the padding value
    become black. Spacing is PixelSpacing, else ImagerPixelSpacing, which is measured at the detector.

    Raises:
        UnreadableVolumeError: several frames, color, a palette or a lookup table, or no pixels; other errors are
            those of pydicom and SimpleITK.
    """
    header = _header(path)
    if "Rows" not in header or header.get("SOPClassUID") in _NO_IMAGES:
        raise UnreadableVolumeError("DICOM without an image, or a file that ends before its pixels")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnreadableVolumeError(
            f"a DICOM file of {frames} frames, a volume or a moving image; a study of images takes 2D images of one frame"
        )
    _check_gray(header)
    check_size((int(header.Rows), int(header.Columns)), max_pixels=max_pixels)
    pixels = np.array(decoded(path, header).reshape(-1, int(header.Rows), int(header.Columns))[0])
    notes: tuple[str, ...] = ()
    padded = _padding(header, pixels)
    inverted, doubt = _shown_inverted(header)
    if inverted:
        pixels = pixels.max() - pixels if padded is None else pixels[~padded].max() - pixels
        notes = ("shown inverted (MONOCHROME1): turned around, so that bone is bright",)
    if padded is not None:
        pixels = np.where(padded, pixels[~padded].min(), pixels)
        notes = (*notes, f"{padded.mean():.0%} of its pixels are padding by the header: taken as black")
    spacing, said = _spacing(header)
    if header.get("Modality") in _STACKED:
        notes = (*notes, f"one slice of a volume ({header.Modality}), taken as an image")
    burned = str(header.get("BurnedInAnnotation") or "").upper() == "YES"
    return Image(
        pixels=pixels.astype(np.float32),
        spacing_mm=spacing,
        notes=(*notes, *doubt, *said),
        risks=("burned-in text, by the header",) if burned else (),
        view=_view(header),
    )


def _header(path: Path) -> Any:
    import warnings

    pydicom = require("pydicom", extra="imaging")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Odd values are common; those that are used are checked.
        tags = [pydicom.tag.Tag(name) for name in _TAGS]
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)


def _view(header: Any) -> str:
    """Return the view in capitals, as letters alone: a free text there could hold a name."""
    text = str(header.get("ViewPosition") or "").strip().upper()
    return text if text.isalpha() and len(text) <= 4 else ""


def _check_gray(header: Any) -> None:
    photometric = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
    if int(header.get("SamplesPerPixel") or 1) > 1:
        raise UnreadableVolumeError("color image (RGB); give a gray one")
    if not photometric.startswith("MONOCHROME"):
        raise UnreadableVolumeError("color image (numbers of a palette); give a gray one")
    if header.get("ModalityLUTSequence"):
        raise UnreadableVolumeError("DICOM whose values are given by a lookup table; give them as numbers")
    if int(header.get("HighBit") or 0) > (lowest := int(header.get("BitsStored") or 64) - 1):
        raise UnreadableVolumeError(
            f"DICOM whose values are not in the lowest bits (HighBit {header.HighBit}, expected {lowest}); convert it again"
        )


def _shown_inverted(header: Any) -> tuple[bool, tuple[str, ...]]:
    """Return whether low values are shown bright: by PresentationLUTShape where it is given, else MONOCHROME1."""
    mono1 = str(header.get("PhotometricInterpretation")) == "MONOCHROME1"
    shape = str(header.get("PresentationLUTShape") or "")
    if shape not in ("IDENTITY", "INVERSE"):
        return mono1, ()
    inverse = shape == "INVERSE"
    doubt = (
        ()
        if inverse == mono1
        else ("its PresentationLUTShape and MONOCHROME1 or 2 disagree: the shape counts",)
    )
    return inverse, doubt


def _padding(header: Any, pixels: np.ndarray) -> np.ndarray | None:
    """Return which pixels are padding; None where none are, or all."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    stored = value if isinstance(value, int | float) else int.from_bytes(bytes(value), "little")
    real = float(header.get("RescaleSlope") or 1) * float(stored) + float(header.get("RescaleIntercept") or 0)
    found: np.ndarray = pixels == np.float32(real)
    return found if found.any() and not found.all() else None


def _spacing(header: Any) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Return spacing (down, across) in mm, and what to say of it."""
    for name, said in (
        ("PixelSpacing", ()),
        ("ImagerPixelSpacing", ("its spacing is that at the detector (ImagerPixelSpacing)",)),
    ):
        try:
            down, across = (float(item) for item in header.get(name) or ())
        except (TypeError, ValueError):
            continue
        if min(down, across) >= 0.005 and max(down, across) <= 10:
            return (down, across), said
    return None, ()
