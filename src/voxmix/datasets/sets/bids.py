"""BIDS: images in folders of subjects, sessions and kinds."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from voxmix.datasets.dataset import DataSet, holds
from voxmix.datasets.pairing import File, pair
from voxmix.datasets.volume_files import gather, one_per_name, walk
from voxmix.domain import as_domain_name
from voxmix.volumes.file_names import split_suffix
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord

_FOLDERS = ("anat", "pet", "ct")
_SCANS = {"T1w": "T1", "T2w": "T2", "FLAIR": "FLAIR", "PDw": "PD", "T2starw": "T2STAR", "inplaneT1": "T1",
          "inplaneT2": "T2", "PDT2": "PDT2", "angio": "ANGIO", "pet": "PET", "ct": "CT"}  # fmt: skip
"""BIDS suffixes of scans, and their domains. All others are maps, masks or parts of a multi-part acquisition."""


def read_bids(root: Path) -> Manifest:
    """Return the images of ``sub-*/[ses-*/]{anat,pet,ct}``, one domain per suffix (T1, T2, FLAIR, PET, ...).

    Derivatives and source data are passed over. The subject is ``sub-<label>``, whatever the session. Quantitative maps,
    parts of an acquisition (MP2RAGE inversions), phase, real and imaginary parts, and masks are set aside.
    """
    return gather(
        item
        for folder in sorted(root.glob("sub-*"))
        for place, names in walk(folder)
        if place.name in _FOLDERS
        for item in _folder(place, names, subject=folder.name)
    )


def _folder(place: Path, names: Sequence[str], *, subject: str) -> Iterator[VolumeRecord | SetAside]:
    chosen, lost = one_per_name(place, names)
    found = pair([File(path=path, stem=stem) for stem, path in chosen.items()])
    for path, reason in (*lost, *found.others):
        yield SetAside(path=path, domain=_domain(split_suffix(path.name)[0]), reason=reason)
    for image in found.images:
        domain, reason = _domain(image.stem), _no_scan(image.stem)
        if reason:
            yield SetAside(path=image.path, domain=domain, reason=reason)
        else:
            label = found.labels.get(image.path)
            yield VolumeRecord(path=image.path, domain=domain, subject=subject, label=label)


def _domain(stem: str) -> str:
    suffix = stem.rsplit("_", 1)[-1]
    return as_domain_name(_SCANS.get(suffix, suffix))


def _no_scan(stem: str) -> str:
    """Return why a file is no scan, or "" for one."""
    entities = stem.split("_")
    part = next((entity.removeprefix("part-") for entity in entities if entity.startswith("part-")), "mag")
    if part != "mag":
        return "phase, real or imaginary part: only magnitudes are scans"
    if entities[-1] not in _SCANS:
        return "a map, or one part of an acquisition: no scan (T1w, T2w, FLAIR, PDw, T2starw, angio, pet and ct are)"
    return ""


DATA_SET = DataSet(
    name="bids",
    title="BIDS",
    expects="`sub-*/[ses-*/]{anat,pet,ct}`",
    traps="sessions belong to one subject; derivatives are passed over; phase images, quantitative maps, MP2RAGE "
    "inversions, masks and links whose file was not fetched are set aside",
    read=read_bids,
    shows=holds("dataset_description.json", "sub-*/anat", "sub-*/ses-*/anat", "sub-*/pet"),
    special=2,
    sessions=("BIDS", re.compile(r"(sub-[0-9A-Za-z]+)_ses-[0-9A-Za-z]+(?:_.*)?")),
)
