"""A folder per domain: the layout of your own volumes. Which file names may be volumes."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from voxmix.errors import InputError
from voxmix.volumes.dicom_sniff import DICOM_SUFFIXES, begins_as_dicom
from voxmix.volumes.dicom_split import set_pieces_aside, without_loose_slices
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord
from voxmix.volumes.masks import is_image_folder, is_label_folder, is_shelf, word_set
from voxmix.volumes.pairing import File, pair, without_channel
from voxmix.volumes.persons import join_standards

IMAGE_SUFFIXES = (
    ".nii.gz", ".nii", ".hdr", ".hdr.gz", ".mgz", ".mgh", ".mgh.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".npz",
)  # fmt: skip
"""Suffixes of files that hold a volume. Of a pair (.hdr/.img, .mhd/.raw) the header stands for both."""

PAIR_HEADERS, PAIR_VOXELS = (".hdr", ".hdr.gz"), (".img", ".img.gz")
"""The two files of a pair, each plain or packed, in capitals or not."""

ZIP_SUFFIX = ".zip"
"""A zip holds the DICOM files of one scan, as archives and PACS export them."""

UNREAD_SUFFIXES = (
    *(held + packed
      for held in (".nii", ".hdr", ".img", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".dcm", ".nii.gz")
      for packed in (".gz", ".bz2", ".xz", ".zst", ".lz4", ".z")
      if held + packed not in (*IMAGE_SUFFIXES, *PAIR_VOXELS)),
    ".mnc", ".par", ".rec", ".b2nd", ".tar", ".tar.gz", ".tgz", ".7z", ".rar", ".vtk", ".tif", ".tiff", ".gipl", ".mat", ".h5", ".hdf5", ".pt", ".pkl",
)  # fmt: skip
"""Suffixes of files that may hold volumes and are not read: such a file is set aside, not passed over."""
_OTHER_SUFFIXES = (
    ".txt", ".json", ".csv", ".tsv", ".xml", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".md", ".log", ".db", ".py",
    ".gz", ".raw", ".bval", ".bvec", ".xlsx", ".zip",
)  # fmt: skip
"""Suffixes of files that hold no DICOM: they are not opened to see."""

_JUNK = frozenset(
    ("thumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin", "system volume information", "lost+found",
     "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "ehthumbs.db", "icon\r", "network trash folder")
)  # fmt: skip
"""Files and folders that systems leave on disks, in lower case; what starts with a dot is another."""

_PLAIN = word_set(
    "ct cbct mr mri pet pt us t1 t1w t1n t1c t1ce t1gd t2 t2w t2f t2star pd flair dwi adc swi image images img imaging "
    "scan volume vol data orig norm nu brain anat func fmap perf dicom dcm series input suv"
)
"""Words that name no one: a file called so is one of a subject's, not a subject."""

_MANY = 10
_NEARLY_ALL = 0.8
NOT_THERE = "a link to a file that is not there: fetch it (git annex get, datalad get)"
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


def is_junk(name: str) -> bool:
    """Return whether a file or folder is one that systems leave, never a volume or a subject: ``._a.nii``, ``@eaDir``."""
    return name.startswith((".", "~$")) or name.lower() in _JUNK


