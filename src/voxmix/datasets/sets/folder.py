"""A folder per domain: the layout of your own volumes."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from voxmix.datasets.dataset import DataSet
from voxmix.datasets.pairing import File, pair, without_channel
from voxmix.datasets.volume_files import one_per_name, walk
from voxmix.errors import InputError
from voxmix.volumes.file_names import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    is_junk,
    split_suffix,
)
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord
from voxmix.volumes.masks import is_image_folder, is_label_folder, is_shelf, word_set
from voxmix.volumes.reading.dicom.sniff import is_dicom
from voxmix.volumes.reading.dicom.torn_series import set_pieces_aside, without_loose_slices

_PLAIN = word_set(
    "ct cbct mr mri pet pt us t1 t1w t1n t1c t1ce t1gd t2 t2w t2f t2star pd flair dwi adc swi image images img imaging "
    "scan volume vol data orig norm nu brain anat func fmap perf dicom dcm series input suv"
)
"""Words that name no one: a file called so is one of a subject's, not a subject."""

_NEARLY_ALL = 0.8
NO_VOLUMES = "a domain without volumes, left out"
_NO_VOLUMES = "volumes end in " + ", ".join(IMAGE_SUFFIXES) + " or are folders or zips of DICOM files"


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
    (:func:`voxmix.datasets.pairing.pair`) or set aside. A folder with DICOM files is one volume; directly below the
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
    return Manifest(records=tuple(records), set_aside=tuple(set_aside))


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


def _read_without(folder: Path, exclude: Collection[str]) -> tuple[Manifest, frozenset[str]]:
    domains = frozenset(path.name for path in domain_folders(folder))
    return read_folder(folder, exclude=exclude), domains


DATA_SET = DataSet(
    name="folder",
    title="a folder per domain",
    expects="a folder per domain, a folder or file per subject",
    traps="label maps are recognized by their names (below); a folder per subject is refused, with the line that fixes "
    "it; files of other formats are set aside",
    read=read_folder,
    read_without=_read_without,
    shows=lambda root: True,
    special=0,
)
