"""Audit: what is odd about a set of volumes, before hours are spent on it.

Every file is read once; what is found is judged against the other files of its domain.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from voxmix._parallel import worker_pool
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError
from voxmix.volumes.content import content_digest
from voxmix.volumes.geometry import resample
from voxmix.volumes.intensity import SOFT_TISSUE_WINDOW, rule_from_name
from voxmix.volumes.manifest import Manifest, VolumeRecord
from voxmix.volumes.read import read_labels, read_volume
from voxmix.volumes.volume import UnreadableVolumeError

Kind = Literal["unreadable", "leak", "duplicate", "spacing", "intensity", "modality", "label"]
_TILE = 96
_FAR = 6.0
_SPACING_RATIO = 2.5
_AIR_HU = -500
_LEAST_HU_RANGE = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One oddity: of which kind, in which domain and file, and in words (without path or header text)."""

    kind: Kind
    domain: str
    path: Path
    message: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Survey:
    """What an audit knows of one file: content, voxel size in mm, three values of its own unit, three views."""

    record: VolumeRecord
    digest: str = ""
    reason: str = ""
    label_reason: str = ""
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    low: float = 0.0
    middle: float = 0.0
    high: float = 0.0
    views: UInt8[np.ndarray, "row column"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Audit:
    """All findings, worst kind first, and the survey of every file behind them."""

    findings: tuple[Finding, ...]
    surveys: tuple[Survey, ...]

    def counts(self) -> dict[str, int]:
        """Return kind to number of findings, only of kinds that were found."""
        kinds = [finding.kind for finding in self.findings]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}

    def write_contact_sheets(self, folder: Path) -> tuple[Path, ...]:
        """Write ``<folder>/<DOMAIN>.png``: axial, coronal and sagittal views of every file, by path.

        The pictures show patients: they belong beside the data, not into a report.
        """
        from matplotlib.image import imsave

        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for domain in sorted({survey.record.domain for survey in self.surveys}):
            tiles = [s.views for s in self.surveys if s.record.domain == domain and s.views is not None]
            if tiles:
                imsave(folder / f"{domain}.png", _mosaic(tiles), cmap="gray", vmin=0, vmax=255)
                written.append(folder / f"{domain}.png")
        return tuple(written)


def _mosaic(tiles: Sequence[UInt8[np.ndarray, "row column"]]) -> UInt8[np.ndarray, "rows columns"]:
    across = max(1, round(float(np.sqrt(len(tiles) / 3))))
    empty = np.zeros_like(tiles[0])
    rows = [tiles[i : i + across] for i in range(0, len(tiles), across)]
    return np.vstack([np.hstack([*row, *[empty] * (across - len(row))]) for row in rows])


def audit(manifest: Manifest, *, workers: int = 1, progress: ProgressCallback = silent) -> Audit:
    """Return what is odd: see :class:`Finding` for the kinds.

    - unreadable: the reason for which preparing would set it aside;
    - leak: a subject, or the same bytes, in training and in validation (only of a split manifest);
    - duplicate: the same bytes under another name in its domain;
    - spacing: a voxel edge more than 2.5 times larger or smaller than the domain's median;
    - intensity: 1st, 50th or 99th percentile far from the domain's (6 robust standard deviations);
    - modality: a CT without air or without a range of HU, an MR or PET with values as low as air in CT;
    - label: a label map that cannot be used.
    """
    total = len(manifest.records)
    surveys: list[Survey | None] = [None] * total
    progress(0, total)
    if workers <= 1:
        for index, record in enumerate(manifest.records):
            surveys[index] = survey_file(record)
            progress(index + 1, total)
    else:
        with worker_pool(min(workers, total)) as pool:
            futures = {pool.submit(survey_file, record): i for i, record in enumerate(manifest.records)}
            for done, future in enumerate(as_completed(futures), start=1):
                surveys[futures[future]] = future.result()
                progress(done, total)
    whole = tuple(survey for survey in surveys if survey is not None)
    return Audit(findings=judge(whole), surveys=whole)


def survey_file(record: VolumeRecord) -> Survey:
    """Return the survey of one file; what cannot be read has a reason instead of values."""
    digest = ""
    try:
        digest = content_digest(record.path)
        volume = read_volume(record.path, volume=record.volume)
        label_reason = ""
        if record.label is not None:
            try:
                if read_labels(record.label).data.shape != volume.data.shape:
                    label_reason = "it has another shape than its image"
            except UnreadableVolumeError as error:
                label_reason = str(error)
    except UnreadableVolumeError as error:
        return Survey(record=record, digest=digest, reason=str(error))
    inside = volume.data[volume.data != 0]
    low, middle, high = (float(v) for v in np.percentile(inside, (1, 50, 99)))
    affine = volume.affine if record.affine is None else np.array(record.affine).reshape(4, 4)
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return Survey(
        record=record,
        digest=digest,
        label_reason=label_reason,
        spacing_mm=(x, y, z),
        low=low,
        middle=middle,
        high=high,
        views=_views(volume.data, (x, y, z), low, high),
    )