def domain_folders(folder: Path) -> tuple[Path, ...]:
    """Return the folders that are domains in the layout of a folder per domain, sorted.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}; give a folder that holds one folder per domain")
    return tuple(sorted(path for path in folder.iterdir() if path.is_dir() and not is_junk(path.name)))


def read_folder(folder: Path, *, exclude: Collection[str] = ()) -> Manifest:
    """Return the volumes below ``folder/<DOMAIN>/``, at any depth; folders named in ``exclude`` are passed over.

    The subject is the first folder below the domain (``images/`` and ``labels/`` aside), else the file's name without
    its suffix. Label maps, by their names or the folder they lie in, are never images: each is that of one image
    (:func:`voxmix.volumes.pairing.pair`) or set aside. A folder with DICOM files is one volume; directly below the
    domain each DICOM file is one. Files that systems leave are passed over.

    Raises:
        InputError: no such folder; no domain in it; no domain with a volume; folders that are subjects, not domains.
    """
    domains = [path for path in domain_folders(folder) if path.name not in exclude]
    if not domains and exclude:
        raise InputError(f"every domain of {folder} is excluded; leave one in")
    if not domains:
        loose = sum(1 for path in folder.iterdir() if split_suffix(path.name)[1])
        found = f"{loose} volumes lie in it directly" if loose else "it has no folders"
        raise InputError(f"no domains in {folder}: {found}; make one folder per domain, such as ABD-CT")
    _refuse_label_folders(folder, domains)
    records: list[VolumeRecord] = []
    set_aside: list[SetAside] = []
    empty: list[Path] = []
    for domain in domains:
        found_here = set_pieces_aside(_volumes(domain, set_aside), set_aside)
        if not found_here:
            empty.append(domain)
        records.extend(found_here)
    if not records:
        raise InputError(
            f"domain {empty[0].name} has no volumes ({empty[0]}){_first_reason(set_aside)}; {_NO_VOLUMES}; add some"
        )
    _refuse_subjects(folder, records)
    set_aside.extend(SetAside(path=path, domain=path.name, reason=NO_VOLUMES) for path in empty)
    return join_standards(Manifest(records=tuple(records), set_aside=tuple(set_aside)))


def _refuse_label_folders(folder: Path, domains: list[Path]) -> None:
    """Ask about folders that are called as label maps are: they belong to the images of a domain, and are none."""
    labels = [path.name for path in domains if is_label_folder(path.name)]
    if labels:
        raise InputError(
            f"{folder} should hold a folder per domain, and {labels[0]} is called as folders of label maps are; put images "
            f"and label maps below one folder that is named after their domain (ABD-CT/images, ABD-CT/labels), or leave "
            f"it out: --exclude {shlex.quote(labels[0])}"
        )


def _first_reason(set_aside: list[SetAside]) -> str:
    return f": {len(set_aside)} files set aside, first because: {set_aside[0].reason}" if set_aside else ""


def _volumes(domain: Path, set_aside: list[SetAside]) -> list[VolumeRecord]:
    records: list[VolumeRecord] = []
    files: list[File] = []
    for place, names in walk(domain):
        within = place.relative_to(domain).parts
        if within and any(is_dicom(place / name) for name in names):
            records.append(VolumeRecord(path=place, domain=domain.name, subject=_subject(within, within[0])))
        loose = [] if within else [name for name in names if is_dicom(place / name)]
        names = without_loose_slices(place, names, loose, set_aside)
        names = [name for name in names if not (within and _is_slice(name))]
        chosen, lost = one_per_name(place, names, loose=loose)
        files.extend(File(path=path, stem=stem, within=within) for stem, path in chosen.items())
        set_aside.extend(SetAside(path=path, domain=domain.name, reason=reason) for path, reason in lost)
    paired = pair(files)
    set_aside.extend(SetAside(path=path, domain=domain.name, reason=reason) for path, reason in paired.others)
    records.extend(
        VolumeRecord(
            path=image.path,
            domain=domain.name,
            subject=_subject(image.within, image.stem),
            label=paired.labels.get(image.path),
        )
        for image in paired.images
    )
    return records


def _is_slice(name: str) -> bool:
    return split_suffix(name)[1] in DICOM_SUFFIXES


def _subject(within: tuple[str, ...], stem: str) -> str:
    """Return the first folder that names more than images, labels, a modality or a side of a split, else the file's name."""
    while within and (is_image_folder(within[0]) or is_label_folder(within[0]) or is_shelf(within[0])):
        channels = within[0].lower().startswith("images")
        within = within[1:]
        if not within:
            return without_channel(stem) if channels else stem
    return within[0] if within else stem


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
            lost.append((path, NOT_THERE))
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


def _refuse_subjects(folder: Path, records: list[VolumeRecord]) -> None:
    """Refuse a folder per subject: nearly all hold a volume or two that are called by their modality, or alike."""
    subjects: dict[str, set[str]] = {}
    for record in records:
        subjects.setdefault(record.domain, set()).add(record.subject)
    shared, count = Counter(map(frozenset, subjects.values())).most_common(1)[0]
    plain_names = [
        name for name, found in subjects.items() if all(_is_plain(one.removeprefix(name)) for one in found)
    ]
    alike = count if len(shared) == 1 and len(subjects) > 2 else 0
    many = max(alike, len(plain_names))
    if len(subjects) < 2 or many < _NEARLY_ALL * len(subjects) or all(map(_names_modality, subjects)):
        return
    names = sorted(set().union(*(subjects[name] for name in (plain_names or subjects))))
    raise InputError(
        f"{many} of the {len(subjects)} folders of {folder} hold what one subject would ({', '.join(names[:4])}): is "
        f"this a folder per subject? A folder per domain is expected, with the subjects in it. Say which domain it is: "
        f"mkdir pool && ln -s {shlex.quote(os.path.abspath(folder))} pool/ABD-CT, and give pool"
    )


def _is_plain(subject: str) -> bool:
    return all(not word or word in _PLAIN for word in re.split(r"[\W_]+", subject.lower()))


def _names_modality(domain: str) -> bool:
    return any(word in _PLAIN for word in re.split(r"[\W_]+", domain.lower()))


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
