"""find_images(): a folder or a table of films, with reports and labels where there are any, to one ImageTable."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from voxmix._csv import read_csv_cells
from voxmix.errors import InputError
from voxmix.images.from_folder import from_folder
from voxmix.images.from_table import from_table
from voxmix.images.table import ImageTable
from voxmix.images.table_columns import GIVE, column_of
from voxmix.volumes.file_names import is_junk

_TABLES = (".csv", ".tsv")


def find_images(
    path: Path, *, labels: Sequence[str] | None = None, classes: Sequence[str] = ()
) -> ImageTable:
    """Return the films of a folder or a table, with the reports, persons, views and labels that are known of them.

    A table (CSV, TSV, or a spreadsheet saved as such) has a column of images, and others in usual spellings: report (or
    indication, findings, impression), person, domain, view, split. ``labels`` names the columns that are labels; left
    out, they are those whose cells say yes, no or uncertain, and a column of names (``Finding Labels``). ``classes`` names
    columns whose cells name one of several classes: each class becomes a label ``column: class``. Paths are relative to
    the table.

    A folder has a folder for each domain, or films alone; a report is a text file of the same name (``a.png``,
    ``a.txt``). Where the folder holds one table of images, the table counts.

    Persons are those of the table, else of the DICOM headers, else each image is a person of its own, and that is said.
    What cannot be used is set aside with a reason, and counted.

    Raises:
        InputError: no such file, no table of images, several in one folder, a label column or a column of classes that is
            not there or holds something else, or no image at all.
    """
    path = Path(os.path.abspath(path))
    if path.is_dir():
        tables = [file for file in sorted(path.iterdir()) if _is_table_of_images(file)]
        if len(tables) > 1:
            names = ", ".join(file.name for file in tables)
            raise InputError(f"{path} holds several tables of images ({names}); give one of them")
        if classes and not tables:
            raise InputError(
                f"{path} has no table, and so no columns of classes {list(classes)}; give {GIVE}"
            )
        found = from_table(tables[0], labels=labels, classes=classes) if tables else from_folder(path)
        return replace(found, notes=(f"taken from {tables[0].name}", *found.notes)) if tables else found
    if not path.exists():
        raise InputError(f"no such file or folder: {path}; give a folder of images, or {GIVE}")
    return from_table(path, labels=labels, classes=classes)


def _is_table_of_images(path: Path) -> bool:
    if path.suffix.lower() not in _TABLES or is_junk(path.name):
        return False
    try:
        return column_of([*read_csv_cells(path, give=GIVE).names], "image") is not None
    except InputError:
        return False
