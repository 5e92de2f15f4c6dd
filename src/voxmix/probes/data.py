"""The cases of a task for frozen encoders: who trains the probe, who judges it, and what is true of each."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix._io import digest
from voxmix.errors import InputError
from voxmix.probe_tasks import ProbeTask

ProbePart = Literal["train", "test"]
PARTS: tuple[ProbePart, ...] = ("train", "test")


@runtime_checkable
class Masked(Protocol):
    """A source of images that have masks."""

    def masks(self, item: Any) -> Mapping[str, Bool[np.ndarray, "*edge"]]:
        """Return mask to where it is, of those that are known for an item."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeCase:
    """One image of a task.

    Attributes:
        case: digest of its content and preparation; names no person.
        subject: pseudonym of the person.
        domain: where it is from.
        part: "train" (the probe learns from it) or "test" (the probe is judged on it).
        labels: of kind labels: label to 1 (present) or 0 (absent); what is not known is left out.
        target: of kind classes: place of its class among the names.
        item: of the source.
    """

    case: str
    subject: str
    domain: str
    part: ProbePart
    labels: Mapping[str, int] = field(default_factory=dict)
    target: int | None = None
    item: Any


@dataclass(frozen=True, kw_only=True)  # no slots: what is computed is kept
class ProbeData:
    """The cases of a task, in a fixed order, and their images.

    Attributes:
        task: what is asked.
        name: of the task; names its folder.
        cases: of both parts.
        names: of labels, classes or masks.
        axes: 2 or 3.
        notes: what a user should know, in plain sentences.
        own: whether encoders may have learned from the images of its training part: the study's own images.
        source: where images, masks and texts come from.
    """

    task: ProbeTask
    name: str
    cases: tuple[ProbeCase, ...]
    names: tuple[str, ...]
    axes: int
    notes: tuple[str, ...] = ()
    own: bool = True
    source: Any = field(repr=False)

    def part(self, name: ProbePart) -> tuple[ProbeCase, ...]:
        """Return the cases of one part."""
        return tuple(case for case in self.cases if case.part == name)

    def places(self, name: ProbePart) -> Int[np.ndarray, " case"]:
        """Return where the cases of one part stand among all."""
        return np.array([k for k, case in enumerate(self.cases) if case.part == name], dtype=np.int64)

    @cached_property
    def digest(self) -> str:
        """Digest of task, images, persons, parts and truths; the same on every machine and whatever the salt of pseudonyms."""
        number: dict[str, int] = {}
        for case in sorted(self.cases, key=lambda each: each.case):
            number.setdefault(case.subject, len(number))
        rows = sorted(
            [
                case.case,
                number[case.subject],
                case.domain,
                case.part,
                dict(sorted(case.labels.items())),
                case.target,
            ]
            for case in self.cases
        )
        read = {"masks": "mask_digest", "retrieval": "digest", "reports": "digest"}.get(self.task.kind, "")
        return digest(
            {
                "task": self.task.as_dict(),
                "name": self.name,
                "names": list(self.names),
                "cases": rows,
                "source": str(getattr(self.source, read, "") or self.source.digest) if read else "",
            }
        )

    @property
    def recipe(self) -> Any:
        """How the images were prepared; None where the source does not say."""
        return getattr(self.source, "recipe", None)

    def pixels(self, case: ProbeCase) -> Float[np.ndarray, "*edge"]:
        """Return the image of a case in [0, 1], float32."""
        return np.asarray(self.source.array(case.item), dtype=np.float32)

    def masks(self, case: ProbeCase) -> dict[str, Bool[np.ndarray, "*edge"]]:
        """Return where each of the names is, on the grid of the image; of those that are known."""
        found = self.source.masks(case.item) if isinstance(self.source, Masked) else {}
        return {name: np.asarray(found[name], dtype=np.bool_) for name in self.names if name in found}

    def mask(self, case: ProbeCase) -> Bool[np.ndarray, "mask *edge"] | None:
        """Return where each of the names is, on the grid of the image; None where one of them is not known."""
        found = self.masks(case)
        return np.stack(list(found.values())) if len(found) == len(self.names) > 0 else None

    def tokens(self, case: ProbeCase) -> Int[np.ndarray, " token"]:
        """Return the tokens of the report of a case; none where it has none."""
        found: np.ndarray = self.source.tokens(case.item)
        return found

    def text(self, case: ProbeCase) -> str:
        """Return the report of a case, names taken out of it, from its tokens; "" where it has none.

        Raises:
            InputError: the source has no texts.
        """
        tokens = self.tokens(case)
        return str(self.source.text_tokenizer.decode(tokens)) if len(tokens) else ""

    def truth(self, part: ProbePart) -> Float[np.ndarray, "case label"]:
        """Return 1, 0 or NaN (not known) for each case of a part and each label."""
        return np.array(
            [[case.labels.get(name, np.nan) for name in self.names] for case in self.part(part)],
            dtype=np.float64,
        ).reshape(-1, len(self.names))

    def targets(self, part: ProbePart) -> Int[np.ndarray, " case"]:
        """Return the class of each case of a part."""
        return np.array([case.target for case in self.part(part)], dtype=np.int64)


def check_parts(data: ProbeData) -> None:
    """Refuse a task that cannot be judged, or would be judged on what it was trained on.

    Raises:
        InputError: no case in a part; a person, or an image, on both sides.
    """
    persons, images = (
        {part: Counter(read(case) for case in data.part(part)) for part in PARTS}
        for read in (_subject, _case)
    )
    who_of: dict[ProbePart, str] = {"train": "training persons", "test": "persons held out"}
    for part, who in who_of.items():
        if not persons[part]:
            raise InputError(
                f"task {data.name} has no usable image of {who}; give images of more persons, with what the task asks for, or "
                "leave the task out"
            )
    shared = persons["train"].keys() & persons["test"].keys()
    if shared:
        raise InputError(
            f"task {data.name}: {len(shared)} persons are among those that train the probe and those that judge it; give each "
            "person one split"
        )
    twice = images["train"].keys() & images["test"].keys()
    if twice:
        raise InputError(
            f"task {data.name}: {len(twice)} images are both among those that train the probe and those that judge it, under "
            "the names of different persons; take the copies out"
        )


def check_apart(data: ProbeData, images: Collection[str], persons: Collection[str] = ()) -> None:
    """Refuse a task whose cases an encoder has learned from.

    Of the study's own images the training part may have been learned from: the probe learns from it too. What judges never.

    Args:
        images: keys of the images that any judged encoder learned from.
        persons: pseudonyms of the persons, made with the same salt as the task's.

    Raises:
        InputError: says how many images and persons.
    """
    judged = data.part("test") if data.own else data.cases
    seen, known = set(images), set(persons)
    copies = sum(case.case in seen for case in judged)
    same = len({case.subject for case in judged if case.subject in known})
    if copies or same:
        raise InputError(
            f"task {data.name}: encoders learned from {copies} of its {len(judged)} images and from {same} of its persons, so "
            "its scores would not speak of new persons; take them out of the task's images, or out of the encoders'"
        )


def _subject(case: ProbeCase) -> str:
    return case.subject


def _case(case: ProbeCase) -> str:
    return case.case
