"""What is known of an image beside its pixels: whose it is, how it was taken, where it is from, and which files are none."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from voxmix.domain import as_domain_name, check_domain_name
from voxmix.errors import InputError
from voxmix.images.dicom_films import film_header, is_dicom_film
from voxmix.images.pictures import SUFFIXES as PICTURES
from voxmix.volumes.file_names import DICOM_SUFFIXES, IMAGE_SUFFIXES

FILMS = (*PICTURES, *DICOM_SUFFIXES, ".npz", ".npy")
"""How files end that may be an image."""
VOLUMES = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix not in (".npz", ".npy"))
"""How files end that hold a volume."""
HOME = "images"
"""The domain where none is named: the name of a table or folder may be a person's."""
IN_3D = "a 3D file in a study of images, which takes 2D images; a volume belongs in a study of volumes"


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownOfFile:
    """Whose an image is, how it was taken, and the names and numbers that its report may hold."""

    person: str
    view: str
    names: tuple[str, ...]


class Headers:
    """Persons and views where a table or folder does not say them, and where they came from."""

    def __init__(self) -> None:
        self.by: Counter[str] = Counter()

    def known(self, image: Path, *, person: str = "", view: str = "", report: str = "") -> KnownOfFile:
        """Return what is known of a file: as given, else by its header, else the file is a person of its own.

        The header is read where something is not given, or where there is a report that its names may stand in.
        """
        asked = not (person and view) or bool(report)
        header = film_header(image) if asked and _may_be_dicom(image) else None
        view = view_name(view or (header.view if header else ""))
        names = (*((person,) if person else ()), *(header.names if header else ()))
        if person:
            self.by["table"] += 1
        elif header is not None and header.person:
            self.by["header"] += 1
            person = header.person
        else:
            self.by["none"] += 1
            person = f"image {image}"
        return KnownOfFile(person=person, view=view, names=names)

    def notes(self, count: int, *, in_table: bool) -> list[str]:
        """Return where persons came from, in sentences, of ``count`` images."""
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


def domain_of(cell: str) -> str:
    """Return the domain that a cell or folder names, as a name that can be used."""
    if not cell:
        return HOME
    try:
        return check_domain_name(cell)
    except InputError:
        return as_domain_name(cell) if re.search(r"[0-9A-Za-z]", cell) else HOME
