"""A folder per domain: the layout of your own volumes. Which file names may be volumes."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from voxmix.errors import InputError
from voxmix.volumes.dicom_sniff import DICOM_SUFFIXES, begins_as_dicom
from voxmix.volumes.dicom_split import set_pieces_aside, without_loose_slices
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord
from voxmix.volumes.persons import join_standards

IMAGE_SUFFIXES = (
    ".nii.gz", ".nii", ".hdr", ".hdr.gz", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".npz",
)  # fmt: skip
"""Suffixes of files that hold a volume. Of a pair (.hdr/.img, .mhd/.raw) the header stands for both."""

PAIR_HEADERS, PAIR_VOXELS = (".hdr", ".hdr.gz"), (".img", ".img.gz")
"""The two files of a pair, each plain or packed, in capitals or not."""

ZIP_SUFFIX = ".zip"
"""A zip holds the DICOM files of one scan, as archives and PACS export them."""

UNREAD_SUFFIXES = (
    ".mnc", ".par", ".rec", ".nii.bz2", ".nii.zst", ".nii.xz", ".b2nd", ".tar", ".tar.gz", ".tgz", ".7z", ".rar",
    ".dcm.gz", ".dcm.bz2", ".vtk", ".tif", ".tiff", ".gipl", ".mat", ".h5", ".hdf5", ".pt", ".pkl",
)  # fmt: skip
"""Suffixes of files that may hold volumes and are not read: such a file is set aside, not passed over."""
_OTHER_SUFFIXES = (
    ".txt", ".json", ".csv", ".tsv", ".xml", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".md", ".log", ".db", ".py",
    ".gz", ".raw", ".bval", ".bvec", ".xlsx", ".zip",
)  # fmt: skip
"""Suffixes of files that hold no DICOM: they are not opened to see."""

_MANY = 10
LABEL_ENDING = "_seg"
NO_VOLUMES = "a domain without volumes, left out"
_NO_VOLUMES = "volumes end in " + ", ".join(IMAGE_SUFFIXES) + " or are folders or zips of DICOM files"


def split_suffix(name: str) -> tuple[str, str]:
    """Return (stem, suffix) of a file name; the suffix is "" when the file cannot be a volume.

    >>> split_suffix("case.1_t1.nii.gz")
    ('case.1_t1', '.nii.gz')
    """
    lower = name.lower()
    for suffix in (*IMAGE_SUFFIXES, *DICOM_SUFFIXES, ZIP_SUFFIX):
        if lower.endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


def domain_folders(folder: Path) -> tuple[Path, ...]:
    """Return the folders that are domains in the layout of a folder per domain, sorted.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}; give a folder that holds one folder per domain")
    return tuple(sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))


def read_folder(folder: Path, *, exclude: Collection[str] = ()) -> Manifest:
    """Return the volumes below ``folder/<DOMAIN>/``, at any depth; folders named in ``exclude`` are passed over.

    The subject is the first folder below the domain, else the file's name without its suffix. A file
    ``<image>_seg.*`` is the label map of ``<image>.*`` beside it, never an image. A folder with DICOM
    files is one volume; directly below the domain each DICOM file is one. Names that start with a dot
    are passed over.

    Raises:
        InputError: no such folder; no domain in it; no domain with a volume; two files in one folder
            that differ only in their suffix.
    """
    domains = [path for path in domain_folders(folder) if path.name not in exclude]
    if not domains and exclude:
        raise InputError(f"every domain of {folder} is excluded; leave one in")
    if not domains:
        loose = sum(1 for path in folder.iterdir() if split_suffix(path.name)[1])
        found = f"{loose} volumes lie in it directly" if loose else "it has no folders"
        raise InputError(f"no domains in {folder}: {found}; make one folder per domain, such as ABD-CT")
    records: list[VolumeRecord] = []
    set_aside: list[SetAside] = []
    empty: list[Path] = []
    for domain in domains:
        found_here = set_pieces_aside(list(_volumes(domain, set_aside)), set_aside)
        if not found_here:
            empty.append(domain)
        records.extend(found_here)
    if not records:
        raise InputError(
            f"domain {empty[0].name} has no volumes ({empty[0]}){_first_reason(set_aside)}; {_NO_VOLUMES}; add some"
        )
    set_aside.extend(SetAside(path=path, domain=path.name, reason=NO_VOLUMES) for path in empty)
    return join_standards(Manifest(records=tuple(records), set_aside=tuple(set_aside)))


