"""A folder of films to one ImageTable: a folder for each domain, a text file beside an image as its report."""

import os
from collections.abc import Iterator
from pathlib import Path

from voxmix._io import name_fault
from voxmix.errors import InputError
from voxmix.images.dicom_films import is_dicom_film
from voxmix.images.known_of_files import FILMS, HOME, IN_3D, VOLUMES, Headers, domain_of
from voxmix.images.table import ImageRecord, ImageTable
from voxmix.images.table_columns import GIVE
from voxmix.volumes.file_names import OTHER_SUFFIXES, UNREAD_SUFFIXES, is_junk
from voxmix.volumes.manifest import SetAside

_OTHER_PICTURES = (".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".heic")


def from_folder(root: Path) -> ImageTable:
    """Return the images below a folder; raises as :func:`voxmix.images.finding.find_images`."""
    records: list[ImageRecord] = []
    aside: list[SetAside] = []
    headers = Headers()
    texts: set[Path] = set()
    used: set[Path] = set()
    for file in _walk(root):
        parts = file.relative_to(root).parts
        domain = domain_of(parts[0] if len(parts) > 1 else "")
        lower = file.name.lower()
        if fault := name_fault(str(file)):
            aside.append(
                SetAside(path=file, domain=domain, reason=f"the name of its file {fault}; rename it")
            )
        elif lower.endswith(VOLUMES):
            aside.append(SetAside(path=file, domain=domain, reason=IN_3D))
        elif lower.endswith(_OTHER_PICTURES):
            reason = "an image of a kind that is not read; save it as PNG"
            aside.append(SetAside(path=file, domain=domain, reason=reason))
        elif lower.endswith(".txt"):
            texts.add(file)
        elif lower.endswith(FILMS) or _is_unnamed_dicom(file):
            side = file.with_suffix(".txt")
            report = _text_of(side)
            used.add(side)
            known = headers.known(file, report=report)
            records.append(
                ImageRecord(
                    path=file,
                    domain=domain,
                    person=known.person,
                    report=report,
                    view=known.view,
                    names=known.names,
                )
            )
    aside += [
        SetAside(path=file, domain=HOME, reason="a report without an image")
        for file in sorted(texts - used)
        if records
    ]
    if not records:
        first = (
            f"; {len(aside)} files are set aside, the first is {aside[0].path}: {aside[0].reason}"
            if aside
            else ""
        )
        raise InputError(
            f"no PNG, JPEG, DICOM or npz image below {root}{first}; give a folder of images, or {GIVE}"
        )
    return ImageTable(
        records=tuple(records),
        set_aside=tuple(aside),
        notes=tuple(headers.notes(len(records), in_table=False)),
        source=root,
    )


def _is_unnamed_dicom(file: Path) -> bool:
    lower = file.name.lower()
    return (
        not lower.endswith((*OTHER_SUFFIXES, *UNREAD_SUFFIXES))
        and lower != "dicomdir"
        and is_dicom_film(file)
    )


def _walk(root: Path) -> Iterator[Path]:
    """Yield the files below a folder in a fixed order, without what systems leave there."""
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not is_junk(name))
        yield from (Path(folder) / name for name in sorted(files) if not is_junk(name))


def _text_of(path: Path) -> str:
    if not path.is_file():
        return ""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
