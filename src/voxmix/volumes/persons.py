"""Persons behind subjects: names that tell sessions of one person apart, and the rule that joins them.

A subject is one person. Archives often name sessions instead (``pat08_1``, ``sub-01_ses-2``, ``OAS1_0001_MR2``), and
then one person may be on both sides of the split. Two public standards say what their names mean: those are
joined. Everything else is a guess: it is named with a rule to paste, and nobody is joined without it.
"""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from voxmix.errors import InputError
from voxmix.volumes.manifest import Manifest, VolumeRecord

MAX_PATTERN, MAX_NAME = 300, 100
_MAX_REPEATS = 4
_CLASS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]")
"""An escaped character, or a class of characters: what a repeat inside them looks like is none."""


STANDARDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("BIDS", re.compile(r"(sub-[0-9A-Za-z]+)_ses-[0-9A-Za-z]+(?:_.*)?")),
    ("OASIS", re.compile(r"(OAS\d_?\d{4,5})_(?:MR\d+|[0-9A-Za-z]+_d\d{4})(?:_.*)?")),
)
"""Published ways of naming sessions: the first group is the person."""

_SEP = r"[-_. ]"
_SESSION_WORDS = (
    "ses|sess|session|visit|tp|timepoint|time|day|week|month|year|wk|mo|followup|follow-up|fu|rescan|m"
)
_OTHER_WORDS = (
    "baseline|bl|followup|follow-up|fu|pre|post|preop|postop|before|after|early|late|arterial|venous|portal|delayed|"
    "native|repeat|rescan|retest|left|right|lt|rt|l|r|insp|exp|inspiration|expiration|inhale|exhale|ibhct|ebhct|"
    "ax|axial|sag|sagittal|cor|coronal|contrast|plain|nc|ce|до|после"
)
_MODALITIES = (
    "T1|T1w|T1c|T1ce|T1gd|T1n|T2|T2w|T2f|FLAIR|PD|PDw|DWI|ADC|SWI|CT|CTA|PET|PT|MR|MRI|CBCT|INV1|INV2"
)
_DATE = r"(?:(?:19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d|[0-3]\d[-_.][01]\d[-_.](?:19|20)\d\d)"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """One way in which names go on behind the person: a regular expression, and what asks for more care.

    ``person`` is what the part in front of it must look like; ``most`` bounds the different endings: a person has few
    sessions, a site has many patients.
    """

    ending: str
    person: str = r".*[0-9A-Za-z].*"
    most: int = 1000


