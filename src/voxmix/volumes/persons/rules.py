"""Persons behind subjects: the rule that the user gives joins their sessions.

A subject is one person. Archives often name sessions instead (``pat08_1``, ``sub-01_ses-2``, ``OAS1_0001_MR2``), and
then one person may be on both sides of the split. Published standards say what their names mean: those are joined
(:mod:`voxmix.datasets.sessions`). Everything else is a guess (:mod:`voxmix.volumes.persons.proposals`): it is named with a
rule to paste, and nobody is joined without it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from voxmix.errors import InputError
from voxmix.volumes.manifest import Manifest, VolumeRecord

MAX_PATTERN, MAX_NAME = 300, 100
_MAX_REPEATS = 4
_CLASS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]")
"""An escaped character, or a class of characters: what a repeat inside them looks like is none."""


def compile_pattern(pattern: str) -> Callable[[str], str | None]:
    """Return the function from a subject to its person: the first group, else the whole match; None without a match.

    What is before the last "/" of a subject (the source, where a manifest has several) is kept.

    Raises:
        InputError: no regular expression, one that may take forever, or one that matches nothing in particular.
    """
    wrong = f"subject pattern '{pattern}'"
    advice = r"give a regular expression that matches the person in a subject's name, such as 'sub-\d+'"
    if not pattern or len(pattern) > MAX_PATTERN:
        raise InputError(f"{wrong} is empty or longer than {MAX_PATTERN} characters; {advice}")
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"{wrong} is no regular expression ({error}); {advice}") from None
    if compiled.match(""):
        raise InputError(f"{wrong} matches an empty name; {advice}")
    if _takes_for_ever(pattern):
        raise InputError(
            f"{wrong} may take forever (a repeat within a repeat, or more than {_MAX_REPEATS} repeats); {advice}"
        )

    def person(subject: str) -> str | None:
        head, slash, name = subject.rpartition("/")
        match = (
            compiled.search(name) if len(name) <= MAX_NAME else None
        )  # A slow pattern gets short names only.
        if match is None:
            return None
        found = next((group for group in match.groups() if group), match[0]) if compiled.groups else match[0]
        return f"{head}{slash}{found}" if found.strip() else None

    return person


def _takes_for_ever(pattern: str) -> bool:
    """Return whether a group that is repeated holds a choice or a repeat, or one alternative has many repeats."""
    bare = _CLASS.sub("x", pattern)
    groups = [False]  # Whether each open group holds a choice or a repeat.
    repeats = 0
    for place, character in enumerate(bare):
        before, after = bare[place - 1 : place], bare[place + 1 : place + 2]
        if character == "(":
            groups.append(False)
        elif character == ")" and len(groups) > 1:
            busy = groups.pop()
            if busy and after and after in "*+{":
                return True
            groups[-1] |= busy
        elif character == "|":
            groups[-1] = True
            repeats *= len(groups) > 1
        elif character in "*+{" or (character == "?" and before not in ("(", "*", "+", "}")):
            groups[-1] = True
            repeats += character != "?"
        if repeats > _MAX_REPEATS:
            return True
    return re.search(r"\\[1-9]|\(\?P=", pattern) is not None


def join(manifest: Manifest, pattern: str, *, missing_ok: bool = False) -> Manifest:
    """Return the manifest with the subjects that a pattern matches called by what it finds in them.

    Sessions that become one person and are on both sides of a split are found by the audit, and refused by
    :meth:`Manifest.split`.

    Raises:
        InputError: as :func:`compile_pattern`; no subject matches (unless ``missing_ok``), or all become one person.
    """
    person = compile_pattern(pattern)
    subjects = {record.subject for record in manifest.records}
    persons = {subject: found for subject in subjects if (found := person(subject)) is not None}
    if not persons and missing_ok:
        return manifest
    if not persons:
        raise InputError(
            f"subject pattern '{pattern}' matches none of {len(subjects)} subjects, such as {min(subjects)!r}; it is "
            "searched in their names"
        )
    joined = {persons.get(subject, subject) for subject in subjects}
    if len(joined) == 1 and len(subjects) > 1:
        raise InputError(
            f"subject pattern '{pattern}' makes one person of all {len(subjects)} subjects, {joined.pop()!r}; match what "
            "differs from person to person"
        )
    notes = [
        f"{len(subjects)} subjects are {len(joined)} persons by the pattern '{pattern}'"
        + (
            f"; {len(subjects) - len(persons)} do not match and stay as they are"
            * (len(persons) < len(subjects))
        )
    ]
    return replace(with_persons(manifest, persons), notes=(*manifest.notes, *notes))


def with_persons(manifest: Manifest, persons: Mapping[str, str]) -> Manifest:
    """Return the manifest with subjects called by their persons; those of no person stay as they are."""

    def renamed(record: VolumeRecord) -> VolumeRecord:
        return replace(record, subject=persons.get(record.subject, record.subject))

    return replace(manifest, records=tuple(map(renamed, manifest.records)))
