"""Where data sets keep their files: a folder per domain, or a CSV."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from voxmix._io import atomic_path
from voxmix.errors import InputError
from voxmix.volumes.manifest import SPLITS, Manifest, SetAside, Split, VolumeRecord

IMAGE_SUFFIXES = (
    ".nii.gz", ".nii", ".hdr", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".npz",
)  # fmt: skip
"""Suffixes of files that hold a volume. Of a pair (.hdr/.img, .mhd/.raw) the header stands for both."""

DICOM_SUFFIXES = (".dcm", ".ima")
ZIP_SUFFIX = ".zip"
"""A zip holds the DICOM files of one scan, as archives and PACS export them."""

UNREAD_SUFFIXES = (
    ".mnc", ".par", ".rec", ".nii.bz2", ".nii.zst", ".nii.xz", ".b2nd", ".tar", ".tar.gz", ".tgz", ".7z", ".rar",
    ".vtk", ".tif", ".tiff", ".gipl", ".mat", ".h5", ".hdf5", ".pt", ".pkl",
)  # fmt: skip
"""Suffixes of files that may hold volumes and are not read: such a file is set aside, not passed over."""
LABEL_ENDING = "_seg"
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


def read_folder(folder: Path) -> Manifest:
    """Return the volumes below ``folder/<DOMAIN>/``, at any depth.

    The subject is the first folder below the domain, else the file's name without its suffix. A file
    ``<image>_seg.*`` is the label map of ``<image>.*`` beside it, never an image. A folder with DICOM
    files is one volume; directly below the domain each DICOM file is one. Names that start with a dot
    are passed over.

    Raises:
        InputError: no such folder; no domain in it; a domain without volumes; two files in one folder
            that differ only in their suffix.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}; give a folder that holds one folder per domain")
    domains = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not domains:
        loose = sum(1 for path in folder.iterdir() if split_suffix(path.name)[1])
        found = f"{loose} volumes lie in it directly" if loose else "it has no folders"
        raise InputError(f"no domains in {folder}: {found}; make one folder per domain, such as ABD-CT")
    records: list[VolumeRecord] = []
    set_aside: list[SetAside] = []
    for domain in domains:
        found_here = list(_volumes(domain, set_aside))
        if not found_here:
            raise InputError(
                f"domain {domain.name} has no volumes ({domain}); {_NO_VOLUMES}; "
                "add some or remove the folder"
            )
        records.extend(found_here)
    return Manifest(records=tuple(records), set_aside=tuple(set_aside))


def _volumes(domain: Path, set_aside: list[SetAside]) -> Iterator[VolumeRecord]:
    for place, names in _walk(domain):
        within = place.relative_to(domain).parts
        if within and any(_is_dicom(place / name) for name in names):
            yield VolumeRecord(path=place, domain=domain.name, subject=within[0])
        by_stem: dict[str, Path] = {}
        for name in names:
            stem, suffix = split_suffix(name)
            if name.lower().endswith(UNREAD_SUFFIXES):
                unread = next(end for end in UNREAD_SUFFIXES if name.lower().endswith(end))
                reason = f"files that end in {unread} are not read"
                set_aside.append(SetAside(path=place / name, domain=domain.name, reason=reason))
            if not suffix or (within and suffix in DICOM_SUFFIXES):
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


def _is_dicom(path: Path) -> bool:
    """Return whether the name says DICOM, or, for a name without a suffix, the file does."""
    if "." in path.name:
        return split_suffix(path.name)[1] in DICOM_SUFFIXES
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


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


