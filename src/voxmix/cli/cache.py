"""The verbs of a cache of prepared volumes: list, verify, prune, restore."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxmix._io import size_text
from voxmix._progress import progress_bar
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption
from voxmix.errors import InputError
from voxmix.study.files import CACHE_FOLDER, is_study, study_file

if TYPE_CHECKING:
    from voxmix.volumes import PreparedCache

CacheArgument = Annotated[
    Path, typer.Argument(metavar="CACHE", help="A cache's folder, or the study that has one.")
]


def _folder(root: Path) -> Path:
    return study_file(root).parent / CACHE_FOLDER if is_study(root) else root


def _open(root: Path) -> "PreparedCache":
    from voxmix.images.sources import of_images
    from voxmix.volumes import PreparedCache

    folder = _folder(root)
    if of_images(folder):
        raise InputError(
            f"{root} holds prepared images, and this verb is for volumes; images have: voxmix cache verify"
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
    labels = Counter(volume.domain for volume in opened.volumes if volume.label)
    taken = {item.domain: item.bytes for item in usage(opened)}
    rules = {name: opened.recipe.rule(name) for name in opened.domains}
    codecs = sorted({codec_of(Path(volume.file)) for volume in opened.volumes})
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
    from voxmix.images.cache import ImageCache
    from voxmix.images.sources import of_images, open_source
    from voxmix.images.verify import verify_images
    from voxmix.volumes.preparing.cache_upkeep import remove_files, verify

    folder = _folder(cache)
    images = open_source(folder) if of_images(folder) else None
    what = "volumes" if images is None else "images"
    with progress_bar("verifying", unit=what) as progress:
        if isinstance(images, ImageCache):
            count, wrong = len(images.items), verify_images(images, progress=progress)
        else:
            opened = _open(cache)
            count, wrong = len(opened.volumes), verify(opened, progress=progress)
    if remove:
        remove_files(folder, [file for file, _ in wrong])
    if as_json:
        emit_json(
            {
                what: count,
                "damaged": [{"file": file, "reason": reason} for file, reason in wrong],
                "removed": remove,
            }
        )
    elif wrong:
        emit_table("Damaged", ["file", "what"], [list(item) for item in wrong])
        emit("\nremoved: prepare again" if remove else "\ngive --remove, then prepare again")
    else:
        emit(f"{count} {what}, none damaged")
    if wrong and not remove:
        raise typer.Exit(1)


@verb
def cache_prune(
    cache: CacheArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove arrays that the cache no longer names: of other recipes, of files that left the manifest.

    Example:

      voxmix cache prune mystudy --dry-run
    """
    from voxmix.volumes.preparing.cache_upkeep import prune

    done = prune(_open(cache), dry_run=dry_run)
    if as_json:
        emit_json({"files": len(done.files), "bytes": done.bytes, "removed": not dry_run})
        return
    emit(f"{len(done.files)} files, {size_text(done.bytes)}: " + ("would go" if dry_run else "removed"))


@verb
def cache_restore(
    cache: CacheArgument,
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
