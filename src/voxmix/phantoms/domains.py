"""Phantoms: procedural volumes of the paper's six domains, as the NIfTI files that scanners' exports are.

They are drawn from nested, turned and warped ellipsoids and tubes and carry label maps, so that the whole
method can be run and tested without any patient's data.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from voxmix._io import atomic_path, naming_full_disk
from voxmix._optional import require
from voxmix._parallel import work_through
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError
from voxmix.phantoms.abdomen import draw_abdomen
from voxmix.phantoms.canvas import Canvas, rotation
from voxmix.phantoms.neck import draw_brain_exam, draw_head_and_neck
from voxmix.phantoms.scanner import scan_ct, scan_mr, scan_pet


@dataclass(frozen=True, kw_only=True, slots=True)
class _Protocol:
    """How one domain is scanned: people it shares with other domains, field of view, voxels, storage."""

    people: str
    field_mm: tuple[float, float, float]
    slice_axis: int
    slice_mm: tuple[float, float]
    center_mm: tuple[float, float, float]
    tilt_degrees: float
    stored: tuple[str, ...]
    draw: Callable[[Canvas, np.random.Generator], None]
    scan: Callable[[Canvas, np.random.Generator], Float[np.ndarray, "x y z"]]
    stored_as: type[np.generic]


def _abdominal_mr(canvas: Canvas, rng: np.random.Generator) -> Float[np.ndarray, "x y z"]:
    """T1-weighted or, in four of ten, T2-weighted: a domain of mixed contrasts, as AMOS is."""
    if rng.random() < 0.6:
        return scan_mr(canvas, rng, repetition_ms=rng.uniform(140, 260), echo_ms=rng.uniform(3, 6), field=0.3)
    return scan_mr(canvas, rng, repetition_ms=rng.uniform(1800, 3000), echo_ms=rng.uniform(70, 95), field=0.3)


PROTOCOLS: dict[str, _Protocol] = {
    "ABD-CT": _Protocol(
        people="abdct",
        field_mm=(380, 380, 230),
        slice_axis=2,
        slice_mm=(4.0, 5.0),
        center_mm=(0, 0, 0),
        tilt_degrees=0,
        stored=("LPS", "LAS", "RAS"),
        draw=lambda canvas, rng: draw_abdomen(canvas, rng, couch=True),
        scan=lambda canvas, rng: scan_ct(canvas, rng, contrast=rng.uniform(0.5, 1.0) * (rng.random() < 0.85)),
        stored_as=np.int16,
    ),
    "ABD-MRI": _Protocol(
        people="abdmr",
        field_mm=(380, 300, 220),
        slice_axis=2,
        slice_mm=(4.5, 6.0),
        center_mm=(0, 0, 0),
        tilt_degrees=3,
        stored=("LPS", "LAS", "RAS"),
        draw=lambda canvas, rng: draw_abdomen(canvas, rng, couch=False),
        scan=_abdominal_mr,
        stored_as=np.uint16,
    ),
    "BRAIN-T1": _Protocol(
        people="brain",
        field_mm=(180, 224, 204),
        slice_axis=0,
        slice_mm=(2.2, 3.0),
        center_mm=(0, 4, -12),
        tilt_degrees=7,
        stored=("PSR", "ASL", "LPS", "RAS"),
        draw=lambda canvas, rng: draw_brain_exam(canvas, rng, tumor=rng.random() < 0.6),
        scan=lambda canvas, rng: scan_mr(
            canvas,
            rng,
            repetition_ms=rng.uniform(1900, 2300),
            inversion_ms=rng.uniform(850, 1000),
            echo_ms=rng.uniform(3, 5),
        ),
        stored_as=np.uint16,
    ),
    "BRAIN-T2": _Protocol(
        people="brain",
        field_mm=(176, 216, 170),
        slice_axis=2,
        slice_mm=(3.0, 5.0),
        center_mm=(0, 2, 0),
        tilt_degrees=7,
        stored=("LPS", "LAS", "RAS"),
        draw=lambda canvas, rng: draw_brain_exam(canvas, rng, tumor=rng.random() < 0.6),
        scan=lambda canvas, rng: scan_mr(
            canvas, rng, repetition_ms=rng.uniform(3500, 5500), echo_ms=rng.uniform(85, 110)
        ),
        stored_as=np.uint16,
    ),
    "HN-CT": _Protocol(
        people="hn",
        field_mm=(250, 250, 270),
        slice_axis=2,
        slice_mm=(3.0, 4.0),
        center_mm=(0, -6, -15),
        tilt_degrees=0,
        stored=("LPS", "LAS", "RAS"),
        draw=lambda canvas, rng: draw_head_and_neck(canvas, rng, couch=True),
        scan=lambda canvas, rng: scan_ct(canvas, rng, contrast=rng.uniform(0.5, 1.0) * (rng.random() < 0.7)),
        stored_as=np.int16,
    ),
    "HN-PET": _Protocol(
        people="hn",
        field_mm=(270, 270, 270),
        slice_axis=2,
        slice_mm=(3.3, 4.3),
        center_mm=(0, -6, -15),
        tilt_degrees=0,
        stored=("LPS", "LAS"),
        draw=lambda canvas, rng: draw_head_and_neck(canvas, rng, couch=False),
        scan=scan_pet,
        stored_as=np.float32,
    ),
}
"""Six protocols. BRAIN-T1 and BRAIN-T2 show the same people, and so do HN-CT and HN-PET, as in BraTS and
HECKTOR: a subject has one name in both domains."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Phantom:
    """One phantom on RAS axes: voxels in the scanner's unit, label map, affine to RAS mm, subject's name."""

    image: Float[np.ndarray, "x y z"]
    labels: UInt8[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]
    subject: str


