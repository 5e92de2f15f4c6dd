"""Headers alone: the shape and voxel size that a file claims, without reading a voxel."""

from contextlib import suppress
from pathlib import Path

import numpy as np

from voxmix.volumes.file_names import ZIP_SUFFIX, split_suffix
from voxmix.volumes.reading.detached_voxels import data_files, header_of
from voxmix.volumes.reading.dicom.sniff import is_dicom
from voxmix.volumes.reading.itk import KINDS as ITK
from voxmix.volumes.reading.itk import open_header
from voxmix.volumes.reading.kinds import look
from voxmix.volumes.reading.nifti import KINDS as NIFTI
from voxmix.volumes.reading.nifti import open_image, place
from voxmix.volumes.reading.npz_stacks import array_header
from voxmix.volumes.volume import UnreadableVolumeError


def claimed_grid(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
    """Return (shape, voxel size in mm along its first three axes) by a file's header.

    None for formats whose header says neither (DICOM, npz) and for headers that cannot be read: whoever
    reads the file in its turn says what is wrong with it.
    """
    if path.is_dir() or is_dicom(path) or split_suffix(path.name)[1] == ZIP_SUFFIX:
        return None
    try:
        path = header_of(path)
        head = look(path)
        if head.kind in NIFTI:
            with open_image(path, head) as image:
                shape, voxel_mm = image.header.get_data_shape(), image.header.get_zooms()[:3]
                with suppress(UnreadableVolumeError):  # What cannot be placed is counted all the same.
                    voxel_mm = np.linalg.norm(place(image, head)[0][:3, :3], axis=0).tolist()
        elif head.kind in ITK:
            data_files(path)  # Refuses a header that leads out of its folder, before it is followed.
            reader = open_header(path, head)
            shape, voxel_mm = reader.GetSize(), np.abs(reader.GetSpacing()[:3]).tolist()
        elif head.kind == "npy":
            with path.open("rb") as stream:
                shape, voxel_mm = array_header(stream)[0], (1.0, 1.0, 1.0)
        else:
            return None
        return tuple(int(size) for size in shape), tuple(float(edge) for edge in voxel_mm)
    except ImportError:
        raise
    except Exception:  # Readers of damaged files raise whatever they like.
        return None