def read_csv(path: Path) -> Manifest:
    """Return the volumes of a table with columns path, domain, subject and, if wanted, the others.

    The others are ``split``, ``label``, ``volume`` (which one of a 4D file, from 0) and ``affine`` (16 numbers
    in place of a wrong header's).

    Relative paths start at the table's folder and must stay below it; absolute paths are taken as
    they are. Files that do not exist are set aside and counted.

    Raises:
        InputError: no such file, columns missing, a cell empty, a relative path that leaves the
            folder, an unknown split, or not one file that exists.
    """
    rows = _rows(path)
    records: list[VolumeRecord] = []
    set_aside: list[SetAside] = []
    for number, row in enumerate(rows, start=2):
        for column in ("path", "domain", "subject"):
            if not row[column]:
                raise InputError(f"line {number} of {path} has no {column}; fill it or remove the line")
        image = _resolve(row["path"], table=path, line=number)
        label = _resolve(row["label"], table=path, line=number) if row.get("label") else None
        if not image.exists():
            set_aside.append(SetAside(path=image, domain=row["domain"], reason="no such file"))
            continue
        if label is not None and not label.exists():
            set_aside.append(SetAside(path=label, domain=row["domain"], reason="no such label file"))
            label = None
        split = _split(row.get("split", ""), table=path, line=number)
        records.append(
            VolumeRecord(
                path=image,
                domain=row["domain"],
                subject=row["subject"],
                split=split,
                label=label,
                volume=_volume(row.get("volume", ""), table=path, line=number),
                affine=_affine(row.get("affine", ""), table=path, line=number),
            )
        )
    if not records:
        raise InputError(
            f"none of the {len(rows)} files of {path} exists; relative paths start at {path.parent}"
        )
    return Manifest(records=tuple(records), set_aside=tuple(set_aside))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"no such file: {path}; give a CSV with columns path, domain, subject") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save the table as CSV (UTF-8)") from None
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    missing = [column for column in ("path", "domain", "subject") if column not in reader.fieldnames]
    if missing:
        raise InputError(
            f"{path} lacks the columns {missing}; its first line must name path, domain, subject "
            f"(and, if wanted, split, label, volume, affine), found {reader.fieldnames}"
        )
    rows = [
        {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)} for row in reader
    ]
    if not rows:
        raise InputError(f"{path} lists no volumes; add one line per volume")
    return rows


def _resolve(cell: str, *, table: Path, line: int) -> Path:
    given = Path(cell)
    if given.is_absolute():
        return given
    folder = Path(os.path.abspath(table.parent))
    target = Path(os.path.normpath(folder / given))
    if not target.is_relative_to(folder):
        raise InputError(
            f"line {line} of {table} points outside the table's folder: {cell}; give the full path instead"
        )
    return target


def _split(cell: str, *, table: Path, line: int) -> Split:
    names: dict[str, Split] = {
        "": "",
        "train": "train",
        "training": "train",
        "validation": "validation",
        "val": "validation",
    }
    if cell.lower() not in names:
        raise InputError(f"line {line} of {table} has split {cell!r}; use one of {list(SPLITS)} or none")
    return names[cell.lower()]


def _volume(cell: str, *, table: Path, line: int) -> int | None:
    if not cell:
        return None
    if not cell.isdecimal():
        raise InputError(f"line {line} of {table} has volume {cell!r}; give which one of a 4D file, from 0")
    return int(cell)


def _affine(cell: str, *, table: Path, line: int) -> tuple[float, ...] | None:
    try:
        return tuple(float(number) for number in cell.split()) or None
    except ValueError:
        raise InputError(f"line {line} of {table} has an affine that is not 16 numbers: {cell!r}") from None


def write_csv(manifest: Manifest, path: Path) -> None:
    """Write a manifest as the table that :func:`read_csv` reads.

    Files below the table's folder are named relative to it, so that folder and table can move together.
    """
    folder = Path(os.path.abspath(path.parent))

    def name(file: Path | None) -> str:
        if file is None:
            return ""
        full = Path(os.path.abspath(file))
        return str(full.relative_to(folder) if full.is_relative_to(folder) else full)

    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "domain", "subject", "split", "label", "volume", "affine"])
        for r in manifest.records:
            volume = "" if r.volume is None else r.volume
            affine = " ".join(f"{number:.12g}" for number in r.affine or ())
            table.writerow([name(r.path), r.domain, r.subject, r.split, name(r.label), volume, affine])
