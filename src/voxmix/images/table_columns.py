"""What the columns of a table of images are called, in usual spellings."""

import re
from collections.abc import Sequence

GIVE = "a table whose header names image, and if wanted report, person, domain, view, split and labels"
"""What a table should have, for messages."""

SPELLINGS: dict[str, tuple[str, ...]] = {
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

OF_NAMES = frozenset(
    ("name", "patient name", "full name", "surname", "last name", "family name", "first name", "given name", "mrn", "accession",
     "accession number", "radiologist", "physician", "referring physician", "reader", "reported by")
)  # fmt: skip
"""Columns whose cells are names or numbers: they are taken out of the report of their row."""

NO_LABELS = frozenset(
    ("age", "sex", "gender", "id", "study", "study id", "series", "accession", "date", "url", "license", "follow up", "offset",
     "patient age", "patient sex", "patient gender", "height", "width", "rows", "columns", "year", "name", "patient name")
)  # fmt: skip
"""Columns that are never labels, though some say 0 and 1 alone."""


def plain_name(name: str) -> str:
    """Return a column's name in lower case, its words apart by spaces: ``PatientID`` and ``patient_id`` are one."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()).strip()


def column_of(names: Sequence[str], role: str) -> str | None:
    """Return the column of a table that plays a role, by its spelling."""
    spelled = {plain_name(name): name for name in reversed(names)}
    spelled |= {
        plain_name(name).replace(" ", ""): name for name in reversed(names) if name not in spelled.values()
    }
    return next((spelled[word] for word in SPELLINGS[role] if word in spelled), None)
