"""Preparing: every file of a manifest to one array of the cache, in parallel, resumable at any moment."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from voxmix._io import naming_full_disk, remove_leftovers
from voxmix._parallel import KILLED, alone, work_through
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError, VoxmixWarning
from voxmix.volumes.auditing.audit import Finding, judge_prepared
from voxmix.volumes.auditing.file_survey import Survey
from voxmix.volumes.manifest import SPLITS, Manifest, SetAside, VolumeRecord
from voxmix.volumes.persons.proposals import remarks
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume, subject_digest
from voxmix.volumes.preparing.cache_upkeep import Space, space_needed
from voxmix.volumes.preparing.keeping import Keeper
from voxmix.volumes.preparing.prepare_record import Outcome
from voxmix.volumes.preparing.private_lists import Names, claim_salt, keep_names, write_set_aside
from voxmix.volumes.preparing.storage import check_codec
from voxmix.volumes.preparing.units import Plan, make_folders, plan
from voxmix.volumes.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """What preparing gave: the cache, what was set aside and why, and how much was done.

    ``made`` counts the volumes prepared now; the others were found finished. ``notes`` holds (file, what was
    assumed or mended); like the paths of ``set_aside`` it is for the terminal, not for files. ``findings`` are those
    of the audit that need no look and no second reading: the same voxels twice or on both sides of the split, the
    wrong modality, blank and saturated volumes, values and voxels far from the domain's.
    """

    cache: PreparedCache
    set_aside: tuple[SetAside, ...]
    made: int
    notes: tuple[tuple[Path, str], ...] = ()
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()


def prepare(
    manifest: Manifest,
    *,
    recipe: Recipe,
    root: Path,
    source: Path | None = None,
    names: Names | None = None,
    salt: str | None = None,
    workers: int = 1,
    codec: str = "npy",
    again: bool = True,
    progress: ProgressCallback = silent,
    tell: Callable[[Space], None] | None = None,
) -> Preparation:
    """Return the cache of the manifest's volumes in ``root``, making what is not there yet.

    Files are known by their bytes: a volume that is finished for this recipe is never prepared again,
    wherever it lies, and killing the process at any moment costs at most the volumes in hand. Memory is
    that of one volume per worker. Unreadable files are set aside and the job goes on; so is a file whose
    bytes were met before in the same domain, or on the other side of the split, and one on which a worker
    process dies.

    ``names`` is where the map from pseudonyms to subjects and the list of files that were set aside are kept
    (:mod:`voxmix.volumes.preparing.private_lists`). Without it there is no map, and the secret of the pseudonyms stays in the cache.
    ``source`` is the folder or table the manifest came from: paths in the map are relative to it, and nothing is
    written there. Pass another cache's ``salt`` (:func:`voxmix.volumes.preparing.private_lists.salt_of`) to give a person the same
    pseudonym in both; it is not stored. ``tell`` is called with what the disk needs and has, before anything is made.

    ``codec`` is how arrays are stored: ``npy``, or ``blosc2`` at half the size. The voxels are the same bits; what is
    finished in the other form is packed or unpacked, not made again (the old files stay until pruned).

    With ``names``, what came of every file is remembered (:mod:`voxmix.volumes.preparing.outcomes`): one whose size and time of
    change are the same is not read again. What could not be used is tried again, unless ``again`` is False: then what other
    machines have prepared (:mod:`voxmix.volumes.preparing.units`) is put together as it is, and only the rest is made here.

    Raises:
        InputError: the manifest is not split; a domain keeps no volume on one side; an unknown codec.
        VoxmixError: the disk is full or cannot be written.
    """
    if any(not record.split for record in manifest.records):
        raise InputError("the manifest is not split; use manifest.split(seed=...) before preparing")
    if names is not None:
        names.check_apart(root)
    recipe = recipe.resolved(manifest.domains)
    with naming_full_disk(root):
        make_folders(root)
        remove_leftovers((root, root / "volumes", root / "labels"))
        found = plan(
            manifest,
            recipe=recipe,
            root=root,
            codec=check_codec(codec),
            source=source,
            names=names,
            again=again,
        )
        space = space_needed(manifest, recipe=recipe, root=root, rows=found.rows)
        if tell is not None:
            tell(space)
        _warn_of_space(space, root)
        secret = salt or claim_salt(root, names, source)
        outcomes = _outcomes(found, names=names, workers=workers, again=again, progress=progress)
        volumes, set_aside, shown = _collect(manifest, outcomes, salt=secret, recipe=recipe)
        if names is not None:
            write_set_aside(set_aside, names, source)
        _check_sides(manifest, volumes, set_aside)
        cache = PreparedCache(
            root=root,
            volumes=volumes,
            recipe=recipe,
            set_aside=tuple({"domain": s.domain, "digest": s.digest, "reason": s.reason} for s in set_aside),
        )
        if salt is None:
            keep_names(root, names, source, salt=secret, shown=shown)
        cache.write_index()
    done = [outcome for outcome in outcomes if outcome.key]
    return Preparation(
        cache=cache,
        set_aside=set_aside,
        made=sum(outcome.made for outcome in done),
        notes=tuple(
            (r.path, note) for r, o in zip(manifest.records, outcomes, strict=True) for note in o.notes
        ),
        remarks=remarks(manifest),
        findings=judge_prepared(
            _surveys(manifest.records, outcomes, {record for _, record in shown}, recipe)
        ),
    )


def _outcomes(
    found: Plan, *, names: Names | None, workers: int, again: bool, progress: ProgressCallback
) -> list[Outcome]:
    """Return what came of every record: what is known already, and what is made now and written down as it comes."""
    records, left = found.manifest.records, found.left
    keeper = Keeper(found, names)
    before, total = len(records) - len(left), len(records)
    try:
        made = work_through(
            found.make,
            [records[place] for place in left],
            workers=workers,
            progress=lambda done, _: progress(before + done, total),
            after_a_death=partial(
                alone, found.make, killed=Outcome(reason=KILLED)
            ),  # The file that killed it is then known.
            keep=lambda place, outcome: keeper.take(left[place], outcome),
        )
    finally:
        keeper.write()
    if again:
        keeper.tidy()
    now = iter(made)
    return [next(now) if row is None else row.outcome for row in found.rows]


def _surveys(
    records: tuple[VolumeRecord, ...], outcomes: list[Outcome], kept: set[VolumeRecord], recipe: Recipe
) -> tuple[Survey, ...]:
    """Return what was seen of the volumes that are kept; equal arrays stand for equal voxels."""
    return tuple(
        _survey(record, outcome, recipe)
        for record, outcome in zip(records, outcomes, strict=True)
        if record in kept
    )


def _survey(record: VolumeRecord, outcome: Outcome, recipe: Recipe) -> Survey:
    seen = Survey(
        record=record,
        digest=outcome.digest,
        voxels=outcome.checksum,
        fill=outcome.fill,
        rule=recipe.rule(record.domain),
    )
    if outcome.fill is None or outcome.fill.percentiles is None or outcome.fill.voxel_mm is None:
        return seen
    low, middle, high = outcome.fill.percentiles
    return replace(seen, spacing_mm=outcome.fill.voxel_mm, low=low, middle=middle, high=high)


def _warn_of_space(space: Space, root: Path) -> None:
    if space.needed > space.free:
        warnings.warn(
            f"preparing may take up to {space.needed / 1e9:.1f} GB and {space.free / 1e9:.1f} GB are free on the "
            f"disk of {root}; if it fills up, free some space and give the same command again",
            VoxmixWarning,
            stacklevel=3,
        )


def _collect(
    manifest: Manifest, outcomes: list[Outcome], *, salt: str, recipe: Recipe
) -> tuple[tuple[PreparedVolume, ...], tuple[SetAside, ...], tuple[tuple[PreparedVolume, VolumeRecord], ...]]:
    """Return the volumes, what was set aside, and each volume with the record it shows."""
    volumes: dict[tuple[str, str], PreparedVolume] = {}
    shown: list[tuple[PreparedVolume, VolumeRecord]] = []
    set_aside = list(manifest.set_aside)
    side_of: dict[str, str] = {}
    pairs = list(zip(manifest.records, outcomes, strict=True))
    # Validation first: of two identical files on both sides, training gives way. Then by subject and
    # content, so that which copy stays does not depend on where the files lie.
    pairs.sort(
        key=lambda pair: (pair[0].split != "validation", pair[0].domain, pair[0].subject, pair[1].digest)
    )
    for record, outcome in pairs:
        reason = outcome.reason
        if not reason and (record.domain, outcome.key) in volumes:
            reason = "same content as another file of the domain"
        elif not reason and side_of.get(outcome.digest, record.split) != record.split:
            reason = "same content as a file on the other side of the split"
        if reason:
            set_aside.append(
                SetAside(path=record.path, domain=record.domain, reason=reason, digest=outcome.digest)
            )
            continue
        if outcome.label_reason and record.label is not None:
            set_aside.append(SetAside(path=record.label, domain=record.domain, reason=outcome.label_reason))
        side_of[outcome.digest] = record.split
        volumes[record.domain, outcome.key] = PreparedVolume(
            key=outcome.key,
            domain=record.domain,
            subject=subject_digest(salt, record.subject),
            split=record.split,
            shape=outcome.shape,
            spacing_mm=recipe.spacing_mm,
            file=outcome.file,
            label=outcome.label,
            category=record.category,
            fill=outcome.fill,
            box=outcome.box,
        )
        shown.append((volumes[record.domain, outcome.key], record))
    ordered = sorted(volumes.values(), key=lambda volume: (volume.domain, volume.key))
    return tuple(ordered), tuple(set_aside), tuple(shown)


def _check_sides(
    manifest: Manifest, volumes: tuple[PreparedVolume, ...], set_aside: tuple[SetAside, ...]
) -> None:
    there = {(volume.domain, volume.split) for volume in volumes}
    for domain in manifest.domains:
        for side in SPLITS:
            if (domain, side) not in there:
                lost = [s for s in set_aside if s.domain == domain]
                why = (
                    f"{len(lost)} files set aside, first because: {lost[0].reason}" if lost else "it had none"
                )
                raise InputError(
                    f"domain {domain} has no readable {side} volume: {why}; fix or add files, "
                    f"or leave the domain out (in study.yaml, under data: exclude: [{domain}])"
                )
