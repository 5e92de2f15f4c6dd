"""find_images(): a folder or a table of films, with reports and labels where there are any, to one ImageTable."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from voxmix._csv import CsvTable, read_csv_cells, read_csv_rows
from voxmix._io import name_fault
from voxmix.domain import as_domain_name, check_domain_name
from voxmix.errors import InputError
from voxmix.images.dicom_films import film_header, is_dicom_film
from voxmix.images.label_values import LabelColumns, read_labels
from voxmix.images.pictures import SUFFIXES as PICTURES
from voxmix.images.table import ImageRecord, ImageTable
from voxmix.volumes.file_names import DICOM_SUFFIXES, IMAGE_SUFFIXES, OTHER_SUFFIXES, UNREAD_SUFFIXES, is_junk
from voxmix.volumes.manifest import SetAside, Split
from voxmix.volumes.manifest_files import NOT_HERE, file_named, of_windows

_GIVE = "a table whose header names image, and if wanted report, person, domain, view, split and labels"
_TABLES = (".csv", ".tsv")
_FILMS = (*PICTURES, *DICOM_SUFFIXES, ".npz", ".npy")
_VOLUMES = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix not in (".npz", ".npy"))
_OTHER_PICTURES = (".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".heic")
_HOME = "images"
"""The domain where none is named: the name of a table or folder may be a person's."""

_IN_3D = "a 3D file in a study of images, which takes 2D images; a volume belongs in a study of volumes"

_SPELLINGS: dict[str, tuple[str, ...]] = {
    "image": ("image", "image path", "img", "img path", "path", "file", "file path", "filename", "file name", "image file",
              "image name", "image index", "image id", "imageid", "dicom", "dicom path", "film"),
    "report": ("report", "report text", "text", "caption", "clinical notes", "notes", "radiology report", "full report"),
    "indication": ("indication", "history", "clinical history", "clinical information"),
    "findings": ("findings", "finding text", "findings text", "report findings"),
    "impression": ("impression", "impressions", "conclusion", "conclusions", "report impression"),
    "person": ("person", "person id", "patient", "patient id", "patientid", "patient no", "subject", "subject id", "subjectid", "pid",
               "participant", "participant id", "case", "case id"),
    "domain": ("domain", "center", "centre", "site", "hospital", "institution", "source domain"),
    "view": ("view", "view position", "viewposition", "projection"),
    "split": ("split", "partition", "subset", "fold name"),
}  # fmt: skip
"""What a column may be called, after everything but letters and digits became a space; the first that is there counts."""

_NO_LABELS = frozenset(
    ("age", "sex", "gender", "id", "study", "study id", "series", "accession", "date", "url", "license", "follow up", "offset",
     "patient age", "patient sex", "patient gender", "height", "width", "rows", "columns", "year", "name", "patient name")
)  # fmt: skip
"""Columns that are never labels, though some say 0 and 1 alone."""

_SPLITS: dict[str, Split | None] = {
    "": "", "train": "train", "training": "train", "tr": "train", "val": "validation", "valid": "validation",
    "validate": "validation", "validation": "validation", "dev": "validation", "test": None, "testing": None, "holdout": None,
}  # fmt: skip
"""Sides by name; None is kept for a test, and set aside."""


def find_images(path: Path, *, labels: Sequence[str] | None = None) -> ImageTable:
    """Return the films of a folder or a table, with the reports, persons, views and labels that are known of them.

    A table (CSV, TSV, or a spreadsheet saved as such) has a column of images, and others in usual spellings: report (or
    indication, findings, impression), person, domain, view, split. ``labels`` names the columns that are labels; left
    out, they are those whose cells say yes, no or uncertain, and a column of names (``Finding Labels``). Paths are
    relative to the table.

    A folder has a folder for each domain, or films alone; a report is a text file of the same name (``a.png``,
    ``a.txt``). Where the folder holds one table of images, the table counts.

    Persons are those of the table, else of the DICOM headers, else each image is a person of its own, and that is said.
    What cannot be used is set aside with a reason, and counted.

    Raises:
        InputError: no such file, no table of images, several in one folder, a label column that is not there, or no
            image at all.
    """
    path = Path(os.path.abspath(path))
    if path.is_dir():
        tables = [file for file in sorted(path.iterdir()) if _is_table_of_images(file)]
        if len(tables) > 1:
            names = ", ".join(file.name for file in tables)
            raise InputError(f"{path} holds several tables of images ({names}); give one of them")
        found = _from_table(tables[0], labels=labels) if tables else _from_folder(path)
        return replace(found, notes=(f"taken from {tables[0].name}", *found.notes)) if tables else found
    if not path.exists():
        raise InputError(f"no such file or folder: {path}; give a folder of images, or {_GIVE}")
    return _from_table(path, labels=labels)


