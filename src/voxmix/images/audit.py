"""Audit of images: what is odd about a table of films before hours are spent on it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from voxmix._io import file_digest
from voxmix._parallel import work_through
from voxmix._progress import ProgressCallback, silent
from voxmix.images.image import MAX_PIXELS
from voxmix.images.reading import read_image
from voxmix.images.recipe import ImageRecipe, as_unit, prepare_pixels
from voxmix.images.table import ImageRecord, ImageTable
from voxmix.volumes.auditing.file_survey import TILE
from voxmix.volumes.auditing.fitness import Fitness
from voxmix.volumes.volume import UnreadableVolumeError

Kind = Literal["leak", "unreadable", "duplicate", "near-duplicate", "inverted", "marks"]

_EDGE = 64
_HASH = 16
_NEAR = 15
"""Bits of 256 by which the hashes of two versions of one film may differ."""

_CORNER = 0.15
"""Edge of a corner, as a share of the image's."""

_MARK_LEVEL, _MARK_STEP = 0.98, 0.35
_LEAST_MARKS = 2e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFinding:
    """One oddity, in words without path or header text; ``path`` is for the terminal only."""

    kind: Kind
    domain: str
    name: str
    path: Path
    message: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageSurvey:
    """What an audit knows of one film after reading it once.

    ``fingerprint`` is a difference hash of 256 bits; ``corners`` and ``center`` are mean values in [0, 1] there.
    """

    record: ImageRecord
    digest: str = ""
    reason: str = ""
    fingerprint: int = 0
    corners: float = 0.0
    center: float = 0.0
    risks: tuple[str, ...] = ()
    views: UInt8[np.ndarray, "row column"] | None = None

    @property
    def name(self) -> str:
        """A short name that tells no path: the first 8 digits of the digest of its bytes."""
        return self.digest[:8] or "missing"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageAudit:
    """All findings, worst kind first, and the survey of every film behind them."""

    findings: tuple[ImageFinding, ...]
    surveys: tuple[ImageSurvey, ...]
    fitness: tuple[Fitness, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return kind to number of findings, only of kinds that were found."""
        return dict(Counter(finding.kind for finding in self.findings))


def audit_images(
    table: ImageTable, *, max_pixels: int = MAX_PIXELS, workers: int = 1, progress: ProgressCallback = silent
) -> ImageAudit:
    """Return what is odd about the films of a table:

    - leak: a person, or the same or nearly the same image, in training and in validation;
    - unreadable: the reason for which preparing would set it aside;
    - duplicate, near-duplicate: the same bytes, or an image whose hash is within 15 of 256 bits, as of another;
    - inverted: corners brighter than the center, as on a film that is shown with bone dark (a heuristic: it errs);
    - marks: burned-in text by the header, colored marks, or small spots of the brightest value with sharp edges, as
      letters and side markers have: a shortcut that tells centers apart, and perhaps a name.
    """
    surveys = tuple(
        work_through(
            partial(survey_image, max_pixels=max_pixels),
            table.records,
            workers=workers,
            chunk=8,
            progress=progress,
        )
    )
    return ImageAudit(findings=tuple(judge_images(surveys)), surveys=surveys)


def survey_image(record: ImageRecord, *, max_pixels: int = MAX_PIXELS) -> ImageSurvey:
    """Return the survey of one film; what cannot be read has a reason instead of values."""
    digest = ""
    try:
        digest = file_digest(record.path) if record.path.is_file() else ""
        image = read_image(record.path, max_pixels=max_pixels)
        small = as_unit(prepare_pixels(image, ImageRecipe(pixels=_EDGE, low=0, high=100))).astype(np.float32)
    except OSError:
        return ImageSurvey(record=record, reason="cannot be read")
    except UnreadableVolumeError as error:
        return ImageSurvey(record=record, digest=digest, reason=str(error))
    corners, center = brightness(small)
    risks = image.risks if image.risks or not has_marks(image.pixels) else ("bright letters or markers",)
    return ImageSurvey(
        record=record,
        digest=digest,
        fingerprint=difference_hash(small),
        corners=corners,
        center=center,
        risks=risks,
        views=_thumbnail(small),
    )


def _thumbnail(values: Float[np.ndarray, "row column"]) -> UInt8[np.ndarray, "edge edge"]:
    """Return a film of [0, 1] in the middle of a square tile."""
    import PIL.Image

    scale = TILE / max(values.shape)
    size = max(1, round(values.shape[1] * scale)), max(1, round(values.shape[0] * scale))
    shown = np.asarray(PIL.Image.fromarray((values * 255).astype(np.uint8)).resize(size))
    tile = np.zeros((TILE, TILE), dtype=np.uint8)
    top, left = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = shown
    return tile


def brightness(values: Float[np.ndarray, "row column"]) -> tuple[float, float]:
    """Return the mean of the four corners and of the middle ninth."""
    rows, columns = values.shape
    r, c = max(1, int(rows * _CORNER)), max(1, int(columns * _CORNER))
    corners = np.concatenate(
        [values[a, b].ravel() for a in (slice(r), slice(-r, None)) for b in (slice(c), slice(-c, None))]
    )
    center = values[rows // 3 : rows - rows // 3, columns // 3 : columns - columns // 3]
    return float(corners.mean()), float(center.mean())


def difference_hash(values: Float[np.ndarray, "row column"]) -> int:
    """Return 256 bits, each whether a tile is brighter than the one to its left: the same under any rising curve of gray."""
    rows = np.array_split(np.arange(values.shape[0]), _HASH)
    columns = np.array_split(np.arange(values.shape[1]), _HASH + 1)
    tiles = np.array([[values[np.ix_(r, c)].mean() for c in columns] for r in rows])
    bits = (np.diff(tiles, axis=1) > 0).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def has_marks(pixels: Float[np.ndarray, "row column"]) -> bool:
    """Return whether pixels of the highest value with sharp edges fill a small part of the film, as letters do."""
    low, high = float(pixels.min()), float(pixels.max())
    values = (pixels - low) / (high - low)
    bright = values >= _MARK_LEVEL
    steps = np.zeros_like(bright)
    steps[:, 1:] |= np.abs(np.diff(values, axis=1)) > _MARK_STEP
    share = float((bright & steps).mean())
    return share > _LEAST_MARKS and float(bright.mean()) < 0.05


def judge_images(surveys: Sequence[ImageSurvey]) -> Iterator[ImageFinding]:
    """Yield what is odd about films compared with the others, worst kind first."""
    good = [s for s in surveys if not s.reason]
    near = _near(good)
    yield from _leaks(good, near)
    yield from (_find("unreadable", s, s.reason) for s in surveys if s.reason)
    first: dict[str, ImageSurvey] = {}
    for s in good:
        if s.digest in first:
            yield _find("duplicate", s, f"the same bytes as {first[s.digest].name}")
        first.setdefault(s.digest, s)
    for a, b in near:
        if a.digest != b.digest:
            yield _find("near-duplicate", b, f"nearly the same image as {a.name}")
    for s in good:
        if s.corners > s.center:
            yield _find("inverted", s, "its corners are brighter than its center: is bone dark on it?")
    for s in good:
        for risk in s.risks:
            yield _find("marks", s, f"{risk}: a shortcut that may tell centers or sides apart, or a name")


def _leaks(
    surveys: Sequence[ImageSurvey], near: Sequence[tuple[ImageSurvey, ImageSurvey]]
) -> Iterator[ImageFinding]:
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for s in surveys:
        if s.record.split:
            sides[s.record.person].add(s.record.split)
    for s in surveys:
        if len(sides[s.record.person]) > 1:
            yield _find("leak", s, "its person is in training and in validation")
    for a, b in near:
        if {a.record.split, b.record.split} == {"train", "validation"}:
            yield _find("leak", b, f"the same image as {a.name} on the other side of the split, or nearly")


def _near(surveys: Sequence[ImageSurvey]) -> list[tuple[ImageSurvey, ImageSurvey]]:
    """Return pairs whose hashes differ in 15 bits at most: such two agree in one of 16 pieces of 16 bits."""
    buckets: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    pairs: set[tuple[int, int]] = set()
    for number, s in enumerate(surveys):
        for piece in range(16):
            bucket = buckets[piece, s.fingerprint >> (16 * piece) & 0xFFFF]
            pairs |= {
                (other, number)
                for other in bucket
                if (surveys[other].fingerprint ^ s.fingerprint).bit_count() <= _NEAR
            }
            bucket.append(number)
    return [(surveys[a], surveys[b]) for a, b in sorted(pairs)]


def _find(kind: Kind, survey: ImageSurvey, message: str) -> ImageFinding:
    return ImageFinding(
        kind=kind, domain=survey.record.domain, name=survey.name, path=survey.record.path, message=message
    )
