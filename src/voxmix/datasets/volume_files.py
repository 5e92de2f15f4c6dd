"""The files of a folder: which are volumes, one for each name, and what is not used, with the reason."""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from voxmix.errors import InputError
from voxmix.volumes.file_names import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    PAIR_HEADERS,
    PAIR_VOXELS,
    UNREAD_SUFFIXES,
    ZIP_SUFFIX,
    is_junk,
    split_suffix,
)
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord
from voxmix.volumes.reading.dicom.sniff import is_dicom

_MANY = 10
_NOT_THERE = "a link to a file that is not there: fetch it (git annex get, datalad get)"


def one_per_name(
    folder: Path, names: Iterable[str], *, loose: Collection[str] = ()
) -> tuple[dict[str, Path], list[tuple[Path, str]]]:
    """Return stem to path of the volumes among the files of one folder, and what is not used, with the reason.

    Of files that differ in their suffix alone the first in the order of :data:`IMAGE_SUFFIXES` is taken. A link whose
    file is not there, as git-annex leaves them, is none. Names in ``loose`` are volumes without a suffix.
    """
    order = (*IMAGE_SUFFIXES, ZIP_SUFFIX, *DICOM_SUFFIXES, "")
    listed = sorted(name for name in names if not is_junk(name))
    chosen: dict[str, Path] = {}
    lost: list[tuple[Path, str]] = []
    volumes = [(name, *split_suffix(name)) for name in listed if split_suffix(name)[1] or name in loose]
    for name, stem, suffix in sorted(volumes, key=lambda item: (order.index(item[2]), item[0])):
        path = folder / name
        if not os.path.exists(path):
            lost.append((path, _NOT_THERE))
        elif stem in chosen:
            taken = split_suffix(chosen[stem].name)[1]
            lost.append(
                (
                    path,
                    f"{suffix} next to a {taken} of the same name, which is used: list both if they differ",
                )
            )
        else:
            chosen[stem] = path
    lost.extend(_unread_files(folder, listed))
    return dict(sorted(chosen.items())), lost


def volumes_in(folder: Path) -> tuple[dict[str, Path], list[tuple[Path, str]]]:
    """Return :func:`one_per_name` of the files of a folder; nothing where there is no such folder."""
    return one_per_name(folder, os.listdir(folder)) if folder.is_dir() else ({}, [])


def _unread_files(place: Path, names: list[str]) -> Iterator[tuple[Path, str]]:
    """Yield the files of a folder that may hold a volume and are not read, with the reason: many of one kind as one."""
    by_reason: dict[str, list[Path]] = {}
    beside = {name.lower() for name in names}
    for name in names:
        reason = _unread(name.lower(), beside)
        if reason and not is_dicom(place / name):
            by_reason.setdefault(reason, []).append(place / name)
    for reason, paths in by_reason.items():
        if len(paths) > _MANY:
            yield place, f"{len(paths)} files: {reason}"
        else:
            yield from ((path, reason) for path in paths)


def _unread(name: str, beside: set[str]) -> str:
    """Return why a file that may hold a volume is not read, or "" for all others; all names in small letters."""

    def has_header(ending: str) -> bool:
        return not {name.removesuffix(ending) + end for end in PAIR_HEADERS}.isdisjoint(beside)

    voxels = next((end for end in PAIR_VOXELS if name.endswith(end)), None)
    if voxels is not None and not has_header(voxels):
        return "voxels (.img) without their header (.hdr)"
    if name.endswith(".mat") and has_header(".mat"):
        return ""  # SPM's axes of an Analyze image.
    unread = next((suffix for suffix in UNREAD_SUFFIXES if name.endswith(suffix)), "")
    return f"files that end in {unread} are not read" if unread else ""


def walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield (folder, file names) without what systems leave, sorted, through links to folders but never in circles."""
    seen: set[str] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_junk(name))
        yield Path(place), sorted(name for name in names if not is_junk(name))


def gather(records: Iterator[VolumeRecord | SetAside]) -> Manifest:
    """Return a manifest of what a layout yields; files that do not exist are set aside."""
    kept: list[VolumeRecord] = []
    lost: list[SetAside] = []
    for item in records:
        if isinstance(item, SetAside):
            lost.append(item)
        elif not os.path.exists(item.path):
            reason = _NOT_THERE if os.path.islink(item.path) else "no such file"
            lost.append(SetAside(path=item.path, domain=item.domain, reason=reason))
        else:
            kept.append(item)
    if lost and not kept:
        raise InputError(
            f"no volumes that can be used: {len(lost)} set aside, first because: {lost[0].reason}"
        )
    return Manifest(records=tuple(kept), set_aside=tuple(lost))


def left_out(items: Iterable[tuple[Path, str]], domain: str) -> Iterator[SetAside]:
    """Yield files of a domain that are not used, with the reason."""
    yield from (SetAside(path=path, domain=domain, reason=reason) for path, reason in items)
