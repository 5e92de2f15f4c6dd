"""Names that look like sessions or images of one person: the ways in which they go on behind the person."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

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


def persons_by_names(subjects: Iterable[str]) -> dict[str, str]:
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
