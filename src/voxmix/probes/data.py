"""The cases of a task for frozen encoders: who trains the probe, who judges it, and what is true of each."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float16, Int

from voxmix._io import digest
from voxmix.domain import check_domain_name
from voxmix.encoder_runs import Item, Source
from voxmix.errors import InputError, did_you_mean
from voxmix.probe_tasks import ProbeTask

ProbePart = Literal["train", "test"]
PARTS: tuple[ProbePart, ...] = ("train", "test")
_SEPARATOR = ": "
"""Between a column and a class in the names of labels that a column of classes gives."""


@runtime_checkable
class Masked(Protocol):
    """A source of images that have masks."""

    def masks(self, item: Any) -> Mapping[str, Bool[np.ndarray, "*edge"]]:
        """Return mask to where it is, of those that are known for an item."""


class Images(Protocol):
    """Where pixels come from: a part of :class:`~voxmix.encoder_runs.Source`."""

    @property
    def axes(self) -> int: ...

    def array(self, item: Any) -> Float16[np.ndarray, "*edge"]: ...


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


def probe_data(task: ProbeTask, name: str, source: Source) -> ProbeData:
    """Return the cases of a task from prepared images: those of training persons train the probe, the others judge it.

    An image is left out where nothing is known that the task asks for; how many are is said in the notes.

    Raises:
        InputError: a label, class, mask or domain that no image has; a label or class that all or none of the images of one
            part have; no image of a person held out; a person, or an image, in both parts; no reports where they are needed.
    """
    check_domain_name(name)
    items = _of_domains(task, name, source.items)
    cases, names, notes = _READERS[task.kind](task, name, source, items)
    left = len(items) - len(cases)
    if left:
        notes = [*notes, f"{name}: {left} of {len(items)} images are left out: {_UNKNOWN[task.kind]}"]
    found = ProbeData(
        task=task,
        name=name,
        cases=tuple(cases),
        names=tuple(names),
        axes=source.axes,
        notes=tuple(notes),
        own=task.images is None or task.carried,
        source=source,
    )
    check_parts(found)
    return found


_UNKNOWN = {
    "labels": "none of the task's labels is known for them",
    "classes": "their class is not known",
    "masks": "none of the task's masks is known for them",
    "retrieval": "they have no report",
    "reports": "they have no report",
}


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


def _of_domains(task: ProbeTask, name: str, items: Sequence[Item]) -> list[Item]:
    known = sorted({item.domain for item in items})
    _refuse_unknown(task.domains, known, name=name, what="domain")
    home = task.carried  # of a head that is carried, domains speak of the other center alone
    return [
        item
        for item in items
        if not task.domains or item.domain in task.domains or (home and item.split == "train")
    ]


def _refuse_unknown(asked: Iterable[str], known: Sequence[str], *, name: str, what: str) -> None:
    for one in asked:
        if one not in known:
            hint = did_you_mean(one, known, what=f"there are: {', '.join(known) or 'none'}; ")
            raise InputError(f"task {name}: no image has the {what} {one!r}; {hint.rstrip('; ')}")


def _made(item: Item, labels: Mapping[str, int] | None = None, target: int | None = None) -> ProbeCase:
    return ProbeCase(
        case=item.key,
        subject=item.person,
        domain=item.domain,
        part="train" if item.split == "train" else "test",
        labels=labels or {},
        target=target,
        item=item,
    )


_Read = tuple[list[ProbeCase], list[str], list[str]]


def _labels(task: ProbeTask, name: str, source: Source, items: Sequence[Item]) -> _Read:
    known = [label for label in source.label_names if any(label in item.labels for item in items)]
    _refuse_unknown(task.labels, known, name=name, what="label")
    names, notes = [], []
    for label in task.labels or known:
        short = [
            f"{_PART_WORDS[part]} {sorted(found) or 'none'}"
            for part in PARTS
            if len(
                found := {
                    item.labels[label] for item in items if label in item.labels and _part(item) == part
                }
            )
            < 2
        ]
        if not short:
            names.append(label)
            continue
        why = f"label {label} needs images with it and without it in both parts, found {' and '.join(short)}"
        if task.labels:
            raise InputError(f"task {name}: {why}; give more images, or take the label out of the task")
        notes.append(f"{name}: {why}; it is left out")
    if not names:
        raise InputError(
            f"task {name}: no label is known to be present and absent both among training persons and among persons held out; "
            "give more images with labels"
        )
    chosen = set(names)
    cases = [
        _made(item, labels={label: value for label, value in item.labels.items() if label in chosen})
        for item in items
        if chosen & item.labels.keys()
    ]
    return cases, names, notes


_PART_WORDS: dict[ProbePart, str] = {"train": "in training", "test": "among persons held out"}


def _part(item: Item) -> ProbePart:
    return "train" if item.split == "train" else "test"


def _classes(task: ProbeTask, name: str, source: Source, items: Sequence[Item]) -> _Read:
    head = task.column + _SEPARATOR
    known = [label.removeprefix(head) for label in source.label_names if label.startswith(head)]
    if not known:
        columns = sorted({label.split(_SEPARATOR)[0] for label in source.label_names if _SEPARATOR in label})
        raise InputError(
            f"task {name}: the images have no column of classes {task.column!r}; "
            + (
                did_you_mean(task.column, columns, what="the columns are ")
                if columns
                else "name it in data.classes and prepare"
            )
        )
    class_of: dict[str, str] = {}
    for item in items:
        own = [one for one in known if item.labels.get(head + one) == 1]
        if len(own) == 1:
            class_of[item.key] = own[0]
    there = {
        part: {class_of[item.key] for item in items if item.key in class_of and _part(item) == part}
        for part in PARTS
    }
    names = [one for one in known if one in there["train"]]
    unlearned = sorted(there["test"] - there["train"])
    notes = [
        f"{name}: no training person has the class {one!r}; images of it are left out" for one in unlearned
    ]
    for part in PARTS:
        both = there[part] & set(names)
        if len(both) < 2:
            raise InputError(
                f"task {name}: column {task.column} needs images of two classes or more {_PART_WORDS[part]}, found "
                f"{sorted(both) or 'none'}; give more images, or leave the task out"
            )
    cases = [
        _made(item, target=names.index(class_of[item.key]))
        for item in items
        if class_of.get(item.key) in names
    ]
    return cases, names, notes


def _masks(task: ProbeTask, name: str, source: Source, items: Sequence[Item]) -> _Read:
    of = {item.key: frozenset(getattr(item, "masks", ())) for item in items}
    known = sorted({mask for own in of.values() for mask in own})
    if not known or not isinstance(source, Masked):
        raise InputError(
            f"task {name}: the images have no masks; give a table with a column that ends in mask, and prepare again"
        )
    _refuse_unknown(task.masks, known, name=name, what="mask")
    names, notes = [], []
    for mask in task.masks or known:
        short = [
            _PART_WORDS[part]
            for part in PARTS
            if not any(mask in of[i.key] for i in items if _part(i) == part)
        ]
        if not short:
            names.append(mask)
            continue
        why = f"mask {mask} is known for no image {' and none '.join(short)}"
        if task.masks:
            raise InputError(f"task {name}: {why}; give more masks, or take it out of the task")
        notes.append(f"{name}: {why}; it is left out")
    if not names:
        raise InputError(
            f"task {name}: no mask is known both in training and among persons held out; give more images with masks"
        )
    return [_made(item) for item in items if of[item.key] & set(names)], names, notes


def _texts(task: ProbeTask, name: str, source: Source, items: Sequence[Item]) -> _Read:
    if not source.tokenizer:
        raise InputError(
            f"task {name}: the images have no reports; give a table with a column of reports, or leave the task out"
        )
    return [_made(item) for item in items if item.has_text], [], []


_READERS = {"labels": _labels, "classes": _classes, "masks": _masks, "retrieval": _texts, "reports": _texts}
