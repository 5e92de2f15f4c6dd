"""Training, validation and test: whole subjects, none of the last two seen in pretraining."""

import math
from collections.abc import Mapping, Sequence, Set

from voxmix._io import digest
from voxmix.datasets.task import PARTS, Part
from voxmix.errors import InputError


def split_sizes(count: int, wanted: Sequence[float]) -> tuple[int, int, int]:
    """Return subjects for training, validation and test.

    Whole numbers that fit are kept (what is left over is not used); shares, or more than there are, become that
    proportion of ``count`` by largest remainder, at least one each.

    Raises:
        InputError: fewer than three subjects.
    """
    if count < len(PARTS):
        raise InputError(
            f"{count} labeled subjects cannot be split into training, validation and test; three or more are needed"
        )
    if all(size >= 1 and size == int(size) for size in wanted) and sum(wanted) <= count:
        train, validation, test = (int(size) for size in wanted)
        return train, validation, test
    quota = [size / sum(wanted) * count for size in wanted]
    sizes = [max(1, math.floor(q)) for q in quota]
    while sum(sizes) != count:
        step = 1 if sum(sizes) < count else -1
        able = [k for k in range(3) if step > 0 or sizes[k] > 1]
        sizes[max(able, key=lambda k: step * (quota[k] - sizes[k]))] += step
    return sizes[0], sizes[1], sizes[2]


def split_subjects(
    subjects: Sequence[str], *, sizes: Sequence[float], seen: Set[str], seed: int = 0
) -> dict[str, Part]:
    """Return the part of every subject that is used; ``seen`` subjects were pretrained on and only train.

    A subject's place is the digest of (seed, subject), as in pretraining: adding subjects moves few others.

    Raises:
        InputError: fewer than three subjects, or fewer than two that pretraining has not seen.
    """
    ordered = sorted(set(subjects), key=lambda subject: digest([seed, subject]))
    train, validation, test = split_sizes(len(ordered), sizes)
    unused = len(ordered) - train - validation - test
    unseen = [subject for subject in ordered if subject not in seen]
    if len(unseen) < 2:
        raise InputError(
            f"{len(ordered) - len(unseen)} of {len(ordered)} subjects were pretrained on: no unseen ones are left "
            "for validation and test; hold more out of pretraining (data.validation_fraction), or add subjects"
        )
    if len(unseen) < validation + test:
        test, validation = _shrink(len(unseen), test, validation)
    parts: dict[str, Part] = dict.fromkeys(unseen[:test], "test")
    parts.update(dict.fromkeys(unseen[test : test + validation], "validation"))
    rest = [subject for subject in ordered if subject not in parts]
    parts.update(dict.fromkeys(rest[: len(rest) - unused], "train"))
    return parts


def _shrink(unseen: int, test: int, validation: int) -> tuple[int, int]:
    smaller = max(1, int(unseen * validation / (test + validation)))
    return unseen - smaller, smaller


def check_official(parts: Mapping[str, Part], seen: Set[str]) -> None:
    """Check that a data set's own split holds out subjects that pretraining has not seen.

    Raises:
        InputError: names how many of validation and test were pretrained on.
    """
    leaked = sum(1 for subject, part in parts.items() if part != "train" and subject in seen)
    if leaked:
        raise InputError(
            f"{leaked} subjects of the data set's validation and test were pretrained on; keep them out of the "
            "study's volumes, or its scores would be too good"
        )
