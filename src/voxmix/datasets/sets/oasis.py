"""OASIS-1: T1-weighted MR of the brain, with the Clinical Dementia Rating."""

import re
from collections.abc import Iterator
from math import isnan
from pathlib import Path

from voxmix._csv import read_csv_rows
from voxmix.datasets.dataset import DataSet, holds
from voxmix.datasets.task import Task
from voxmix.datasets.volume_files import gather
from voxmix.volumes.file_names import PAIR_HEADERS, is_junk, split_suffix
from voxmix.volumes.manifest import Manifest, VolumeRecord

_AFFINE = (0.0, 0.0, -1.0, 80.0, 1.0, 0.0, 0.0, -128.0, 0.0, 1.0, 0.0, -128.0, 0.0, 0.0, 0.0, 1.0)
"""The headers of OASIS-1 name a wrong orientation; this is what clinica writes in its place."""


def read_oasis(root: Path) -> Manifest:
    """Return OASIS-1: the averaged, gain-corrected MPRAGE of every session, with the orientation put right.

    ``_MR2`` is a repeat of the same subject. The class is that of the Clinical Dementia Rating, ``CDR=0`` or
    ``CDR>0``, from ``oasis_cross-sectional.csv`` beside the discs, else from the session's own text file; a blank
    rating (the young, who were not rated) is no class.
    """
    ratings = _table(root)

    def records() -> Iterator[VolumeRecord]:
        for path in sorted(root.glob("**/OAS1_*_MR*/PROCESSED/MPRAGE/SUBJ_111/*")):
            if (
                any(map(is_junk, path.relative_to(root).parts))
                or split_suffix(path.name)[1] not in PAIR_HEADERS
            ):
                continue
            index = next(i for i, part in enumerate(path.parts) if re.fullmatch(r"OAS1_\d+_MR\d", part))
            session = path.parts[index]
            beside = Path(*path.parts[: index + 1]) / f"{session}.txt"
            rating = ratings[session] if session in ratings else _rating(beside)
            yield VolumeRecord(
                path=path,
                domain="BRAIN-T1",
                subject=session.rsplit("_", 1)[0],
                affine=_AFFINE,
                category=rating,
            )

    return gather(records())


def _table(root: Path) -> dict[str, str]:
    """Return session to class, from the table of all sessions where there is one."""
    for path in sorted(root.glob("oasis_cross-sectional*.csv")):
        table = read_csv_rows(
            path, columns=("ID", "CDR"), give="the table of OASIS-1 as its publisher has it"
        )
        return {row["ID"]: _dementia(row["CDR"]) for row in table.rows}
    return {}


def _rating(path: Path) -> str:
    if not path.is_file():
        return ""
    match = re.search(
        r"^CDR:[ \t]*([\d.]*)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE
    )
    return _dementia(match[1]) if match else ""


def _dementia(rating: str) -> str:
    try:
        number = float(rating)
    except ValueError:
        return ""
    return "" if isnan(number) else "CDR>0" if number > 0 else "CDR=0"


DATA_SET = DataSet(
    name="oasis",
    title="OASIS-1",
    traps="the header's orientation is wrong and is replaced; `_MR2` is a repeat; class by CDR, a blank CDR is none",
    read=read_oasis,
    shows=holds("OAS1_*_MR?", "disc*/OAS1_*_MR?", "*/disc*/OAS1_*_MR?"),
    special=4,
    sessions=("OASIS", re.compile(r"(OAS\d_?\d{4,5})_(?:MR\d+|[0-9A-Za-z]+_d\d{4})(?:_.*)?")),
    tasks=(
        Task(
            name="oasis",
            kind="classification",
            domain="BRAIN-T1",
            layout="oasis",
            classes={"CDR=0": ("CDR=0",), "CDR>0": ("CDR>0",)},
            split=(165, 35, 35),
            choice="sessions without a CDR are left out; a subject's repeat session stays on the subject's side",
        ),
    ),
)
