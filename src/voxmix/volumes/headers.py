"""Headers alone: the shape and voxel size that a file claims, without reading a voxel."""

from pathlib import Path

from voxmix._optional import require
from voxmix.volumes.layouts import split_suffix


def claimed_grid(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
    """Return (shape, voxel size in mm along its first three axes) by a file's header.

    None for formats whose header says neither (DICOM, NumPy) and for headers that cannot be read: whoever
    reads the file in its turn says what is wrong with it.
    """
    suffix = split_suffix(path.name)[1]
    try:
        if suffix in (".nii", ".nii.gz", ".mgz", ".mgh", ".hdr"):
            nibabel = require("nibabel", extra="imaging")
            with nibabel.imageglobals.LoggingOutputSuppressor():
                header = nibabel.load(path).header
            shape, voxel_mm = header.get_data_shape(), header.get_zooms()[:3]
        elif suffix in (".nrrd", ".nhdr", ".mha", ".mhd"):
            reader = require("SimpleITK", extra="imaging").ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            shape, voxel_mm = reader.GetSize(), reader.GetSpacing()[:3]
        else:
            return None
        return tuple(int(size) for size in shape), tuple(float(edge) for edge in voxel_mm)
    except ImportError:
        raise
    except Exception:  # Readers of damaged files raise whatever they like.
        return None
