"""Generic archives that name their own files: BIDS, nnU-Net raw, Decathlon JSON, nnssl JSON."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from voxmix._io import read_json
from voxmix.domain import check_domain_name
from voxmix.errors import InputError
from voxmix.volumes.layouts import split_suffix
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord

_BIDS_FOLDERS = ("anat", "pet", "ct")
_BIDS_NAMES = {"T1w": "T1", "T2w": "T2", "pet": "PET", "ct": "CT"}


def safe_name(text: str) -> str:
    """Return a text as a domain's name: every run of other characters becomes a dash."""
    return check_domain_name(re.sub(r"[^0-9A-Za-z]+", "-", text).strip("-"))


def below(root: Path, given: str) -> Path:
    """Return a path that an archive names, which must stay below its folder.

    Raises:
        InputError: it is absolute or leads out of the folder.
    """
    folder = Path(os.path.abspath(root))
    target = Path(os.path.normpath(folder / given))
    if Path(given).is_absolute() or not target.is_relative_to(folder):
        raise InputError(f"{root} lists a file outside itself: {given}; correct the list")
    return target


def gather(records: Iterator[VolumeRecord | SetAside]) -> Manifest:
    """Return a manifest of what a layout yields; files that do not exist are set aside."""
    kept: list[VolumeRecord] = []
    lost: list[SetAside] = []
    for item in records:
        if isinstance(item, SetAside):
            lost.append(item)
        elif not item.path.exists():
            lost.append(SetAside(path=item.path, domain=item.domain, reason="no such file"))
        else:
            kept.append(item)
    return Manifest(records=tuple(kept), set_aside=tuple(lost))


def existing(path: Path) -> Path | None:
    """Return the path of a label map if there is one."""
    return path if path.exists() else None


def read_bids(root: Path) -> Manifest:
    """Return the images of ``sub-*/[ses-*/]{anat,pet,ct}``, one domain per suffix (T1, T2, FLAIR, PET, ...).

    Derivatives and source data are passed over. The subject is ``sub-<label>``, whatever the session.
    """

    def records() -> Iterator[VolumeRecord]:
        for path in sorted(root.glob("sub-*/**/*.nii*")):
            stem, suffix = split_suffix(path.name)
            if suffix and path.parent.name in _BIDS_FOLDERS:
                name = stem.rsplit("_", 1)[-1]
                subject = path.relative_to(root).parts[0]
                yield VolumeRecord(path=path, domain=safe_name(_BIDS_NAMES.get(name, name)), subject=subject)

    return gather(records())


def read_nnunet(root: Path) -> Manifest:
    """Return the images of one nnU-Net raw data set, a domain ``<name>-<channel>`` per channel.

    ``imagesTr/<case>_<channel>.*`` with ``labelsTr/<case>.*``; ``imagesTs`` has no labels.
    """
    described = _object(root / "dataset.json")
    channels: Mapping[str, str] = described.get("channel_names") or described.get("modality") or {}
    ending = described.get("file_ending", ".nii.gz")
    name = described.get("name") or root.name.split("_", 1)[-1]

    def records() -> Iterator[VolumeRecord]:
        for images, labels in (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs")):
            for path in sorted((root / images).glob(f"*{ending}")):
                case, _, channel = path.name.removesuffix(ending).rpartition("_")
                if not channel.isdecimal():
                    continue
                label = root / labels / f"{case}{ending}"
                domain = safe_name(f"{name}-{channels.get(str(int(channel)), channel)}")
                yield VolumeRecord(path=path, domain=domain, subject=case, label=existing(label))

    return gather(records())


def read_decathlon(root: Path) -> Manifest:
    """Return the images of one Medical Segmentation Decathlon task, by its ``dataset.json``.

    A domain ``<name>-<modality>`` per modality; where there are several, images are 4D and each record
    names its volume.
    """
    described = _object(root / "dataset.json")
    modality: Mapping[str, str] = described.get("modality", {"0": ""})

    def records() -> Iterator[VolumeRecord]:
        for entry in [*described.get("training", []), *described.get("test", [])]:
            given = entry if isinstance(entry, str) else entry["image"]
            label = None if isinstance(entry, str) else existing(below(root, entry["label"]))
            path = below(root, given)
            for index, kind in modality.items():
                yield VolumeRecord(
                    path=path,
                    domain=safe_name(f"{described.get('name', root.name)}-{kind}"),
                    subject=split_suffix(path.name)[0],
                    label=label,
                    volume=int(index) if len(modality) > 1 else None,
                )

    return gather(records())


def read_nnssl(root: Path) -> Manifest:
    """Return the images that ``pretrain_data.json`` of nnssl lists, a domain per modality.

    ``$nnssl_raw/...`` is the folder above the data set's, as nnssl lays it out; other variables are not
    known here, and such files are set aside. Subjects of different data sets are different people.
    """
    described = _object(root / "pretrain_data.json")

    def records() -> Iterator[VolumeRecord | SetAside]:
        for index, dataset in sorted(described.get("datasets", {}).items()):
            for subject, person in sorted(dataset.get("subjects", {}).items()):
                for session in person.get("sessions", {}).values():
                    for image in session.get("images", []):
                        yield _nnssl_record(root, image, subject=f"{index}/{subject}")

    return gather(records())


def _nnssl_record(root: Path, image: Mapping[str, Any], *, subject: str) -> VolumeRecord | SetAside:
    given, domain = str(image["image_path"]), safe_name(str(image["modality"]))
    if given.startswith("$nnssl_raw/"):
        path = below(root.parent, given.removeprefix("$nnssl_raw/"))
    elif given.startswith("$"):
        return SetAside(path=Path(given), domain=domain, reason="its folder is an unknown variable")
    else:
        path = Path(given) if Path(given).is_absolute() else below(root, given)
    return VolumeRecord(path=path, domain=domain, subject=subject)


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path} should hold a JSON object; give the data set's own file")
    return value
