"""Proposals: which subjects look like sessions of fewer persons, and the rule to paste that would join them.

A guess by names (:mod:`voxmix.volumes.persons.session_names`): nobody is joined by it.
"""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from voxmix.errors import InputError
from voxmix.volumes.manifest import Manifest
from voxmix.volumes.persons.rules import compile_pattern
from voxmix.volumes.persons.session_names import persons_by_names


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonProposal:
    """Subjects that look like sessions of fewer persons: how many, and the rule that would join them.

    ``pattern`` is a regular expression for :func:`voxmix.volumes.persons.rules.join`; "" where none was found that joins
    these and no others. ``persons`` maps each of the subjects to the person that it seems to show.
    """

    pattern: str
    persons: Mapping[str, str]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many subjects each person has, ascending."""
        return tuple(sorted(Counter(self.persons.values()).values()))

    def words(self, *, remedy: str = "", example: bool = False) -> str:
        """Say what was found and how to join them; with ``example`` two subjects are named (for the terminal only).

        ``remedy`` holds {rule} where the pattern belongs.
        """
        sizes = self.sizes
        each = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
        what = (
            f"{len(self.persons)} subjects look like {len(sizes)} persons with {each} sessions or images each"
        )
        if example:
            first = min(self.persons)
            others = sorted(s for s, who in self.persons.items() if who == self.persons[first])
            what += f", for example {others[0]} and {others[1]}"
        if not self.pattern:
            return f"{what}; if they are, name the persons in the subject column of a table"
        rule = remedy.format(rule=shlex.quote(self.pattern)) if remedy else ""
        return f"{what}; if they are, join them: {rule}" if rule else what


def propose(groups: Iterable[Iterable[str]]) -> PersonProposal | None:
    """Return which subjects look like several of one person, and the rule that joins them; None where none do.

    ``groups`` are the subjects of each domain. Plain numbering (``case_001``, ``liver_12``, ``site2_041``) is none.
    """
    listed = [sorted(set(group)) for group in groups]
    everybody = sorted(set().union(*listed)) if listed else []
    wanted: dict[str, str] = {}
    for group in (*listed, everybody):
        wanted.update(
            {subject: person for subject, person in persons_by_names(group).items() if subject not in wanted}
        )
    if not wanted:
        return None
    counts = Counter(wanted.values())
    wanted = {subject: person for subject, person in wanted.items() if counts[person] > 1}
    return PersonProposal(pattern=_rule(wanted, everybody), persons=wanted)


def propose_persons(manifest: Manifest) -> PersonProposal | None:
    """Return :func:`propose` of the subjects of each domain of a manifest."""
    return propose(manifest.subjects_by_domain().values())


FLAG = "--subject-pattern {rule} (in study.yaml, under data: subject_pattern: {rule})"


def remarks(manifest: Manifest) -> tuple[str, ...]:
    """Return what the terminal says of the persons of a manifest: what was joined, and what looks like it should be."""
    proposal = propose_persons(manifest)
    return (*manifest.notes, *(() if proposal is None else (proposal.words(remedy=FLAG, example=True),)))


def _rule(wanted: Mapping[str, str], everybody: Iterable[str]) -> str:
    """Return a simple pattern that gives exactly these persons and leaves all others as they are, "" if none does."""
    names = {subject.rpartition("/")[2]: person.rpartition("/")[2] for subject, person in wanted.items()}
    exact = {subject: wanted.get(subject, subject) for subject in everybody}
    plain = _merged(names.values())
    ending = _merged(name.removeprefix(person) for name, person in names.items() if name != person)
    candidates = (plain, rf"^(?:{plain})(?=[-_. ])", f"^(?:{plain})", f"^(?:{plain})(?={ending})")
    for pattern in candidates:
        try:
            find = compile_pattern(pattern)
        except InputError:
            continue
        if all((find(subject) or subject) == who for subject, who in exact.items()):
            return pattern
    return ""


def _signature(name: str) -> tuple[str, ...]:
    """Return the kinds of the parts of a name: letters, digits, and each separator as it is."""
    return tuple("a" if part[0].isalpha() else "0" if part.isdigit() else part for part in _parts(name))


def _parts(name: str) -> list[str]:
    return re.findall(r"\d+|[^\W\d_]+|[\W_]", name)


def _merged(names: Iterable[str]) -> str:
    """Return one pattern for names: digits as digits, letters as they are where all names of one kind agree."""
    kinds: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for name in sorted(set(names)):
        kinds[_signature(name)].append(_parts(name))
    merged = ["".join(_column(sorted(set(c))) for c in zip(*rows, strict=True)) for rows in kinds.values()]
    return "|".join(dict.fromkeys(merged))


def _column(parts: list[str]) -> str:
    if parts[0].isdigit():
        return r"\d+"
    return re.escape(parts[0]).replace(r"\-", "-") if len(parts) == 1 else "[A-Za-z]+"