_NUMBERED = r"(?!(?:.*[^a-z])?(?:site|center|centre|hospital|scanner|batch|fold|set|dataset|cohort|group|part|class|disc)).*\d"
_ROWS = (
    _Row(ending=rf"{_SEP}?(?:{_SESSION_WORDS}){_SEP}?\d{{1,4}}(?:{_SEP}.*)?", person=r".*\d.*"),
    _Row(ending=rf"{_SEP}(?:{_SESSION_WORDS}){_SEP}?\d{{1,4}}(?:{_SEP}.*)?"),
    _Row(ending=rf"{_SEP}(?:mr|ct|pet|t|v|s|scan|exam|study|acq|run){_SEP}?\d{{1,3}}", person=_NUMBERED),
    _Row(ending=rf"{_SEP}{_DATE}", person=_NUMBERED),
    _Row(ending=rf"{_SEP}i\d{{2,8}}", person=_NUMBERED),
    _Row(ending=rf"{_SEP}(?:{_OTHER_WORDS})\d{{0,2}}"),
    _Row(ending=rf"{_SEP}(?:{_MODALITIES.lower()})"),
    _Row(ending=r"[-_ ]\d{1,3}", person=_NUMBERED, most=12),
    _Row(ending=rf"{_SEP}?[a-flr]", person=_NUMBERED, most=6),
)
_DATE_OR_UID = re.compile(rf"{_DATE}|[\d.]*\.[\d.]*\.[\d.]*\.[\d.]*")
_MODALITY = re.compile(rf"(?:.*{_SEP})?(?:{_MODALITIES.lower()}|3d|2d|\dt)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """Subjects that look like sessions of fewer persons: how many, and the rule that would join them.

    ``pattern`` is a regular expression for :func:`join`; "" where none was found that joins these and no others.
    ``persons`` maps each of the subjects to the person that it seems to show.
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


def join_standards(manifest: Manifest) -> Manifest:
    """Return the manifest with sessions that BIDS and OASIS names tell apart joined to their persons, and a note."""
    persons: dict[str, str] = {}
    notes: list[str] = []
    for standard, pattern in STANDARDS:
        found = {
            record.subject: match[1]
            for record in manifest.records
            if (match := pattern.fullmatch(record.subject))
        }
        if found:
            persons |= found
            notes.append(
                f"{len(found)} subjects are sessions of {len(set(found.values()))} persons by the names of {standard}: "
                "joined to these persons"
            )
    return replace(_renamed(manifest, persons), notes=(*manifest.notes, *notes)) if persons else manifest


def session_names(record: VolumeRecord) -> tuple[str, ...]:
    """Return the names of sessions that a standard joins, in a file's or folder's name: once they were subjects."""
    stem = record.path.name.split(".")[0]
    names = dict.fromkeys((stem, re.sub(r"_\d{4}$", "", stem), record.path.parent.name))
    return tuple(name for name in names if any(pattern.fullmatch(name) for _, pattern in STANDARDS))


def compile_pattern(pattern: str) -> Callable[[str], str | None]:
    """Return the function from a subject to its person: the first group, else the whole match; None without a match.

    What is before the last "/" of a subject (the source, where a manifest has several) is kept.

    Raises:
        InputError: no regular expression, one that may take for ever, or one that matches nothing in particular.
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
            f"{wrong} may take for ever (a repeat within a repeat, or more than {_MAX_REPEATS} repeats); {advice}"
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
            "looked for in their names"
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
    return replace(_renamed(manifest, persons), notes=(*manifest.notes, *notes))


def _renamed(manifest: Manifest, persons: Mapping[str, str]) -> Manifest:
    def renamed(record: VolumeRecord) -> VolumeRecord:
        return replace(record, subject=persons.get(record.subject, record.subject))

    return replace(manifest, records=tuple(map(renamed, manifest.records)))


def propose(groups: Iterable[Iterable[str]]) -> Proposal | None:
    """Return which subjects look like several of one person, and the rule that joins them; None where none do.

    ``groups`` are the subjects of each domain. Plain numbering (``case_001``, ``liver_12``, ``site2_041``) is none.
    """
    listed = [sorted(set(group)) for group in groups]
    everybody = sorted(set().union(*listed)) if listed else []
    wanted: dict[str, str] = {}
    for group in (*listed, everybody):
        wanted.update(
            {subject: person for subject, person in _persons(group).items() if subject not in wanted}
        )
    if not wanted:
        return None
    counts = Counter(wanted.values())
    wanted = {subject: person for subject, person in wanted.items() if counts[person] > 1}
    return Proposal(pattern=_rule(wanted, everybody), persons=wanted)


def propose_persons(manifest: Manifest) -> Proposal | None:
    """Return :func:`propose` of the subjects of each domain of a manifest."""
    return propose(manifest.subjects(domain) for domain in manifest.domains)


FLAG = "--subject-pattern {rule} (in study.yaml, under data: subject_pattern: {rule})"


def remarks(manifest: Manifest) -> tuple[str, ...]:
    """Return what the terminal says of the persons of a manifest: what was joined, and what looks like it should be."""
    proposal = propose_persons(manifest)
    return (*manifest.notes, *(() if proposal is None else (proposal.words(remedy=FLAG, example=True),)))


def _persons(subjects: Iterable[str]) -> dict[str, str]:
    """Return subject to person, of the subjects of persons who have several."""
    person = {subject: subject for subject in subjects}
    for _ in range(3):  # A visit, and in it an image: pat01_2_flair.
        names = sorted(set(person.values()))
        found = next((step for row in _ROWS if (step := _by_row(names, row))), None)
        if not found:
            break
        person = {subject: found.get(name, name) for subject, name in person.items()}
    counts = Counter(person.values())
    return {subject: name for subject, name in person.items() if counts[name] > 1}


def _by_row(names: list[str], row: _Row) -> dict[str, str]:
    """Return name to person as one row of the table sees them; empty where the row does not fit these names."""
    ending = re.compile(rf"(?P<person>.+?)(?P<ending>{row.ending})", re.IGNORECASE)
    person = re.compile(row.person, re.IGNORECASE)
    groups: dict[str, list[str]] = defaultdict(list)
    endings: set[str] = set()
    found: dict[str, str] = {}
    for name in names:
        head, slash, tail = name.rpartition("/")
        match = ending.fullmatch(tail)
        if not match or not person.fullmatch(match["person"]) or _DATE_OR_UID.fullmatch(tail):
            continue
        if _MODALITY.fullmatch(match["person"].lower()):
            continue
        endings.add(match["ending"])
        found[name] = f"{head}{slash}{match['person']}"
        groups[found[name]].append(name)
    for name in names:
        if name in groups and name not in found:  # The first visit has no number: pat01, pat01_2.
            found[name] = name
            groups[name].append(name)
    several = {who for who, members in groups.items() if len(members) > 1}
    few = min(row.most, 2 * len(groups))
    if len(groups) < 2:  # One person alone: only beside others, and where the first visit has the bare name.
        (who,) = groups or ("",)
        if who not in names or len(names) <= len(groups[who]) or not re.search(r"\d", who):
            return {}
    if not several or (row.most < 1000 and len(endings) > few):
        return {}
    return {name: who for name, who in found.items() if who in several}


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
