"""Series that are torn: slices or copies in several folders of a domain, or loose in its own."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxmix._io import name_fault
from voxmix.volumes.manifest import SetAside, VolumeRecord
from voxmix.volumes.reading.dicom.copies import have_equal_voxels, identity, once
from voxmix.volumes.reading.dicom.headers import Slice, files_of, read_header, read_headers, slices_of
from voxmix.volumes.reading.dicom.stack import check_even, stack_of
from voxmix.volumes.volume import UnreadableVolumeError


def set_pieces_aside(records: list[VolumeRecord], set_aside: list[SetAside]) -> list[VolumeRecord]:
    """Return the records of a domain without folders that hold a part or a copy of one DICOM series, which are set aside.

    Folders are looked at where the first file of each names the same SeriesInstanceUID. They are pieces where no
    slice stands twice and together they fill an even stack; one is a copy of another where all its slices are in the
    other, with the same voxels. UIDs alone prove nothing: some anonymizers give everybody the same.
    """
    by_uid: dict[str, list[VolumeRecord]] = defaultdict(list)
    for record in records:
        if name_fault(str(record.path)):
            continue  # Set aside for its name by the manifest: no other folder is a copy of it.
        if record.path.is_dir() and (uid := _first_uid(record.path)):
            by_uid[uid].append(record)
    reasons: dict[Path, str] = {}
    for uid, found in by_uid.items():
        subjects = {record.subject for record in found}
        groups = [[r.path for r in found if r.subject == subject] for subject in sorted(subjects)]
        if len(groups) > 1:
            groups.append([record.path for record in found])
        for paths in groups:
            left = [path for path in paths if path not in reasons]
            if len(left) > 1:
                reasons |= _torn(left, uid)
    set_aside.extend(
        SetAside(path=record.path, domain=record.domain, reason=reasons[record.path])
        for record in records
        if record.path in reasons
    )
    return [record for record in records if record.path not in reasons]


def _torn(paths: Sequence[Path], uid: str) -> dict[Path, str]:
    """Return why some of the folders of one series are no volumes of their own."""
    try:
        found = {path: _slices(path, uid) for path in paths}
        return _reasons({path: slices for path, slices in found.items() if slices})
    except Exception:  # A damaged header: reading says what is wrong.
        return {}


def _reasons(folders: dict[Path, list[Slice]]) -> dict[Path, str]:
    reasons: dict[Path, str] = {}
    by_size = sorted(folders, key=lambda folder: (-len(folders[folder]), str(folder)))
    for number, folder in enumerate(by_size):
        if any(
            _is_copy(folders[folder], folders[other]) for other in by_size[:number] if other not in reasons
        ):
            reasons[folder] = "a copy of a DICOM series, or of a part of it, that lies in another folder"
    left = [folder for folder in by_size if folder not in reasons]
    if len(left) > 1 and _are_pieces([part for folder in left for part in folders[folder]]):
        reason = f"a part of one DICOM series that lies in {len(left)} folders; put its files into one folder"
        reasons |= dict.fromkeys(left, reason)
    return reasons


def _slices(folder: Path, uid: str) -> list[Slice]:
    """Return the slices of a folder that holds this series alone, else none."""
    headers = read_headers(folder)
    if set(headers) != {uid}:
        return []
    return once([part for file, header in headers[uid] for part in slices_of(file, header)])[0]


def _is_copy(slices: Sequence[Slice], others: Sequence[Slice]) -> bool:
    """Return whether each of the slices is among the others, with the same voxels."""
    known = {identity(part): part for part in others}
    pairs = [(part, known.get(identity(part))) for part in slices]
    if any(other is None for _, other in pairs):
        return False
    return all(have_equal_voxels(part, other) for part, other in pairs if other is not None)


def _are_pieces(slices: Sequence[Slice]) -> bool:
    stack = stack_of(slices)
    if len(slices) > stack.count:
        return False
    try:
        check_even(stack.heights[stack.places.argsort()])
    except UnreadableVolumeError:
        return False
    return True


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
