"""Prepared images as the cases of a task: which of them it takes, by what it asks for."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from voxmix.domain import check_domain_name
from voxmix.encoder_runs import Item, Source
from voxmix.errors import InputError, did_you_mean
from voxmix.images.class_values import class_columns, class_label, classes_of
from voxmix.probe_tasks import ProbeTask
from voxmix.probes.data import PARTS, Masked, ProbeCase, ProbeData, ProbePart, check_parts


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
        part=_part(item),
        labels=labels or {},
        target=target,
        item=item,
    )


_Read = tuple[list[ProbeCase], list[str], list[str]]


def _judged(
    name: str, asked: Sequence[str], known: Sequence[str], *, what: str, fault: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """Return which labels or masks can be judged, and notes on the others; those that the task names are refused."""
    _refuse_unknown(asked, known, name=name, what=what)
    names, notes = [], []
    for one in asked or known:
        why = fault(one)
        if why and asked:
            raise InputError(f"task {name}: {what} {one} {why}; give more images, or take it out of the task")
        if why:
            notes.append(f"{name}: {what} {one} {why}; it is left out")
        else:
            names.append(one)
    return names, notes


def _labels(task: ProbeTask, name: str, source: Source, items: Sequence[Item]) -> _Read:
    values: defaultdict[tuple[str, ProbePart], set[int]] = defaultdict(set)
    for item in items:
        for label, value in item.labels.items():
            values[label, _part(item)].add(value)

    def fault(label: str) -> str:
        short = [
            f"none {' and none '.join(without)} {_PART_WORDS[part]}"
            for part in PARTS
            if (without := [_WITH[value] for value in (1, 0) if value not in values[label, part]])
        ]
        return (
            f"needs images with it and without it in both parts; there is {', and '.join(short)}"
            if short
            else ""
        )

    known = [label for label in source.label_names if any((label, part) in values for part in PARTS)]
    names, notes = _judged(name, task.labels, known, what="label", fault=fault)
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


_WITH = {1: "with it", 0: "without it"}
_PART_WORDS: dict[ProbePart, str] = {"train": "in training", "test": "among persons held out"}


def _part(item: Item) -> ProbePart:
    return "train" if item.split == "train" else "test"


def _classes(task: ProbeTask, name: str, source: Source, items: Sequence[Item]) -> _Read:
    known = classes_of(source.label_names, task.column)
    if not known:
        columns = class_columns(source.label_names)
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
        own = [one for one in known if item.labels.get(class_label(task.column, one)) == 1]
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
    there = {(mask, _part(item)) for item in items for mask in of[item.key]}

    def fault(mask: str) -> str:
        short = [_PART_WORDS[part] for part in PARTS if (mask, part) not in there]
        return f"is known for no image {' and none '.join(short)}" if short else ""

    names, notes = _judged(name, task.masks, known, what="mask", fault=fault)
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
