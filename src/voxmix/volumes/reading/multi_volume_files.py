"""Parts: one record per volume of files and folders that hold several, DICOM series and 4D images."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from voxmix._parallel import work_through
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError
from voxmix.volumes.file_names import ZIP_SUFFIX, split_suffix
from voxmix.volumes.manifest import Manifest, VolumeRecord
from voxmix.volumes.reading.dicom.series import list_series
from voxmix.volumes.reading.dicom.sniff import is_dicom
from voxmix.volumes.reading.dicom.zipped import list_zip
from voxmix.volumes.reading.headers import claimed_grid
from voxmix.volumes.reading.read import MAX_VOXELS
from voxmix.volumes.volume import check_regular, spatial_shape

_CHUNK = 32
_MOST = 10_000
"""More volumes than any scanner puts into one file: such a header is damaged."""


def take_apart(
    manifest: Manifest, *, times: str = "each", workers: int = 1, progress: ProgressCallback = silent
) -> Manifest:
    """Return the manifest with one record for every DICOM series of a folder and every volume of a 4D file.

    ``times`` says which volumes of a 4D file or series (times, echoes, b-values) are taken: ``each``, ``first``,
    ``middle``, or ``none`` (the file stays one record, which preparing refuses). Only headers are read. Records
    that choose already, or whose file cannot be read, stay as they are: preparing names what is wrong. A label
    map goes with every volume of its image.

    Raises:
        InputError: another word for ``times``.
    """
    if times not in ("each", "first", "middle", "none"):
        raise InputError(f"unknown choice {times!r} for 4D files; choose each, first, middle or none")
    records = manifest.records
    one_chunk = len(records) <= _CHUNK
    parts = work_through(
        partial(_parts_of, times=times),
        records,
        workers=1 if one_chunk else workers,
        chunk=_CHUNK,
        progress=progress,
    )
    return replace(manifest, records=tuple(record for found in parts for record in found))


def _parts_of(record: VolumeRecord, *, times: str) -> tuple[VolumeRecord, ...]:
    return tuple(_parts(record, times))


def _parts(record: VolumeRecord, times: str) -> Iterator[VolumeRecord]:
    if record.volume is not None:
        yield record
        return
    try:
        if not record.path.is_dir():
            check_regular(record.path)
        if record.path.is_dir() or is_dicom(record.path):
            series = list(list_series(record.path))
        elif split_suffix(record.path.name)[1] == ZIP_SUFFIX:
            series = list(list_zip(record.path, max_voxels=MAX_VOXELS))
        else:
            series = [("", _volumes(record))]
    except ImportError:
        raise
    except Exception:  # A header that cannot be read: preparing says why, in its turn.
        series = []
    series = [item for item in series if record.series in ("", item[0])]
    if not series:
        yield record
    # The only series of a folder needs no name: the record stays true when its UID changes by anonymizing.
    for name, count in series:
        one = replace(record, series=name if len(series) > 1 or record.series else "")
        chosen = {"each": range(count), "first": range(1), "middle": (count // 2,), "none": ()}[times]
        if count == 1 or not chosen:
            yield one
        else:
            yield from (replace(one, volume=volume) for volume in chosen)


def _volumes(record: VolumeRecord) -> int:
    """Return how many volumes a file of another format than DICOM holds, by its header."""
    grid = claimed_grid(record.path)
    shape = grid[0] if grid else ()
    spatial = spatial_shape(shape)
    return spatial[3] if len(spatial) == 4 and spatial[3] <= _MOST else 1