def _first_reason(set_aside: list[SetAside]) -> str:
    return f": {len(set_aside)} files set aside, first because: {set_aside[0].reason}" if set_aside else ""


def _volumes(domain: Path, set_aside: list[SetAside]) -> Iterator[VolumeRecord]:
    for place, names in _walk(domain):
        within = place.relative_to(domain).parts
        if within and any(is_dicom(place / name) for name in names):
            yield VolumeRecord(path=place, domain=domain.name, subject=within[0])
        loose = [] if within else [name for name in names if is_dicom(place / name)]
        names = without_loose_slices(place, names, loose, set_aside)
        set_aside.extend(_unread_files(place, names, domain.name))
        by_stem: dict[str, Path] = {}
        for name in names:
            stem, suffix = split_suffix(name)
            if (not suffix and name not in loose) or (within and suffix in DICOM_SUFFIXES):
                continue
            if stem in by_stem:
                raise InputError(
                    f"two files are named {stem} in {place}: {by_stem[stem].name} and {name}; "
                    "keep one, or give them different names"
                )
            by_stem[stem] = place / name
        for stem, path in by_stem.items():
            if stem.endswith(LABEL_ENDING):
                if stem.removesuffix(LABEL_ENDING) not in by_stem:
                    reason = "label map without its image"
                    set_aside.append(SetAside(path=path, domain=domain.name, reason=reason))
                continue
            yield VolumeRecord(
                path=path,
                domain=domain.name,
                subject=within[0] if within else stem,
                label=by_stem.get(stem + LABEL_ENDING),
            )


def _unread_files(place: Path, names: list[str], domain: str) -> Iterator[SetAside]:
    """Yield the files of a folder that may hold a volume and are not read: many of one kind as one."""
    by_reason: dict[str, list[Path]] = {}
    for name in names:
        reason = _unread(name, names)
        if reason and not is_dicom(place / name):
            by_reason.setdefault(reason, []).append(place / name)
    for reason, paths in by_reason.items():
        if len(paths) > _MANY:
            yield SetAside(path=place, domain=domain, reason=f"{len(paths)} files: {reason}")
        else:
            yield from (SetAside(path=path, domain=domain, reason=reason) for path in paths)


def _unread(name: str, names: list[str]) -> str:
    """Return why a file that may hold a volume is not read, or "" for all others."""
    lower = name.lower()
    stem = next((lower.removesuffix(end) for end in PAIR_VOXELS if lower.endswith(end)), None)
    if stem is not None and not {other.lower() for other in names} & {stem + end for end in PAIR_HEADERS}:
        return "voxels (.img) without their header (.hdr)"
    unread = next((suffix for suffix in UNREAD_SUFFIXES if lower.endswith(suffix)), "")
    return f"files that end in {unread} are not read" if unread else ""


def is_dicom(path: Path) -> bool:
    """Return whether the name says DICOM, or, where it says nothing, the file does.

    Names of DICOM files are often UIDs or numbers with dots: what follows a dot is an ending only where it is known.
    """
    suffix = split_suffix(path.name)[1]
    if suffix or path.name.lower().endswith((*UNREAD_SUFFIXES, *_OTHER_SUFFIXES)):
        return suffix in DICOM_SUFFIXES
    if path.name.upper() == "DICOMDIR":
        return False  # It lists images, and holds none.
    return begins_as_dicom(path)


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield (folder, file names), sorted, through links to folders but never in circles."""
    seen: set[str] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(place), sorted(name for name in names if not name.startswith("."))
