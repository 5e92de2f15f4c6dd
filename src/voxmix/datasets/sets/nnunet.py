"""nnU-Net raw: images by channel, label maps by case."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from voxmix.datasets.dataset import DataSet
from voxmix.datasets.lists import (
    NO_LABEL,
    NO_NAMES,
    anywhere,
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
from voxmix.errors import VoxmixWarning
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord

_PARTS = (
    ("imagesTr", "labelsTr"),
    ("imagesVa", "labelsVa"),
    ("imagesVal", "labelsVal"),
    ("imagesTs", "labelsTs"),
)


def read_nnunet(root: Path) -> Manifest:
    """Return the images of one nnU-Net raw data set, a domain ``<name>-<channel>`` per channel.

    ``imagesTr/<case>_<channel>.*`` with ``labelsTr/<case>.*``; ``imagesTs`` has no labels. Files count whatever their
    format is, also where ``file_ending`` names another. With the ``dataset`` key the list itself names the files, which
    may lie elsewhere, as in nnU-Net; a warning says so.

    Warns:
        VoxmixWarning: the list names files outside the data set's folder.
    """
    described = json_object(root / "dataset.json") if (root / "dataset.json").is_file() else {}
    channels = channel_names(described)
    name = str(described.get("name") or re.sub(r"^(Dataset|Task)\d+_", "", root.resolve().name))

    def domain(channel: str) -> str:
        return as_domain_name(f"{name}-{channels.get(int(channel), channel)}")

    if isinstance(described.get("dataset"), dict):
        return gather(_listed(root, described["dataset"], domain))

    def records() -> Iterator[VolumeRecord | SetAside]:
        for images, labels in _PARTS:
            chosen, lost = volumes_in(root / images)
            maps, lost_maps = volumes_in(root / labels)
            for path, reason in (*lost, *lost_maps):
                yield SetAside(path=path, domain=domain("0000"), reason=reason)
            numbered = any(without_channel(stem) != stem for stem in chosen)
            for stem, path in chosen.items():
                case, channel = without_channel(stem), stem[-4:]
                if case == stem or (case not in maps and stem in maps):
                    if numbered and stem not in maps:
                        reason = "its name ends in no number of a channel (_0000)"
                        yield SetAside(path=path, domain=domain("0000"), reason=reason)
                        continue
                    case, channel = stem, "0000"
                yield VolumeRecord(path=path, domain=domain(channel), subject=case, label=maps.get(case))

    return gather(records())


def _listed(
    root: Path, listed: Mapping[str, Any], domain: Callable[[str], str]
) -> Iterator[VolumeRecord | SetAside]:
    outside = 0
    for case, entry in listed.items():
        label, inside = None, True
        texts = file_names_of(entry.get("images")) if isinstance(entry, dict) else []
        if not texts:
            yield SetAside(path=root / "dataset.json", domain=domain("0000"), reason=NO_NAMES)
            continue
        if isinstance(entry.get("label"), str):
            label, inside = anywhere(root, entry["label"])
        outside += not inside
        if label is not None and existing(label) is None:
            yield SetAside(path=label, domain=domain("0000"), reason=NO_LABEL)
        for index, given in enumerate(texts):
            path, inside = anywhere(root, given)
            outside += not inside
            yield VolumeRecord(
                path=path,
                domain=domain(f"{index:04d}"),
                subject=case,
                label=None if label is None else existing(label),
            )
    if outside:
        warnings.warn(
            f"the list of {root} (dataset.json, key dataset) names {outside} files outside its folder, as nnU-Net allows; "
            "they are used",
            VoxmixWarning,
            stacklevel=2,
        )


def _shown(root: Path) -> bool:
    """Return whether this is nnU-Net's rather than Decathlon's: both have images in imagesTr and a dataset.json."""
    known = dataset_json(root)
    if not has_images_tr(root):
        return isinstance(known.get("dataset"), dict)
    if "channel_names" in known or "dataset" in known or "training" not in known:
        return True
    # nnU-Net numbers channels with four digits behind the case's name, also where its list leaves them out. A case of
    # Decathlon may end in four digits too: then its label map is called the same.
    images, labels = set(volumes_in(root / "imagesTr")[0]), set(volumes_in(root / "labelsTr")[0])
    numbered = [stem for stem in images if without_channel(stem) != stem and stem not in labels]
    return bool(numbered) and "modality" in known


DATA_SET = DataSet(
    name="nnunet",
    title="nnU-Net raw",
    expects="nnU-Net raw: `imagesTr/<case>_0000.*`, `labelsTr`, `dataset.json` (if there is one)",
    traps="a domain per channel; any format, whatever `file_ending` says; files elsewhere that the key `dataset` "
    "names are used, with a note",
    read=read_nnunet,
    shows=_shown,
    list_name="dataset.json",
    special=7,
)