def _is_table_of_images(path: Path) -> bool:
    if path.suffix.lower() not in _TABLES or is_junk(path.name):
        return False
    try:
        return _column([*read_csv_cells(path, give=_GIVE).names], "image") is not None
    except InputError:
        return False


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()).strip()


def _column(names: Sequence[str], role: str) -> str | None:
    """Return the column of a table that plays a role, by its spelling."""
    spelled = {_plain(name): name for name in reversed(names)}
    spelled |= {
        _plain(name).replace(" ", ""): name for name in reversed(names) if name not in spelled.values()
    }
    return next((spelled[word] for word in _SPELLINGS[role] if word in spelled), None)


def _from_table(path: Path, *, labels: Sequence[str] | None) -> ImageTable:
    table = read_csv_rows(path, columns=(), give=_GIVE)
    columns = list(table.rows[0])
    roles = {role: _column(columns, role) for role in _SPELLINGS}
    if roles["image"] is None:
        raise InputError(f"{path} has no column of images; give {_GIVE}; found {columns}")
    told = {name for name in roles.values() if name is not None}
    notes = list(table.notes)
    free = [name for name in columns if name not in told and _plain(name) not in _NO_LABELS]
    if labels is not None:
        lacking = [name for name in labels if name not in columns]
        if lacking:
            raise InputError(f"{path} lacks the label columns {lacking}; it has {columns}")
        free = list(labels)
    found = read_labels(table.rows, free)
    if labels is not None and set(found.columns) != set(free):
        odd = [name for name in free if name not in found.columns]
        raise InputError(
            f"the columns {odd} of {path} hold no labels: their cells should say yes, no, 1, 0, uncertain or nothing"
        )
    records, set_aside, more = _records(table, path, roles, found)
    notes += [*more, *_column_notes(roles, columns, told, found, labels)]
    if not records:
        first = set_aside[0].reason if set_aside else "it has no rows"
        raise InputError(
            f"no image of {path} can be used: of {len(set_aside)} rows, the first is set aside because {first}"
        )
    kept, torn = _whole_persons(records)
    return ImageTable(records=tuple(kept), set_aside=(*set_aside, *torn), notes=tuple(notes), source=path)


def _column_notes(
    roles: Mapping[str, str | None],
    columns: Sequence[str],
    told: set[str],
    found: LabelColumns,
    given: Sequence[str] | None,
) -> Iterator[str]:
    used = ", ".join(
        f"{role} is {name!r}" for role, name in roles.items() if name is not None and name != role
    )
    if used:
        yield f"columns: {used}"
    for name, count in found.uncertain.items():
        yield f"label {name}: {count} uncertain, taken as unknown"
    for name, count in found.unread.items():
        yield f"label {name}: {count} cells say neither yes nor no, taken as unknown"
    unused = [name for name in columns if name not in told and name not in found.columns]
    if unused and given is None:
        yield f"columns not used: {', '.join(unused)}"


def _records(
    table: CsvTable, path: Path, roles: Mapping[str, str | None], found: LabelColumns
) -> tuple[list[ImageRecord], list[SetAside], list[str]]:
    """Return the rows that can be used, those that cannot with the reason, and notes."""
    records: list[ImageRecord] = []
    aside: list[SetAside] = []
    seen: dict[Path, tuple[object, ...]] = {}
    headers = _Headers()
    for line, row, labels in zip(table.lines, table.rows, found.rows, strict=True):
        get = {role: row.get(name, "") if name else "" for role, name in roles.items()}
        domain = _domain_of(get["domain"])
        place = Path(f"line {line}")

        def leave(reason: str, where: Path, domain: str = domain) -> None:
            aside.append(SetAside(path=where, domain=domain, reason=reason))

        report = _report_of(get)
        if not get["image"]:
            leave("a report without an image" if report else "a row without an image", place)
            continue
        image = file_named(get["image"], table=path, line=f"line {line}")
        if fault := name_fault(str(image)):
            leave(f"the name of its file {fault}; rename it", place)
            continue
        if not os.path.exists(image):
            leave(NOT_HERE if of_windows(get["image"]) else "no such file", image)
            continue
        if get["split"].lower() not in _SPLITS:
            leave("a side of the split that is neither train nor validation nor test", image)
            continue
        side = _SPLITS[get["split"].lower()]
        if side is None:
            leave("kept for a test by the table", image)
            continue
        if image.name.lower().endswith(_VOLUMES):
            leave(_IN_3D, image)
            continue
        person, view = headers.person_and_view(image, get["person"], get["view"])
        if fault := name_fault(person):
            leave(f"the name of its person {fault}; give another", image)
            continue
        what = (report, tuple(labels.items()), side, person)
        if image in seen:
            leave(
                "the same row twice" if seen[image] == what else "an image listed again, with other contents",
                image,
            )
            continue
        seen[image] = what
        records.append(
            ImageRecord(
                path=image, domain=domain, person=person, report=report, labels=labels, split=side, view=view
            )
        )
    return records, aside, headers.notes(len(records), in_table=roles["person"] is not None)


