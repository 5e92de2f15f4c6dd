"""The inner split: some of the training persons choose the grid."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from voxmix._random import stream
from voxmix.errors import InputError
from voxmix.probes.data import ProbeData


def inner_split(data: ProbeData, *, share: float, seed: int) -> Bool[np.ndarray, " case"]:
    """Return which training cases choose the grid: those of a share of the training persons, at least one, never all.

    Persons are permuted by content, so that the same images give the same split whatever the salt of pseudonyms.

    Raises:
        InputError: one training person alone.
    """
    train = data.part("train")
    first: dict[str, str] = {}
    for case in train:
        first[case.subject] = min(first.get(case.subject, case.case), case.case)
    persons = sorted(first, key=lambda person: first[person])
    if len(persons) < 2:
        raise InputError(
            f"task {data.name} has one training person; the grid is chosen on persons of their own: give images of more persons"
        )
    count = min(max(round(share * len(persons)), 1), len(persons) - 1)
    order = stream(seed, "inner split").permutation(len(persons))
    chosen = {persons[int(k)] for k in order[:count]}
    return np.array([case.subject in chosen for case in train], dtype=np.bool_)


def best_of(scores: Sequence[float]) -> int:
    """Return the place of the best score; the first of equals, and the middle one where nothing could be scored."""
    known = [score if np.isfinite(score) else -np.inf for score in scores]
    return int(np.argmax(known)) if max(known) > -np.inf else len(known) // 2
