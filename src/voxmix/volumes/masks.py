"""Masks: what is a label map and no scan, by its name and by its voxels."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Integer, Shaped

Kind = Literal["", "label map", "probability map"]


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_LABELS = word_set(
    "seg segm segs segmentation segmentations segment segments label labels labelmap labelmaps mask masks msk roi rois "
    "gt groundtruth contour contours annotation annotations annot delineation delineations parcellation aparc wmparc "
    "ribbon mixeltype defacemask brainmask"
)
"""Last words of the names of label maps: of 3D Slicer, ITK-SNAP, MONAI, BIDS, nnU-Net, FSL, FreeSurfer, ANTs, ..."""

_FIRST = word_set("seg segm segmentation segmentations label labels mask masks msk roi groundtruth")
"""The same where they come first: segmentation-12, label0001, mask_liver."""

_PROBABLE = word_set("probseg probs prob probability probabilities posterior posteriors pve softmax")
_OF = r"((averaged|training|train|testing|test|validation|val|ct|mri?|pet|raw|all|auto|manual|expert)[ _-])*"
_LABEL_FOLDERS = re.compile(
    _OF + r"(segs?|segms?|segmentations?|labels?|label[ _-]?maps?|labels?(tr|ts|va|val|pr)|masks?|gt|rois?|"
    r"ground[ _-]?truths?|annotations?|contours?|delineations?|structures?|predictions?|predicted|preds?|infer(tr|ts))"
    r"([ _-](pred|gt|final|original))?"
)
_IMAGE_FOLDERS = re.compile(_OF + r"(images?(tr|ts|va|val)?|imgs?|scans?|volumes?|vols?)")
_KINDS = re.compile(r"ct|cta|mri?|pet|cbct|t1w?|t2w?|flair|raw|raw[ _-]?data|derivatives|nifti")
_SIDES = re.compile(r"(train|training|valid|val|validation|test|testing)([ _-]?(data|set))?")
_IMAGE_WORDS = word_set("image images img imaging scan volume vol data")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Name:
    """What a file's name says: the kind, and the words that are left of the image's own name."""

    kind: Kind
    rest: str


def words(stem: str) -> tuple[str, ...]:
    """Return the words of a file's name in lower case, numbers apart.

    >>> words("BrainExtractionMask_01"), words("t1-SEG")
    (('brain', 'extraction', 'mask', '01'), ('t', '1', 'seg'))
    """
    return tuple(word.lower() for word in _WORDS.findall(stem))


def read_name(stem: str) -> Name:
    """Return what a file's name (without suffix) says.

    >>> read_name("scan_seg"), read_name("segmentation-12").rest, read_name("sub-01_label-GM_probseg").kind
    (Name(kind='label map', rest='scan'), '12', 'probability map')
    """
    found = list(words(stem))
    numbers = [found.pop()] if len(found) > 1 and found[-1].isdecimal() else []
    if found and found[-1] in _PROBABLE:
        return Name(kind="probability map", rest=" ".join(found[:-1]))
    kind: Kind = ""
    while found and (found[-1] in _LABELS or found[-1].endswith("seg")):
        found.pop()
        kind = "label map"
    if found and found[0] in _FIRST and found[1:2] != ["free"]:
        found, kind = found[1:], "label map"
    return Name(kind=kind, rest=" ".join([*found, *numbers]))


def is_label_folder(name: str) -> bool:
    """Return whether a folder of this name holds label maps: segmentations, labelsTr, masks, ground truths."""
    return _LABEL_FOLDERS.fullmatch(name.lower()) is not None


def is_image_folder(name: str) -> bool:
    """Return whether a folder of this name holds images of many subjects: images, imagesTr, img, CT_scans."""
    return _IMAGE_FOLDERS.fullmatch(name.lower()) is not None


def is_shelf(name: str) -> bool:
    """Return whether a folder of this name, directly in a domain, holds many subjects: CT, training, rawdata."""
    return is_kind_folder(name) or _SIDES.fullmatch(name.lower()) is not None


def is_kind_folder(name: str) -> bool:
    """Return whether it is one whose subjects another folder may hold too: CT beside GT, rawdata beside derivatives."""
    return _KINDS.fullmatch(name.lower()) is not None


def plain(stem: str) -> str:
    """Return the words of an image's name without those that every image could have.

    >>> plain("ct_train_1001_image"), plain("volume-0"), plain("img0001")
    ('ct train 1001', '0', '0001')
    """
    return " ".join(word for word in words(stem) if word not in _IMAGE_WORDS)


FEW = 4
"""A volume of so few values, whatever they are, is no scan."""

_SOME = 8
_STILL = 0.5
_MOST = 1024
_ABOVE = 0.29
_INSIDE = 0.25
_SAMPLE = 1 << 20
_BLOCK = 1 << 23
_SLICES = 16
_ENOUGH = 1000
_NOISY = 0.2


NO_SCAN = "a label map, not a scan: few values, in pieces (if such volumes are intended, name their domain under masks in the recipe)"


def is_label_map(data: Shaped[np.ndarray, "x y z"]) -> bool:
    """Return whether the voxels of a volume are those of a label map, not of a scan.

    A label map has few values, in pieces: most neighbors are equal, and where they are not, the step may go to any
    other value. In a scan neighbors differ by noise; where its grey levels are so few that many are equal, steps go to
    the next level. A scan that is saturated by a window has equal neighbors at its two ends alone. Planes that repeat
    the one before (an image enlarged by nearest neighbor) count once.
    """
    seen, often = np.unique(data.ravel()[:: max(1, data.size // _SAMPLE)], return_counts=True)
    if len(seen) > _MOST or (len(seen) > _SOME and _is_noisy(data, seen[np.argmax(often)])):
        return False
    values, ranks, counts = _ranked(data)
    if len(values) <= FEW or len(values) > _MOST:
        return len(values) <= FEW
    equal, inside, next_rank = _texture(ranks, len(values), int(np.argmax(counts)))
    few = len(values) <= _SOME and bool(np.all(values == np.rint(values)))
    return (few and equal >= _STILL) or (equal - next_rank >= _ABOVE and inside >= _INSIDE)


def _is_noisy(data: Shaped[np.ndarray, "x y z"], common: np.generic) -> bool:
    """Return whether so few neighbors are equal in some slices that the rest need not be looked at."""
    slices = data[:, :, :: max(1, data.shape[2] // _SLICES)]
    equal = pairs = 0
    for axis in range(2):
        along = np.moveaxis(slices, axis, 0)
        same = along[:-1] == along[1:]
        background = int((same & (along[1:] == common)).sum())
        equal += int(same.sum()) - background
        pairs += same.size - background
    return pairs >= _ENOUGH and equal < _NOISY * pairs


def _ranked(
    data: Shaped[np.ndarray, "x y z"],
) -> tuple[Shaped[np.ndarray, "n"], Integer[np.ndarray, "x2 y2 z2"], Integer[np.ndarray, "n"]]:
    """Return the values, the rank of each voxel's value without planes that repeat, and how often each is met."""
    values, inverse, counts = np.unique(data, return_inverse=True, return_counts=True)
    ranks = inverse.reshape(data.shape).astype(np.int32)
    for axis in range(3):
        moved = np.moveaxis(ranks, axis, 0)
        new = [0, *(i for i in range(1, len(moved)) if not np.array_equal(moved[i], moved[i - 1]))]
        ranks = np.take(ranks, new, axis=axis)
    return values, ranks, counts


def _texture(ranks: Integer[np.ndarray, "x y z"], count: int, common: int) -> tuple[float, float, float]:
    """Return shares of pairs of neighbors: equal ones, equal ones inside, and of unequal ones those a rank apart.

    Pairs of the commonest value are left out, and inside also pairs of the least and of the largest.
    """
    every = max(1, ranks.size // _BLOCK)
    ranks = ranks[:, :, ::every]
    ends = np.zeros(count, dtype=bool)
    ends[[0, count - 1, common]] = True
    equal = inner_equal = inner = unequal = next_rank = 0
    for axis in range(3 if every == 1 else 2):
        along = np.moveaxis(ranks, axis, 0)
        left, right = along[:-1], along[1:]
        same = left == right
        within = ~(ends[left] & ends[right])
        equal += int((same & (left != common)).sum())
        unequal += int((~same).sum())
        inner_equal += int((same & within).sum())
        inner += int(within.sum())
        next_rank += int((np.abs(left - right) == 1).sum())
    return (
        equal / max(equal + unequal, 1),
        inner_equal / max(inner, 1),
        next_rank / max(unequal, 1),
    )