def _views(
    data: Float[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float], low: float, high: float
) -> UInt8[np.ndarray, "row column"]:
    """Return the middle slices across the three stored axes, side by side, each in a square tile."""
    longest = max(n * s for n, s in zip(data.shape, spacing_mm, strict=True))
    tiles = []
    for axis in (2, 1, 0):
        shape = [max(1, round(_TILE * n * s / longest)) for n, s in zip(data.shape, spacing_mm, strict=True)]
        middle = data.shape[axis] // 2
        slab = np.take(data, [middle], axis=axis)
        shape[axis] = 1
        step = tuple(n / m for n, m in zip(slab.shape, shape, strict=True))
        flat = np.squeeze(
            resample(slab, (shape[0], shape[1], shape[2]), step=(step[0], step[1], step[2])), axis
        )
        gray = np.clip((flat - low) / max(high - low, 1e-6), 0, 1) * 255
        tile = np.zeros((_TILE, _TILE), dtype=np.uint8)
        shown = gray.T[::-1]
        tile[: shown.shape[0], : shown.shape[1]] = shown
        tiles.append(tile)
    return np.hstack(tiles)


def judge(surveys: Sequence[Survey]) -> tuple[Finding, ...]:
    """Return the findings of a set of surveys, worst kind first."""
    return (
        *_leaks(surveys),
        *_unreadable(surveys),
        *_duplicates(surveys),
        *_outliers(surveys),
        *_labels(surveys),
    )


def _find(kind: Kind, survey: Survey, message: str) -> Finding:
    return Finding(kind=kind, domain=survey.record.domain, path=survey.record.path, message=message)


def _leaks(surveys: Sequence[Survey]) -> Iterator[Finding]:
    by_subject: dict[str, set[str]] = defaultdict(set)
    by_content: dict[tuple[str, int | None], set[str]] = defaultdict(set)
    for s in surveys:
        if s.record.split:
            by_subject[s.record.subject].add(s.record.split)
            by_content[s.digest, s.record.volume].add(s.record.split)
    for s in surveys:
        if len(by_subject[s.record.subject]) > 1:
            yield _find("leak", s, "its subject stands in training and in validation")
        elif s.digest and len(by_content[s.digest, s.record.volume]) > 1:
            yield _find("leak", s, "the same bytes stand in training and in validation")


def _unreadable(surveys: Sequence[Survey]) -> Iterator[Finding]:
    for s in surveys:
        if s.reason:
            yield _find("unreadable", s, s.reason)


def _labels(surveys: Sequence[Survey]) -> Iterator[Finding]:
    for s in surveys:
        if s.label_reason:
            yield _find("label", s, f"label map: {s.label_reason}")


def _duplicates(surveys: Sequence[Survey]) -> Iterator[Finding]:
    seen: set[tuple[str, str, int | None]] = set()
    for s in surveys:
        key = (s.record.domain, s.digest, s.record.volume)
        if s.digest and key in seen:
            yield _find("duplicate", s, "the same bytes stand in this domain under another name")
        seen.add(key)


def _outliers(surveys: Sequence[Survey]) -> Iterator[Finding]:
    for domain in sorted({s.record.domain for s in surveys}):
        group = [s for s in surveys if s.record.domain == domain and not s.reason]
        if not group:
            continue
        yield from _modality(domain, group)
        usual = float(np.median([np.max(s.spacing_mm) for s in group]))
        for s in group:
            largest = max(s.spacing_mm)
            if not usual / _SPACING_RATIO <= largest <= usual * _SPACING_RATIO:
                yield _find(
                    "spacing", s, f"voxels up to {largest:.3g} mm, the domain's median is {usual:.3g} mm"
                )
        yield from _odd_values(group)


def _odd_values(group: Sequence[Survey]) -> Iterator[Finding]:
    values = np.array([(s.low, s.middle, s.high) for s in group])
    center = np.median(values, axis=0)
    deviation = 1.4826 * np.median(np.abs(values - center), axis=0)
    # A domain whose files agree to the last digit has no spread to compare with: a tenth of its range stands in.
    deviation = np.maximum(deviation, 0.1 * max(center[2] - center[0], 1e-6))
    for s, far in zip(group, np.abs(values - center) / deviation, strict=True):
        if far.max() > _FAR:
            shown, usual = (
                f"{v[0]:.4g} / {v[1]:.4g} / {v[2]:.4g}" for v in ((s.low, s.middle, s.high), center)
            )
            yield _find(
                "intensity", s, f"1st / 50th / 99th percentile {shown}, the domain's medians are {usual}"
            )


def _modality(domain: str, group: Sequence[Survey]) -> Iterator[Finding]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A name without a modality is said when the recipe is made.
        is_ct = rule_from_name(domain) == SOFT_TISSUE_WINDOW
    for s in group:
        if is_ct and s.low > _AIR_HU and s.high - s.low > _LEAST_HU_RANGE and s.low >= 0:
            yield _find(
                "modality", s, f"a CT whose lowest values are {s.low:.0f}: is the offset of 1024 HU missing?"
            )
        elif is_ct and s.high - s.low <= 256:
            yield _find(
                "modality", s, f"a CT whose values span {s.high - s.low:.0f}: not HU, or already windowed"
            )
        elif not is_ct and s.low < _AIR_HU:
            yield _find("modality", s, f"values as low as {s.low:.0f}: is this a CT?")


def check_split(manifest: Manifest, other: Manifest) -> None:
    """Refuse two manifests that put one subject on different sides: pretraining against downstream.

    Raises:
        InputError: names how many subjects are in training here and in validation there, or the reverse.
    """
    here = {record.subject: record.split for record in manifest.records}
    there = {record.subject: record.split for record in other.records}
    torn = sorted(s for s in here.keys() & there.keys() if here[s] and there[s] and here[s] != there[s])
    if torn:
        raise InputError(
            f"{len(torn)} subjects are in training in one manifest and in validation in the other, "
            f"first {torn[0]!r}; split both with the same seed and fraction"
        )