class _Headers:
    """Persons and views where a table or folder does not say them, and where they came from."""

    def __init__(self) -> None:
        self.by: Counter[str] = Counter()

    def person_and_view(self, image: Path, person: str, view: str) -> tuple[str, str]:
        """Return person and view of a file: as given, else by its header, else the file is a person of its own."""
        header = None if (person and view) or not _may_be_dicom(image) else film_header(image)
        view = view_name(view or (header.view if header else ""))
        if person:
            self.by["table"] += 1
            return person, view
        if header is not None and header.person:
            self.by["header"] += 1
            return header.person, view
        self.by["none"] += 1
        return f"image {image}", view

    def notes(self, count: int, *, in_table: bool) -> list[str]:
        lines = []
        if self.by["header"]:
            lines.append(f"{self.by['header']} images have their person from the DICOM header (PatientID)")
        if self.by["none"]:
            which = "each image" if self.by["none"] >= count else f"{self.by['none']} images: each of them"
            advice = "fill the column of persons" if in_table else "add a column person"
            lines.append(
                f"persons are not known: {which} counts as a person of its own; if one person has several, {advice}, "
                "or training and validation may share persons"
            )
        return lines


def _may_be_dicom(image: Path) -> bool:
    return not image.name.lower().endswith((*PICTURES, ".npz", ".npy")) and is_dicom_film(image)


_LATERAL = frozenset(("L", "LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT"))


def view_name(text: str) -> str:
    """Return a view in its one spelling: PA, AP, AP supine, lateral; another word as it is, letters alone."""
    words = re.findall(r"[A-Z]+", text.upper())
    if not words:
        return ""
    if words[0] in _LATERAL or "LATERAL" in words:
        return "lateral"
    if words[0] in ("PA", "AP"):
        return f"{words[0]} supine" if "SUPINE" in words else words[0]
    return " ".join(words).lower()[:20]


def _domain_of(cell: str) -> str:
    if not cell:
        return _HOME
    try:
        return check_domain_name(cell)
    except InputError:
        return as_domain_name(cell) if re.search(r"[0-9A-Za-z]", cell) else _HOME


def _report_of(get: Mapping[str, str]) -> str:
    """Return the report of a row: its own column, else what its sections say, under their headings."""
    if get["report"]:
        return get["report"]
    parts = [(role, get[role]) for role in ("indication", "findings", "impression") if get[role]]
    return "\n".join(f"{role.upper()}: {text}" for role, text in parts)


def _whole_persons(records: Iterable[ImageRecord]) -> tuple[list[ImageRecord], list[SetAside]]:
    """Return the records whose persons are on one side, and training images of those who are on both, set aside.

    Validation keeps them: what judges must not have been trained on. Rows of a person without a side take the side that
    the person has elsewhere.
    """
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.split:
            sides[record.person].add(record.split)
    kept, aside = [], []
    for record in records:
        there = sides[record.person]
        if len(there) > 1 and record.split != "validation":
            reason = "its person is in training and in validation by the table: kept in validation alone"
            aside.append(SetAside(path=record.path, domain=record.domain, reason=reason))
        else:
            side: Split = record.split or ("train" if "train" in there else "validation" if there else "")
            kept.append(replace(record, split=side))
    return kept, aside


def _from_folder(root: Path) -> ImageTable:
    records: list[ImageRecord] = []
    aside: list[SetAside] = []
    headers = _Headers()
    texts: set[Path] = set()
    used: set[Path] = set()
    for file in _walk(root):
        parts = file.relative_to(root).parts
        domain = _domain_of(parts[0] if len(parts) > 1 else "")
        lower = file.name.lower()
        if fault := name_fault(str(file)):
            aside.append(
                SetAside(path=file, domain=domain, reason=f"the name of its file {fault}; rename it")
            )
        elif lower.endswith(_VOLUMES):
            aside.append(SetAside(path=file, domain=domain, reason=_IN_3D))
        elif lower.endswith(_OTHER_PICTURES):
            reason = "an image of a kind that is not read; save it as PNG"
            aside.append(SetAside(path=file, domain=domain, reason=reason))
        elif lower.endswith(".txt"):
            texts.add(file)
        elif lower.endswith(_FILMS) or _is_unnamed_dicom(file):
            person, view = headers.person_and_view(file, "", "")
            side = file.with_suffix(".txt")
            report = _text_of(side)
            used.add(side)
            records.append(ImageRecord(path=file, domain=domain, person=person, report=report, view=view))
    aside += [
        SetAside(path=file, domain=_HOME, reason="a report without an image")
        for file in sorted(texts - used)
        if records
    ]
    if not records:
        first = f"; {len(aside)} files are set aside, the first because {aside[0].reason}" if aside else ""
        raise InputError(
            f"no PNG, JPEG, DICOM or npz image below {root}{first}; give a folder of images, or {_GIVE}"
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
