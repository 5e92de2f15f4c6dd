"""Films made for tests: arrays, and DICOM files of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def write_dicom() -> Callable[..., None]:
    """Return the function that writes an array as a DICOM film with more header fields."""
    return _write_dicom


def _write_dicom(path: Path, values: np.ndarray, **header: Any) -> None:
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("SimpleITK")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    data.Modality, data.SamplesPerPixel, data.PhotometricInterpretation = "DX", 1, "MONOCHROME2"
    data.Rows, data.Columns = values.shape[-2:]
    bits = 8 * values.dtype.itemsize
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.PixelData = values.tobytes()
    for name, value in header.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