def make_phantom(domain: str, index: int, *, seed: int, matrix: int = 96) -> Phantom:
    """Return phantom ``index`` of a domain; ``matrix`` is the number of voxels across the slice.

    A function of its arguments alone: neither how many phantoms are made nor who makes them matters.
    The person depends on (seed, people of the domain, index), the scan on (seed, domain, index).

    Raises:
        InputError: not one of the six domains, or a matrix below 16.
    """
    if domain not in PROTOCOLS:
        raise InputError(f"no phantom of {domain!r}; there are {list(PROTOCOLS)}")
    if matrix < 16:
        raise InputError(f"matrix must be at least 16 voxels, got {matrix}; the default is 96")
    protocol = PROTOCOLS[domain]
    person = _random(seed, protocol.people, index)
    scanner = _random(seed, domain, index)
    shape, affine = _grid(protocol, scanner, matrix)
    canvas = Canvas(shape, affine, rng=_random(seed, f"{domain} canvas", index))
    protocol.draw(canvas, person)
    image = protocol.scan(canvas, scanner)
    return Phantom(image=image, labels=canvas.label, affine=affine, subject=f"{protocol.people}_{index:04d}")


def _random(seed: int, name: str, index: int) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(f"{seed}/{name}/{index}".encode()).digest()))


def _grid(
    protocol: _Protocol, rng: np.random.Generator, matrix: int
) -> tuple[tuple[int, int, int], Float[np.ndarray, "4 4"]]:
    """Return shape and affine: thick slices along one axis, a slightly turned head, a shifted table."""
    field = np.array(protocol.field_mm) * rng.uniform(0.96, 1.06)
    spacing = np.full(3, np.delete(field, protocol.slice_axis).max() / matrix)
    spacing[protocol.slice_axis] = rng.uniform(*protocol.slice_mm) * 96 / matrix
    x, y, z = (max(8, round(n)) for n in field / spacing)
    turn = rng.normal(0, protocol.tilt_degrees / 2, 3)
    affine = np.eye(4)
    affine[:3, :3] = rotation(turn) * spacing
    center = np.array(protocol.center_mm) + rng.normal(0, 3, 3)
    affine[:3, 3] = center - affine[:3, :3] @ ((np.array([x, y, z]) - 1) / 2)
    return (x, y, z), affine


def write_phantoms(
    root: Path,
    *,
    counts: Mapping[str, int],
    seed: int,
    matrix: int = 96,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> None:
    """Write ``root/<DOMAIN>/<subject>/<subject>_<domain>.nii.gz`` and its ``_seg`` label map, gzipped NIfTI.

    Files that exist are kept, so that a killed call goes on where it was; every file is whole or absent.
    The result does not depend on ``workers``, and more ``counts`` only add files.

    Raises:
        InputError: a name that is not one of the six domains, or a count below 1.
    """
    for domain, count in counts.items():
        if domain not in PROTOCOLS:
            raise InputError(f"no phantom of {domain!r}; there are {list(PROTOCOLS)}")
        if count < 1:
            raise InputError(f"count of {domain} must be at least 1, got {count}")
    jobs = [(domain, index) for domain, count in counts.items() for index in range(count)]
    with naming_full_disk(root):
        work_through(
            partial(_write_one, root=root, seed=seed, matrix=matrix), jobs, workers=workers, progress=progress
        )


def _write_one(job: tuple[str, int], *, root: Path, seed: int, matrix: int) -> None:
    domain, index = job
    subject = f"{PROTOCOLS[domain].people}_{index:04d}"
    folder = root / domain / subject
    name = f"{subject}_{domain.lower()}"
    image_path, label_path = folder / f"{name}.nii.gz", folder / f"{name}_seg.nii.gz"
    if image_path.exists() and label_path.exists():
        return
    phantom = make_phantom(domain, index, seed=seed, matrix=matrix)
    stored = _random(seed, f"{domain} storage", index).choice(PROTOCOLS[domain].stored)
    image = phantom.image
    if issubclass(PROTOCOLS[domain].stored_as, np.integer):
        image = np.rint(image)
    _save(label_path, phantom.labels, phantom.affine, str(stored), np.uint8)
    _save(image_path, image, phantom.affine, str(stored), PROTOCOLS[domain].stored_as)


def _save(path: Path, data: np.ndarray, affine: np.ndarray, stored: str, dtype: type[np.generic]) -> None:
    """Write one NIfTI with its axes in the order ``stored``, through a name that ends as nibabel asks."""
    nibabel = require("nibabel", extra="imaging")
    image = nibabel.Nifti1Image(data.astype(dtype), affine)
    image.header.set_xyzt_units("mm")
    wanted = nibabel.orientations.axcodes2ornt(stored)
    image = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), wanted))
    image.set_qform(image.affine, code=1)
    image.set_sform(image.affine, code=1)
    with atomic_path(path) as temporary:
        import gzip

        with (
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
        ):
            packed.write(image.to_bytes())
