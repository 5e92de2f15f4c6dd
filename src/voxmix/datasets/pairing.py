"""Pairing: which files of one domain are images, and which label map is whose."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxmix.volumes.masks import is_image_folder, is_kind_folder, is_label_folder, plain, read_name, words

NO_IMAGE = "label map without its image"
NO_ONE_IMAGE = "label map: no scan, and not clearly the label map of one image"
DERIVED = "tissue map or deformation of SPM or CAT: no scan"
_SPM = re.compile(r"(?:s?m?w?r?[cp][0-6]|i?y_|u_rc1)(\D.*)")
PROBABILITY = "probability map: no scan, and no label map"


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One volume of a domain: where it lies, its name without suffix, and the folders on the way to it."""

    path: Path
    stem: str
    within: tuple[str, ...] = ()

    @property
    def home(self) -> tuple[str, ...]:
        """The folders on the way without those that only say images or labels, or CT beside GT."""
        said = tuple(name for name in self.within if not (is_image_folder(name) or is_label_folder(name)))
        return said[1:] if said and said[0] == self.within[0] and is_kind_folder(said[0]) else said

    @property
    def kind(self) -> str:
        """What name and folders say: "" for an image."""
        said = read_name(self.stem).kind
        return said or ("label map" if any(map(is_label_folder, self.within)) else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """The images, the label map of those that have one, and the other files with the reason why they are no scans."""

    images: tuple[File, ...]
    labels: dict[Path, Path] = field(default_factory=dict)
    others: tuple[tuple[Path, str], ...] = ()


def pair(files: Sequence[File]) -> Pairing:
    """Return the images among the volumes of one domain, and whose the label maps are.

    A label map is that of an image in the same place (``images/`` and ``labels/`` are one place) when their names are
    the same but for the words that say label map or image, or the image's channel (``_0000``); or when it is the only
    label map beside the only image and its name holds nothing else than the beginning of the image's. Of several that
    fit, ``<image>_seg`` is taken; without one, none is.
    """
    images, derived = _without_derived([f for f in files if not f.kind])
    maps = [f for f in files if f.kind == "label map"]
    by_name: dict[tuple[tuple[str, ...], str], list[File]] = defaultdict(list)
    at: dict[tuple[str, ...], list[File]] = defaultdict(list)
    for image in images:
        at[image.home].append(image)
        for name in {
            " ".join(words(image.stem)),
            plain(image.stem),
            " ".join(words(without_channel(image.stem))),
        }:
            by_name[image.home, name].append(image)
    beside: dict[tuple[str, ...], list[File]] = defaultdict(list)
    for one in maps:
        beside[one.home].append(one)
    fitting: dict[Path, list[File]] = defaultdict(list)
    for one in maps:
        for image in _fits(one, by_name, at[one.home], alone=len(beside[one.home]) == 1):
            fitting[image.path].append(one)
    labels = {}
    for image in images:
        chosen = _chosen(image, fitting[image.path])
        if chosen is not None:
            labels[image.path] = chosen.path
    used = set(labels.values())
    people = {image.home[:1] for image in images}
    others = [(f.path, PROBABILITY) for f in files if f.kind == "probability map"]
    others += [(f.path, DERIVED) for f in derived]
    others += [
        (f.path, NO_ONE_IMAGE if f.home[:1] in people else NO_IMAGE) for f in maps if f.path not in used
    ]
    return Pairing(images=tuple(images), labels=labels, others=tuple(others))


def _without_derived(images: list[File]) -> tuple[list[File], list[File]]:
    """Return images, and the tissue maps and deformations of SPM and CAT (c1T1, mwp2T1, y_T1) of images beside them."""
    stems: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for image in images:
        stems[image.home[:1]].add(image.stem)

    def derived(image: File) -> bool:
        match = _SPM.fullmatch(image.stem)
        return match is not None and match[1] in stems[image.home[:1]]

    return [f for f in images if not derived(f)], [f for f in images if derived(f)]


def without_channel(stem: str) -> str:
    """Return the name of an image without nnU-Net's number of a channel.

    >>> without_channel("liver_001_0000"), without_channel("liver_001")
    ('liver_001', 'liver_001')
    """
    return re.sub(r"_\d{4}$", "", stem)


def _fits(
    one: File,
    by_name: dict[tuple[tuple[str, ...], str], list[File]],
    near: list[File],
    *,
    alone: bool,
) -> list[File]:
    rest = read_name(one.stem).rest
    names = [rest] if rest else []
    if any(map(is_label_folder, one.within)):
        names.insert(0, " ".join(words(one.stem)))
    for name in names:
        found = by_name.get((one.home, name), [])
        if found:  # Channels lie in one folder; the same name in two is no one image.
            return found if len({image.path.parent for image in found}) == 1 else []
    if not alone or len(near) != 1:
        return []
    counted = rest.isdecimal() and bool(one.home)  # Segmentation_1 in the folder of one scan.
    return near if counted or " ".join(words(near[0].stem)).startswith(rest) else []


def _chosen(image: File, candidates: list[File]) -> File | None:
    if len(candidates) == 1:
        return candidates[0]
    exact = [one for one in candidates if one.stem.lower() == f"{image.stem}_seg".lower()]
    return exact[0] if len(exact) == 1 else None
