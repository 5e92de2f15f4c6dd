"""The verbs of what prepare made: verify and prune of volumes and images; list and restore of volumes."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxmix._io import size_text
from voxmix._progress import progress_bar
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, or_here
from voxmix.cli.kinds import prepared_folder
from voxmix.errors import InputError
from voxmix.study.files import CACHE_FOLDER, is_study, study_file

if TYPE_CHECKING:
    from voxmix.volumes import PreparedCache

CacheArgument = Annotated[Path, or_here("CACHE", "A cache's folder, or the study that has one.")]


def prepared_volumes(study: Path) -> Path:
    """Return where the volumes of a study of mixtures lie prepared; its settings are not read."""
    return study_file(study).parent / CACHE_FOLDER


def _folder(root: Path) -> Path:
    return prepared_folder(root) if is_study(root) else root


def _open(root: Path) -> "PreparedCache":
    from voxmix.images.upkeep import upkeep_of
    from voxmix.volumes import PreparedCache

    folder = _folder(root)
    what = upkeep_of(folder).what
    if what != "volumes":
        raise InputError(
            f"{root} holds prepared {what}, and this verb is for volumes; {what} have: voxmix cache verify, cache prune"
        )
    return PreparedCache.open(folder)


@verb
def cache_list(cache: CacheArgument, as_json: JsonOption = False) -> None:
    """List what a cache holds per domain: volumes, sides, labels, bytes, intensity rule; and what was set aside.

    Example:

      voxmix cache list mystudy
    """
    from voxmix.volumes.preparing.cache_upkeep import usage
    from voxmix.volumes.preparing.storage import codec_of

    opened = _open(cache)
    train, held_out = opened.counts("train"), opened.counts("validation")
    labels = opened.columns.labels()
    taken = {item.domain: item.bytes for item in usage(opened)}
    rules = {name: opened.recipe.rule(name) for name in opened.domains}
    codecs = sorted({codec_of(Path(file)) for file in opened.columns.texts("file")})
    aside = Counter((item["domain"], item["reason"]) for item in opened.set_aside)
    if as_json:
        emit_json(
            {
                "digest": opened.digest,
                "codecs": codecs,
                "recipe": opened.recipe.as_dict(),
                "domains": {
                    name: {
                        "training": train[name],
                        "validation": held_out[name],
                        "with_labels": labels[name],
                        "bytes": taken[name],
                    }
                    for name in opened.domains
                },
                "set_aside": [
                    {"domain": domain, "reason": reason, "files": count}
                    for (domain, reason), count in aside.items()
                ],
            }
        )
        return
    rows = [
        [
            name,
            str(train[name]),
            str(held_out[name]),
            str(labels[name]),
            size_text(taken[name]),
            f"{rules[name].kind} {rules[name].low:g} to {rules[name].high:g}",
        ]
        for name in opened.domains
    ]
    headers = ["domain", "training", "validation", "with labels", "on disk", "intensity rule"]
    emit_table(f"Prepared volumes at {opened.recipe.spacing_mm:g} mm", headers, rows)
    if aside:
        emit("")
        rows = [[domain, str(count), reason] for (domain, reason), count in aside.items()]
        emit_table("Set aside", ["domain", "files", "reason"], rows)
    emit(f"\nstored as {', '.join(codecs)}; digest {opened.digest}")


@verb
def cache_verify(
    cache: CacheArgument,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove damaged files, so that preparing makes them again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare every array with the checksum it was written with. Exit code 1 when any is damaged.

    Example:

      voxmix cache verify mystudy --remove
    """
    from voxmix.images.upkeep import upkeep_of
    from voxmix.volumes.preparing.cache_upkeep import remove_files

    folder = _folder(cache)
    upkeep = upkeep_of(folder)
    opened, what = upkeep.open(folder), upkeep.what
    with progress_bar("verifying", unit=what) as progress:
        wrong = upkeep.verify(opened, progress=progress)
    if remove:
        remove_files(folder, [file for file, _ in wrong])
    if as_json:
        emit_json(
            {
                what: upkeep.count(opened),
                "damaged": [{"file": file, "reason": reason} for file, reason in wrong],
                "removed": remove,
            }
        )
    elif wrong:
        emit_table("Damaged", ["file", "what"], [list(item) for item in wrong])
        emit("\nremoved: prepare again" if remove else "\ngive --remove, then prepare again")
    else:
        emit(f"{upkeep.count(opened)} {what}, none damaged")
    if wrong and not remove:
        raise typer.Exit(1)


@verb
def cache_prune(
    cache: CacheArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove files that the cache no longer names: of other recipes, of files that left the manifest, of former texts.

    Example:

      voxmix cache prune mystudy --dry-run
    """
    from voxmix.images.upkeep import upkeep_of

    folder = _folder(cache)
    upkeep = upkeep_of(folder)
    done = upkeep.prune(upkeep.open(folder), dry_run=dry_run)
    if as_json:
        emit_json({"files": len(done.files), "bytes": done.bytes, "removed": not dry_run})
        return
    emit(f"{len(done.files)} files, {size_text(done.bytes)}: " + ("would go" if dry_run else "removed"))


@verb
def cache_restore(
    cache: Annotated[
        Path, typer.Argument(metavar="CACHE", help="A cache's folder, or the study that has one.")
    ],
    prediction: Annotated[
        Path, typer.Argument(metavar="PREDICTION", help="An .npy array on the grid of a prepared volume.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The NIfTI to write: .nii or .nii.gz.")],
    image: Annotated[
        Path | None, typer.Option(help="The file the volume was prepared from; with --domain.")
    ] = None,
    domain: Annotated[str | None, typer.Option(help="The domain it was prepared in.")] = None,
    key: Annotated[str | None, typer.Option(help="The volume's key in the cache, instead of a file.")] = None,
    volume: Annotated[int | None, typer.Option(help="Which one of a 4D file, from 0.")] = None,
    series: Annotated[str, typer.Option(help="Which DICOM series of a folder, as a manifest names it.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Write a model's prediction on prepared voxels as NIfTI in the original file's geometry.

    Whole numbers are resampled by nearest neighbor, other values by linear interpolation.

    Examples:

      voxmix cache restore mystudy predicted.npy --image scan.nii.gz --domain ABD-CT -o predicted.nii.gz

      voxmix cache restore mystudy predicted.npy --key 0123456789abcdef -o predicted.nii.gz
    """
    from voxmix.volumes.manifest import VolumeRecord
    from voxmix.volumes.preparing.inverse import find_key, find_prepared, read_prediction, write_prediction

    opened = _open(cache)
    if key is not None and image is None:
        found = find_key(opened, key)
    elif image is not None and key is None and domain is not None:
        record = VolumeRecord(path=image, domain=domain, subject="-", volume=volume, series=series)
        found = find_prepared(opened, record)
    else:
        raise InputError(
            "name the volume by --image FILE and --domain NAME, or by --key KEY; this cache has the domains "
            f"{list(opened.domains)}"
        )
    write_prediction(read_prediction(prediction), opened.geometry(found), out)
    if as_json:
        emit_json({"written": str(out), "key": found.key, "domain": found.domain})
    else:
        note(f"volume {found.key} of {found.domain}")
        emit(str(out))
