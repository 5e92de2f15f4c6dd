"""Audit: what is odd about a set of volumes, before hours are spent on it.

Every file is read once; what is found is judged against the other files of its domain.
"""

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from voxmix._progress import ProgressCallback, silent
from voxmix.volumes.auditing.file_survey import Survey, survey_all
from voxmix.volumes.auditing.fill import in_hu
from voxmix.volumes.auditing.fitness import Fitness, complaints_of, judge_fills
from voxmix.volumes.intensity import SOFT_TISSUE_WINDOW, rule_from_name
from voxmix.volumes.manifest import Manifest
from voxmix.volumes.masks import NO_SCAN
from voxmix.volumes.persons.proposals import propose
from voxmix.volumes.recipe import Recipe

Kind = Literal[
    "leak",
    "person",
    "unreadable",
    "mask",
    "modality",
    "offset",
    "saturated",
    "blank",
    "duplicate",
    "intensity",
    "spacing",
    "label",
]
_FAR = 6.0
_SPACING_RATIO = 2.5
_AIR_HU = -500
_LEAST_HU_RANGE = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One oddity: of which kind, in which domain and file, and in words (without path or header text).

    ``name`` stands for the file where no path may: :attr:`voxmix.volumes.auditing.file_survey.Survey.name`.
    """

    kind: Kind
    domain: str
    name: str
    path: Path
    message: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Audit:
    """All findings, worst kind first, and the survey of every file behind them.

    ``fitness`` says of every domain what the recipe would make of it; empty without a recipe.
    """

    findings: tuple[Finding, ...]
    surveys: tuple[Survey, ...]
    fitness: tuple[Fitness, ...] = ()

    def __repr__(self) -> str:
        """Say how much was found: surveys hold pictures."""
        counted = ", ".join(f"{count} {kind}" for kind, count in self.counts().items())
        return f"Audit({len(self.surveys)} volumes: {counted or 'nothing odd'})"

    def counts(self) -> dict[str, int]:
        """Return kind to number of findings, only of kinds that were found."""
        return dict(Counter(finding.kind for finding in self.findings))

    def volumes(self, domain: str) -> int:
        """Return how many volumes of a domain were looked at."""
        return sum(survey.record.domain == domain for survey in self.surveys)


def audit(
    manifest: Manifest,
    others: Sequence[Manifest] = (),
    *,
    recipe: Recipe | None = None,
    crop: int | None = None,
    pictures: bool = True,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> Audit:
    """Return what is odd about a manifest, also compared with ``others``: see :class:`Finding` for the kinds.

    - leak: a subject, or the same content, in training and in validation; or in training on one side and held
      out in another manifest, or in one that has no split (only of a manifest that is split);
    - person: its subject looks like one of several sessions of a person (:mod:`voxmix.volumes.persons.session_names`);
    - unreadable: the reason for which preparing would set it aside;
    - mask: a label map among the scans, by its voxels (its values are not compared with those of scans);
    - modality: a CT without air or without a range of HU, an MR or PET with values as low as air in CT;
    - offset, saturated, blank (with a ``recipe``): HU + 1024 where its rule is for HU; over a fifth of the voxels
      above its rule's range; nearly all voxels one value. Padding is said by domain: :attr:`Audit.fitness`;
    - duplicate: the same content under another name in its domain;
    - intensity: 1st, 50th or 99th percentile far from the domain's (6 robust standard deviations);
    - spacing: a voxel edge more than 2.5 times larger or smaller than the domain's median;
    - label: a label map that cannot be used, or lies on another grid than its image.

    Content is the same when the bytes are, or when the voxels are after reading: a copy that was converted to
    another format or compressed again is found too. ``pictures`` keeps views for contact sheets; ``crop`` is the
    edge of the model's crop in voxels, for what would fix the padding.
    """
    recipe = None if recipe is None else recipe.resolved(manifest.domains)
    own = len(manifest.records)
    records = (*manifest.records, *(record for other in others for record in other.records))
    own_recipe = [recipe] * own + [None] * (len(records) - own)
    surveys = survey_all(records, recipes=own_recipe, pictures=pictures, workers=workers, progress=progress)
    groups, start = [], own
    for other in others:
        groups.append(surveys[start : start + len(other.records)])
        start += len(other.records)
    findings = (
        *_leaks(surveys[:own]),
        *(finding for group in groups for finding in _leaks_between(surveys[:own], group)),
        *_persons(surveys[:own]),
        *judge(surveys[:own]),
    )
    fills = [(s.record.domain, s.fill) for s in surveys[:own] if not (s.reason or s.label_map)]
    fitness = () if recipe is None else judge_fills(fills, recipe=recipe, crop=crop)
    return Audit(findings=findings, surveys=surveys[:own], fitness=fitness)


def judge_prepared(surveys: Sequence[Survey]) -> tuple[Finding, ...]:
    """Return what is odd about volumes that were prepared: leaks by content, then as :func:`judge`."""
    return (*_leaks(surveys), *_persons(surveys), *judge(surveys))


def judge(surveys: Sequence[Survey]) -> tuple[Finding, ...]:
    """Return what is odd about files compared with the others of their domain, worst kind first; leaks are apart."""
    return (
        *_unreadable(surveys),
        *(_find("mask", s, NO_SCAN) for s in surveys if s.label_map),
        *_by_domain(surveys, _modality),
        *_poor(surveys),
        *_duplicates(surveys),
        *_by_domain(surveys, _odd_values),
        *_by_domain(surveys, _odd_spacing),
        *_labels(surveys),
    )


def _find(kind: Kind, survey: Survey, message: str) -> Finding:
    return Finding(
        kind=kind,
        domain=survey.record.domain,
        name=survey.name,
        path=survey.record.path,
        message=message,
    )


def _contents(survey: Survey) -> tuple[str, ...]:
    """Return what tells equal content: the digests of bytes and of voxels that are known."""
    return tuple(digest for digest in (survey.digest, survey.voxels) if digest)


def _sides(surveys: Sequence[Survey]) -> tuple[defaultdict[str, set[str]], defaultdict[str, set[str]]]:
    """Return the sides on which each subject, and each content, is."""
    by_subject: defaultdict[str, set[str]] = defaultdict(set)
    by_content: defaultdict[str, set[str]] = defaultdict(set)
    for s in surveys:
        by_subject[s.record.subject].add(s.record.split)
        for content in _contents(s):
            by_content[content].add(s.record.split)
    return by_subject, by_content


def _leaks(surveys: Sequence[Survey]) -> Iterator[Finding]:
    by_subject, by_content = _sides([s for s in surveys if s.record.split])
    for s in surveys:
        if len(by_subject[s.record.subject]) > 1:
            yield _find("leak", s, "its subject is in training and in validation")
        elif any(len(by_content[content]) > 1 for content in _contents(s)):
            yield _find("leak", s, "the same content is in training and in validation")


def _leaks_between(surveys: Sequence[Survey], others: Sequence[Survey]) -> Iterator[Finding]:
    by_subject, by_content = _sides(others)
    for s in surveys:
        here = s.record.split
        there = _conflict(here, by_subject[s.record.subject])
        if there is not None:
            yield _find("leak", s, f"its subject is {_side(here)} here and {_side(there)} in the other set")
            continue
        there = _conflict(here, {side for content in _contents(s) for side in by_content[content]})
        if there is not None:
            yield _find(
                "leak", s, f"the same content is {_side(here)} here and {_side(there)} in the other set"
            )


def _conflict(here: str, there: set[str]) -> str | None:
    """Return a side of the other set that must not meet this one: all but the same, and that one known."""
    return next((side for side in sorted(there) if not (side == here and side)), None)


def _side(split: str) -> str:
    return {"train": "in training", "": "without a split"}.get(split, f"in {split}")


def _persons(surveys: Sequence[Survey]) -> Iterator[Finding]:
    by_domain: dict[str, set[str]] = defaultdict(set)
    for s in surveys:
        by_domain[s.record.domain].add(s.record.subject)
    found = propose(by_domain.values())
    if found is None:
        return
    sides: dict[str, set[str]] = defaultdict(set)
    for s in surveys:
        if s.record.subject in found.persons:
            sides[found.persons[s.record.subject]].add(s.record.split)
    counts = Counter(found.persons.values())
    for s in surveys:
        person = found.persons.get(s.record.subject)
        if person is not None:
            torn = ", who is in training and in validation" if len(sides[person]) > 1 else ""
            yield _find(
                "person", s, f"by its name one of {counts[person]} sessions or images of one person{torn}"
            )


def _unreadable(surveys: Sequence[Survey]) -> Iterator[Finding]:
    for s in surveys:
        if s.reason:
            yield _find("unreadable", s, s.reason)


def _poor(surveys: Sequence[Survey]) -> Iterator[Finding]:
    """Yield what of each file would be wrong after the recipe, kind by kind."""
    found = [
        _find(kind, s, message)
        for s in surveys
        if s.fill is not None
        for kind, message in complaints_of(s.fill, domain=s.record.domain)
    ]
    yield from sorted(found, key=lambda finding: get_args(Kind).index(finding.kind))


def _labels(surveys: Sequence[Survey]) -> Iterator[Finding]:
    for s in surveys:
        if s.label_reason:
            yield _find("label", s, s.label_reason)


def _duplicates(surveys: Sequence[Survey]) -> Iterator[Finding]:
    seen: dict[tuple[str, str], str] = {}
    for s in surveys:
        first = next((seen[s.record.domain, c] for c in _contents(s) if (s.record.domain, c) in seen), None)
        if first is not None:
            yield _find("duplicate", s, f"the same content as {first} in this domain")
        for content in _contents(s):
            seen.setdefault((s.record.domain, content), s.name)


def _by_domain(
    surveys: Sequence[Survey], judge_group: Callable[[str, Sequence[Survey]], Iterator[Finding]]
) -> Iterator[Finding]:
    """Yield what is odd among the readable scans of each domain."""
    groups: dict[str, list[Survey]] = defaultdict(list)
    for s in surveys:
        if not (s.reason or s.label_map) and any(s.spacing_mm):
            groups[s.record.domain].append(s)
    for domain in sorted(groups):
        yield from judge_group(domain, groups[domain])


def _odd_spacing(domain: str, group: Sequence[Survey]) -> Iterator[Finding]:
    usual = float(np.median([np.max(s.spacing_mm) for s in group]))
    for s in group:
        largest = max(s.spacing_mm)
        if not usual / _SPACING_RATIO <= largest <= usual * _SPACING_RATIO:
            yield _find("spacing", s, f"voxels up to {largest:.3g} mm, the domain's median is {usual:.3g} mm")


def _odd_values(domain: str, group: Sequence[Survey]) -> Iterator[Finding]:
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A name without a modality is said when the recipe is made.
        is_ct = rule_from_name(domain) == SOFT_TISSUE_WINDOW
    for s in group:
        if s.fill is not None and s.fill.offset:
            continue  # Said with the window that fits it.
        # A rule that is given for another unit than HU is an answer to what would be asked here.
        expects_hu = is_ct if s.rule is None else in_hu(s.rule)
        if is_ct and not expects_hu:
            continue
        if is_ct and s.low >= 0 and s.high - s.low > _LEAST_HU_RANGE:
            yield _find(
                "modality", s, f"a CT whose lowest values are {s.low:.0f}: is the offset of 1024 HU missing?"
            )
        elif is_ct and s.high - s.low <= 256:
            yield _find(
                "modality",
                s,
                f"a CT whose values span {s.high - s.low:.0f}: not HU, or already windowed; give its domain a rule "
                "that fits, for example {kind: percentile, low: 0.5, high: 99.5}",
            )
        elif not expects_hu and s.low < _AIR_HU:
            yield _find("modality", s, f"values as low as {s.low:.0f}: is this a CT?")
