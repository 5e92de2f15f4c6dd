"""Judging any encoder folders on any images, without a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import digest, file_digest, naming_full_disk
from voxmix._optional import require
from voxmix.compute import Device
from voxmix.encoder_study.config import OF_REPORTS, ImageData
from voxmix.encoder_study.preparing import preparation_lines, read_table
from voxmix.errors import InputError
from voxmix.images.recipe import ImageRecipe
from voxmix.probe_tasks import JudgedEncoder, ProbeSettings, ProbeTask
from voxmix.runs import cores
from voxmix.study import files
from voxmix.study.listener import QUIET, Listener
from voxmix.subsets import read_keys
from voxmix.texts.report_text import TextRecipe

if TYPE_CHECKING:
    from voxmix.encoder_runs import Source
    from voxmix.probes.data import ProbeData
    from voxmix.probes.encoder import LoadedEncoder
    from voxmix.scores import ScoreTable

_DEFAULT = ProbeSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbedFolders:
    """Scores of encoder folders on one task: the table, how many were made now, and what to know, in sentences."""

    table: ScoreTable
    made: int
    notes: tuple[str, ...]


def probe_folders(
    encoders: Mapping[str, Path],
    images: Path,
    task: ProbeTask,
    *,
    out: Path,
    settings: ProbeSettings = _DEFAULT,
    device: Device = "auto",
    hear: Listener = QUIET,
) -> ProbedFolders:
    """Judge the encoders of local folders on a task, and keep prepared images, features and scores in ``out``.

    What was made before is not made again. Images are prepared as for the runs among the encoders, at the largest
    edge that any asks for; each sees them resized and cropped as its weights ask for.

    Args:
        encoders: name to folder: a finished run, an exported encoder or open weights.
        images: a folder or a table of images, or a folder of prepared images or volumes.
        device: where encoders compute.

    Raises:
        InputError: a folder or images that cannot be used, a task that cannot be judged, or images that an encoder learned
            from among those that it would be judged on.
    """
    require("torch", extra="train")
    from voxmix.probes.data import check_apart
    from voxmix.probes.done import probe_folder
    from voxmix.probes.encoder import load_encoder
    from voxmix.probes.features import FeatureStore
    from voxmix.probes.judge import judge
    from voxmix.probes.task_cases import probe_data
    from voxmix.scores import ScoreTable

    with hear.waiting("reading encoders"):
        loaded = {name: load_encoder(folder) for name, folder in encoders.items()}
    source = _source(images, loaded, task, out, hear)
    data = probe_data(replace(task, images=None), task.kind, source)
    for name, folder in encoders.items():
        if (keys := _learned_from(folder, loaded[name])) is not None:
            try:
                check_apart(data, keys)
            except InputError as error:
                raise InputError(f"encoder {name}: {error}") from None
    store = FeatureStore(out / files.FEATURES_FOLDER, device=device)
    results, made, notes = [], 0, [*data.notes]
    with hear.bar("judging encoders", unit="encoders") as progress, naming_full_disk(out):
        for place, (name, encoder) in enumerate(loaded.items()):
            progress(place, len(loaded))
            judged = JudgedEncoder(name=name, encoder=encoder.digest, start=name)
            folder = probe_folder(out / files.PROBES_FOLDER, _named(data), judged)
            found = judge(data, encoder, judged, store=store, folder=folder, settings=settings)
            results.append(found.result)
            made += found.made
            notes += [note for note in found.notes if note not in notes]
        progress(len(loaded), len(loaded))
    return ProbedFolders(table=ScoreTable(results=tuple(results)), made=made, notes=tuple(notes))


def _named(data: ProbeData) -> ProbeData:
    """Return the cases under a name of their own: other images or labels go into another folder."""
    return replace(data, name=f"{data.name}-{data.digest[:6]}")


def _source(
    images: Path, encoders: Mapping[str, LoadedEncoder], task: ProbeTask, out: Path, hear: Listener
) -> Source:
    """Return the prepared images: those of a folder of prepared ones, or of a table, prepared now."""
    from voxmix.images.prepare import prepare_images
    from voxmix.images.sources import open_source
    from voxmix.volumes.preparing.private_lists import Names

    axes = {encoder.axes for encoder in encoders.values()}
    if len(axes) > 1:
        raise InputError(
            "encoders of images and of volumes cannot be judged on the same images; judge them apart"
        )
    if (images / "index.json").is_file():
        return open_source(images, axes=axes.pop())  # type: ignore[arg-type]
    if axes == {3}:
        raise InputError(
            f"{images} should be a folder of prepared volumes (voxmix prepare --out), as these encoders are of volumes"
        )
    recipe = _recipe(encoders)
    texts = task.kind in OF_REPORTS
    if texts:
        require("tokenizers", extra="text")
    data = ImageData(
        path=str(images),
        classes=(task.column,) if task.column else (),
        domains=task.domains,
    )
    table = read_table(images, data).split(seed=data.split_seed, fraction=data.validation_fraction)
    read = [texts, list(data.classes), list(task.domains)]
    stamp = digest([str(images.resolve()), recipe.as_dict(), *read, _table(images)])
    folder = out / files.TASKS_FOLDER / f"{images.stem or 'images'}-{stamp[:6]}"
    with hear.bar("preparing", unit="images") as progress:
        found = prepare_images(
            table,
            folder,
            recipe,
            texts=TextRecipe() if texts else None,
            names=Names(folder=out / files.PRIVATE_FOLDER, key=f"{folder.name}."),
            workers=cores(),
            progress=progress,
        )
    for line in preparation_lines(found):
        hear.tell(line)
    return found.cache


def _recipe(encoders: Mapping[str, LoadedEncoder]) -> ImageRecipe:
    """Return how images are prepared: as for the runs among the encoders, where these agree; else by default, large enough."""
    told = [encoder.card["recipe"] for encoder in encoders.values() if (encoder.card or {}).get("recipe")]
    edge = max(encoder.contract.shorter_side for encoder in encoders.values())
    if not told or any(one != told[0] for one in told):
        return ImageRecipe(pixels=edge)
    own = ImageRecipe.from_dict(told[0])
    return own if own.pixels >= edge else replace(own, pixels=edge)


def _table(images: Path) -> str:
    return file_digest(images) if images.is_file() else ""


def _learned_from(folder: Path, encoder: LoadedEncoder) -> frozenset[str] | None:
    """Return the keys of the images that a run of a study learned from; None where its study is not around it."""
    subset = (encoder.card or {}).get("subset")
    path = folder.resolve().parent.parent / files.SUBSETS_FOLDER / f"{subset}.json"
    return read_keys(path, subset=str(subset)) if subset and path.is_file() else None
