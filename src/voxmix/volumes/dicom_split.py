"""Series that are torn: slices that lie in several folders of a subject, or loose in the folder of a domain."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxmix.volumes.dicom_headers import files_of, read_header, read_headers, slices_of
from voxmix.volumes.dicom_stack import check_even, stack_of
from voxmix.volumes.manifest import SetAside, VolumeRecord


def set_pieces_aside(records: list[VolumeRecord], set_aside: list[SetAside]) -> list[VolumeRecord]:
    """Return the records without folders of one subject that together hold one series, which are set aside.

    Folders are pieces where their slices have one SeriesInstanceUID and different places, and fill an even stack.
    Only subjects with several DICOM folders are looked at: one header of each folder.
    """
    folders: dict[tuple[str, str], list[VolumeRecord]] = defaultdict(list)
    for record in records:
        if record.path.is_dir():
            folders[record.domain, record.subject].append(record)
    pieces: set[Path] = set()
    for found in folders.values():
        by_uid: dict[str, list[Path]] = defaultdict(list)
        for record in found if len(found) > 1 else ():
            by_uid[_first_uid(record.path)].append(record.path)
        for uid, paths in by_uid.items():
            if uid and len(paths) > 1 and _are_pieces(paths, uid):
                pieces.update(paths)
                reason = f"a part of one DICOM series that lies in {len(paths)} folders; put its files into one folder"
                set_aside.extend(SetAside(path=path, domain=found[0].domain, reason=reason) for path in paths)
    return [record for record in records if record.path not in pieces]


def without_loose_slices(
    place: Path, names: list[str], loose: Sequence[str], set_aside: list[SetAside]
) -> list[str]:
    """Return the names of a domain's own folder without DICOM files of one slice each, which are set aside as one."""
    if len(loose) < 2:
        return names
    single = {name for name in loose if _is_single_slice(place / name)}
    if len(single) < 2:
        return names
    reason = (
        f"{len(single)} DICOM slices lie loose in the folder of a domain; give each scan a folder of its own"
    )
    set_aside.append(SetAside(path=place, domain=place.name, reason=reason))
    return [name for name in names if name not in single]


def _is_single_slice(file: Path) -> bool:
    header = _header(file)
    return header is not None and int(header.get("NumberOfFrames") or 1) == 1


def _first_uid(folder: Path) -> str:
    headers = (_header(file) for file in files_of(folder))
    return next((str(header.get("SeriesInstanceUID", "")) for header in headers if header is not None), "")


def _header(file: Path) -> Any:
    try:
        return read_header(file)
    except Exception:  # Missing pydicom or a damaged header: reading says what is wrong.
        return None


def _are_pieces(folders: Sequence[Path], uid: str) -> bool:
    try:
        slices = [
            part
            for folder in folders
            for file, header in read_headers(folder).get(uid, ())
            for part in slices_of(file, header)
        ]
        stack = stack_of(slices)
        if len(slices) > stack.count:
            return False
        check_even(stack.heights[stack.places.argsort()])
    except Exception:  # No even stack, or a damaged header: reading says what is wrong.
        return False
    return True
