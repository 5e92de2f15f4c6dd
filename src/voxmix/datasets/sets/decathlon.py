"""Medical Segmentation Decathlon: a task whose dataset.json names its files."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxmix.datasets.dataset import DataSet
from voxmix.datasets.lists import (
    NO_LABEL,
    NO_NAMES,
    below,
    channel_names,
    dataset_json,
    existing,
    file_names_of,
    has_images_tr,
    json_object,
)
from voxmix.datasets.pairing import without_channel
from voxmix.datasets.volume_files import gather, volumes_in
from voxmix.domain import as_domain_name
from voxmix.volumes.file_names import is_junk, split_suffix
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord


def read_decathlon(root: Path) -> Manifest:
    """Return the images of one Medical Segmentation Decathlon task, by its ``dataset.json``.

    A domain ``<name>-<modality>`` per modality; where there are several, images are 4D and each record
    names its volume. Entries are names of files, or objects with an image (one, or a list with one per modality) and,
    if there is one, a label.
    """
    described = json_object(root / "dataset.json")
    modality = channel_names(described) or {0: ""}
    name = described.get("name") or root.resolve().name

    def records() -> Iterator[VolumeRecord | SetAside]:
        for key in ("training", "validation", "test", "testing"):
            for entry in described.get(key) or []:
                yield from _entry(root, entry, name, modality)

    found = gather(records())
    taken = [*(record.path for record in found.records), *(item.path for item in found.set_aside)]
    listed = {os.path.abspath(path) for path in taken}
    domain = as_domain_name(f"{name}-{next(iter(modality.values()))}")
    more = [
        SetAside(path=path, domain=domain, reason="not in the data set's list (dataset.json)")
        for part in ("imagesTr", "imagesTs")
        for path in volumes_in(root / part)[0].values()
        if os.path.abspath(path) not in listed
    ]
    return replace(found, set_aside=(*found.set_aside, *more))


def _entry(
    root: Path, entry: Any, name: Any, modality: Mapping[int, str]
) -> Iterator[VolumeRecord | SetAside]:
    given, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
    texts = file_names_of(given)
    if not texts or 1 < len(texts) < len(modality):
        domain = as_domain_name(f"{name}-{next(iter(modality.values()))}")
        yield SetAside(path=root / "dataset.json", domain=domain, reason=NO_NAMES)
        return
    labeled = below(root, label) if isinstance(label, str) else None
    files = [below(root, text) for text in texts]
    for index, kind in modality.items():
        path = files[index] if len(files) > 1 else files[0]
        domain, stem = as_domain_name(f"{name}-{kind}"), split_suffix(path.name)[0]
        if is_junk(path.name):
            yield SetAside(path=path, domain=domain, reason="a file of an operating system, no volume")
            continue
        if labeled is not None and existing(labeled) is None:
            yield SetAside(path=labeled, domain=domain, reason=NO_LABEL)
        yield VolumeRecord(
            path=path,
            domain=domain,
            subject=without_channel(split_suffix(files[0].name)[0]) if len(files) > 1 else stem,
            label=None if labeled is None else existing(labeled),
            volume=index if len(modality) > 1 and len(files) == 1 else None,
        )


def _shown(root: Path) -> bool:
    """Return whether this could be Decathlon's; nnU-Net's, which is more special, is asked before."""
    return has_images_tr(root) or isinstance(dataset_json(root).get("training"), list)


DATA_SET = DataSet(
    name="decathlon",
    title="Medical Segmentation Decathlon",
    expects="`dataset.json` of a Decathlon task",
    traps="several modalities in one 4D file become domains; a list that leads out of its folder is refused; files "
    "that it does not name are set aside",
    read=read_decathlon,
    shows=_shown,
    list_name="dataset.json",
    special=6,
)
