"""Telling apart the images of one DICOM series that lie at the same places: times, echoes, b-values, phases."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from voxmix.volumes.reading.dicom.tells import ROWS, Row, Value
from voxmix.volumes.volume import UnreadableVolumeError

_BY_NUMBER = "instance number"


class NothingTellsError(UnreadableVolumeError):
    """Several slices at one place, and nothing that tells which image each belongs to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """The images of a series: the slices of each, at most one per place, and what told them apart.

    ``members`` are indices into the slices that were given, in the order in which ``volume`` counts the images.
    """

    members: tuple[tuple[int, ...], ...]
    told_by: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know: nothing but a count tells the images apart."""
        if _BY_NUMBER not in self.told_by:
            return ()
        return ("images at the same places were separated by their instance or frame numbers alone",)


def tell_apart(tells: Sequence[dict[str, object]], places: Int[np.ndarray, "slice"]) -> Images:
    """Return the images of a series whose slices say ``tells`` (:mod:`voxmix.volumes.reading.dicom.tells`) and lie at ``places``.

    The rows of the table are taken one after the other. A row divides an image where that needs no more images than
    there are slices at one place: so each of the parts can fill every place once, and what varies from slice to
    slice divides nothing. A row that is certain must divide so, or not at all.

    Raises:
        NothingTellsError: nothing tells the slices of one place apart.
        UnreadableVolumeError: a certain row says that there are different images, and they cannot be put together.
    """
    images = [tuple(range(len(tells)))]
    told_by: list[str] = []
    times: list[Value] = []
    for row in ROWS:
        values = [row.value(one) for one in tells] if row.certain or _most(images, places) > 1 else []
        divided: list[tuple[int, ...]] = []
        for members in images:
            parts = _divide(row, members, values, places) if values else [members]
            divided.extend(parts)
            if len(parts) > 1 and row.words not in told_by:
                told_by.append(row.words)
        images = divided
        if row.words == "acquisition time":
            times = values
    if _most(images, places) > 1:
        raise NothingTellsError(
            f"{_most(images, places)} DICOM slices at one place, and nothing shows which image each belongs to: they do "
            "not differ, or not in the same way everywhere, in time, echo, b-value, acquisition, image type or "
            "instance number; put the files of each image into a folder of its own"
        )
    if _BY_NUMBER in told_by:
        _check_times(images, times, places)
    return Images(members=tuple(images), told_by=tuple(told_by))


def _most(images: Sequence[tuple[int, ...]], places: Int[np.ndarray, "slice"]) -> int:
    """Return the largest number of slices that one image has at one place."""
    return max(int(np.bincount(places[list(members)]).max()) for members in images)


def _divide(
    row: Row, members: tuple[int, ...], values: list[Value], places: Int[np.ndarray, "slice"]
) -> list[tuple[int, ...]]:
    """Return the parts that a row makes of one image, in the order of its values; the image itself if it makes none."""
    most = _most([members], places)
    if most == 1 and not row.certain:
        return [members]
    by_value: dict[Value, list[int]] = defaultdict(list)
    for index in members:
        by_value[values[index]].append(index)
    parts = [tuple(by_value[value]) for value in sorted(by_value)]
    if len(parts) == 1 or sum(_most([part], places) for part in parts) == most:
        return parts
    if row.certain:
        raise UnreadableVolumeError(
            f"DICOM slices of different images in one series: their {row.words} differs, and none of the images fills "
            "every place; put the files of each image into a folder of its own"
        )
    return (_by_order(row, members, values, places) if row.counts else None) or [members]


def _by_order(
    row: Row, members: tuple[int, ...], values: list[Value], places: Int[np.ndarray, "slice"]
) -> list[tuple[int, ...]] | None:
    """Return the first, second, ... slice of every place, if the values prove that these are images.

    The proof: one image after the other (all that is first comes before all that is second, and the places follow
    each other in the same order), or one place after the other; or the same parts of every place's own cycle.
    """
    at_place: dict[int, list[int]] = defaultdict(list)
    for index in members:
        at_place[int(places[index])].append(index)
    columns = [sorted(found, key=lambda index: values[index]) for found in at_place.values()]
    ordered = [[values[index] for index in column] for column in columns]
    if len({len(column) for column in columns}) > 1 or any(
        len(set(column)) < len(column) for column in ordered
    ):
        return None
    if not all(any(part[0] for part in value) for column in ordered for value in column):
        return None
    ordered.sort()
    images = list(zip(*ordered, strict=True))
    by_image = _one_after_another(images) and all(list(image) == sorted(image) for image in images)
    in_cycles = row.cyclic and len(images) > 2 and _repeat(ordered)
    if not (by_image or in_cycles or _one_after_another(ordered)):
        return None
    return list(zip(*columns, strict=True))


def _repeat(columns: Sequence[Sequence[Value]]) -> bool:
    """Return whether the values of every place divide its own span in the same way, to half a step."""
    numbers = np.array([[value[0][1] for value in column] for column in columns])
    first, last = numbers[:, :1], numbers[:, -1:]
    parts = (numbers - first) / np.maximum(last - first, 1e-9)
    return bool(np.ptp(parts, axis=0).max() < np.diff(np.median(parts, axis=0)).min() / 2)


def _one_after_another(groups: Sequence[Sequence[Value]]) -> bool:
    return all(max(before) <= min(after) for before, after in pairwise(groups))


def _check_times(
    images: Sequence[tuple[int, ...]], times: list[Value], places: Int[np.ndarray, "slice"]
) -> None:
    """Refuse instance numbers that put the slices of one place into another order in time than those of others."""
    if not times or any(not time[0][0] for time in times):
        return
    orders = set()
    for place in np.unique(places):
        here = [times[index] for members in images for index in members if places[index] == place]
        if len(set(here)) == len(here):
            orders.add(tuple(sorted(range(len(here)), key=lambda k: here[k])))
    if len(orders) > 1:
        raise UnreadableVolumeError(
            "DICOM slices whose instance numbers and acquisition times disagree on which image each belongs to; put the "
            "files of each image into a folder of its own"
        )
