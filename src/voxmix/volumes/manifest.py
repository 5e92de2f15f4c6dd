"""Manifest: which file shows which subject in which domain, and on which side of the split."""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Literal

from voxmix._io import name_fault
from voxmix.domain import check_domain_name
from voxmix.errors import InputError

Split = Literal["train", "validation", ""]
SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeRecord:
    """One image file (or folder of one DICOM series), and its label map if there is one.

    ``subject`` is one person, whatever the domain: records of one subject always lie on one side of
    the split. It is kept as :func:`one_name` spells it. ``split`` is "" until :meth:`Manifest.split`. ``volume`` chooses one of a 4D file, from 0,
    ``label_volume`` one of a 4D label map (several readers, several structures). ``series`` chooses one DICOM series of a folder by :func:`voxmix.volumes.reading.dicom.series.series_name`. ``affine`` (16
    numbers, row by row, voxel index to RAS mm) stands in for a header's that is wrong. ``category`` is the class
    of the subject for classification, "" where none is known.
    """

    path: Path
    domain: str
    subject: str
    split: Split = ""
    label: Path | None = None
    label_volume: int | None = None
    volume: int | None = None
    affine: tuple[float, ...] | None = None
    series: str = ""
    category: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "domain", check_domain_name(self.domain))
        object.__setattr__(self, "subject", one_name(self.subject))
        if not self.subject:
            raise InputError(f"{self.path} has no subject; name the person or animal it shows")
        for name, chosen in (("volume", self.volume), ("label_volume", self.label_volume)):
            if chosen is not None and chosen < 0:
                raise InputError(f"{self.path} has {name} {chosen}; volumes of a 4D file count from 0")
        if self.affine is not None and (len(self.affine) != 16 or not all(map(isfinite, self.affine))):
            raise InputError(f"{self.path} has an affine that is not 16 finite numbers")


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAside:
    """A file that is not used, and why. The job goes on without it.

    ``reason`` never holds a path or a header's text, so it may be written to files. ``path`` is for
    the terminal only.
    """

    path: Path
    domain: str
    reason: str
    digest: str = ""

    @property
    def is_label(self) -> bool:
        """Whether the file is a label map or the like by its place or name: no scan was lost."""
        return self.reason.startswith(("label map", "probability map", "no such label"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The volumes of a study, in a fixed order (domain, then path), and the files that were set aside.

    A file whose name fits into no table is set aside here, before any work is done on it. ``notes`` say what was
    assumed about all of them, without names.

    Raises:
        InputError: no record at all, or one file that occurs twice.
    """

    records: tuple[VolumeRecord, ...]
    set_aside: tuple[SetAside, ...] = field(default=())
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.records:
            raise InputError("no volumes found; give a folder with a folder per domain, or a CSV")
        records, misnamed = _with_good_names(self.records)
        if not records:
            raise InputError(
                f"no volume is left: of {len(misnamed)}, the first is set aside because {misnamed[0].reason}"
            )
        object.__setattr__(self, "set_aside", (*self.set_aside, *misnamed))
        files = Counter((record.path, record.series, record.volume) for record in records)
        for (path, _, _), count in files.items():
            if count > 1:
                raise InputError(f"{path} occurs {count} times; list every volume once")
        ordered = tuple(sorted(records, key=lambda r: (r.domain, str(r.path), r.series, r.volume or 0)))
        object.__setattr__(self, "records", ordered)

    def __repr__(self) -> str:
        """Say how many volumes of which domains: the records themselves would fill pages."""
        counts = ", ".join(f"{domain} {count}" for domain, count in self.counts().items())
        aside = f"; {len(self.set_aside)} set aside" if self.set_aside else ""
        return f"Manifest({len(self.records)} volumes: {counts}{aside})"

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, sorted."""
        return tuple(sorted({record.domain for record in self.records}))

    def subjects(self, domain: str) -> tuple[str, ...]:
        """Subjects of one domain, sorted, each once."""
        return tuple(sorted({record.subject for record in self.records if record.domain == domain}))

    def subjects_by_domain(self) -> dict[str, tuple[str, ...]]:
        """Return every domain to its subjects, both sorted."""
        found: dict[str, set[str]] = defaultdict(set)
        for record in self.records:
            found[record.domain].add(record.subject)
        return {domain: tuple(sorted(found[domain])) for domain in sorted(found)}

    def counts(self, split: Split | None = None) -> dict[str, int]:
        """Return domain to number of volumes, of one side or (None) of all."""
        chosen = Counter(r.domain for r in self.records if split is None or r.split == split)
        return {domain: chosen[domain] for domain in self.domains}

    def select(self, domains: Iterable[str]) -> "Manifest":
        """Return only the records of the named domains.

        Raises:
            InputError: a name that this manifest does not have.
        """
        wanted = {unicodedata.normalize("NFC", name) for name in domains}
        unknown = sorted(wanted - set(self.domains))
        if unknown:
            raise InputError(f"no such domain: {unknown}; this manifest has {list(self.domains)}")
        return Manifest(
            records=tuple(r for r in self.records if r.domain in wanted),
            set_aside=tuple(s for s in self.set_aside if s.domain in wanted),
            notes=self.notes,
        )

    def split(self, *, seed: int, fraction: float = 0.2, like: "Manifest | None" = None) -> "Manifest":
        """Return the manifest with every subject on one side, in all its domains.

        A subject goes to validation when ``u(seed, subject) < fraction``, where u is the first 64 bits
        of SHA-256 read as a number in [0, 1): adding files never moves a subject that was placed so, and
        manifests of pretraining and of downstream tasks agree on every subject that both have.
        A domain that this leaves without validation gets its subject of smallest u, one left without
        training loses its subject of largest u, smallest domains first, as long as no other domain is
        emptied by the move. A split that records have is kept as it is, and the rest placed. Subjects that ``like`` has keep the
        side they have there, whatever else is added: an earlier manifest of the same data, or that of
        pretraining for a downstream task.

        Raises:
            InputError: the fraction is not between 0 and 1; a domain has fewer than two subjects; a
                given split has a subject on both sides or a side empty, or is not that of ``like``; no split
                exists.
        """
        if not 0 < fraction < 1:
            raise InputError(f"fraction must lie between 0 and 1, got {fraction}; 0.2 is a fifth")
        for domain, subjects in self.subjects_by_domain().items():
            if len(subjects) < 2:
                raise InputError(
                    f"domain {domain} has one subject ({self.counts()[domain]} volumes): training and "
                    "validation need at least one each; add a subject or leave the domain out"
                )
        known, given = {} if like is None else like.sides(), self.sides()
        torn = sorted(s for s in given if known.get(s, given[s]) != given[s])
        if torn:
            raise InputError(
                f"{len(torn)} subjects are on different sides here and in the manifest to follow, first "
                f"{torn[0]!r}; remove the split from one of the two"
            )
        known |= given
        validation = self._choose_validation(seed, fraction, known)
        placed = tuple(
            replace(record, split="validation" if record.subject in validation else "train")
            for record in self.records
        )
        return replace(self, records=placed)._checked()

    def sides(self) -> dict[str, Split]:
        """Return subject to side, of the subjects that have one.

        Raises:
            InputError: a subject is on both.
        """
        sides: dict[str, Split] = {}
        for record in self.records:
            if record.split and sides.setdefault(record.subject, record.split) != record.split:
                raise InputError(
                    f"subject {record.subject!r} is in training and in validation ({record.domain}); "
                    "put all volumes of one subject on one side"
                )
        return sides

    def _choose_validation(self, seed: int, fraction: float, known: dict[str, Split]) -> frozenset[str]:
        place = {record.subject: _uniform(seed, record.subject) for record in self.records}
        validation = {
            subject
            for subject, u in place.items()
            if known.get(subject, "validation" if u < fraction else "train") == "validation"
        }
        members = {domain: set(subjects) for domain, subjects in self.subjects_by_domain().items()}

        def moves_well(subject: str, *, out_of: set[str]) -> bool:
            return subject not in known and all(
                len(group & out_of) > 1 for group in members.values() if subject in group
            )

        for domain in sorted(members, key=lambda name: (len(members[name]), name)):
            group = members[domain]
            if not group & validation:
                training = set(place) - validation
                able = [s for s in group if moves_well(s, out_of=training)]
                validation |= set(sorted(able, key=lambda s: place[s])[:1])
            elif not group - validation:
                able = [s for s in group if moves_well(s, out_of=validation)]
                validation -= set(sorted(able, key=lambda s: -place[s])[:1])
        return frozenset(validation)

    def _checked(self) -> "Manifest":
        self.sides()
        for side in SPLITS:
            empty = [domain for domain, count in self.counts(side).items() if count == 0]
            if empty:
                raise InputError(
                    f"domain {empty[0]} has no {side} subject; add subjects to it or leave it out"
                )
        return self


def one_name(name: str) -> str:
    """Return a name in its one spelling: composed letters, plain spaces and none around it, no invisible characters.

    >>> one_name("Mu\u0308ller\u00a0") == "M\u00fcller"
    True
    """
    composed = unicodedata.normalize("NFC", re.sub(r"[^\S ]+", " ", name))
    return "".join(c for c in composed if unicodedata.category(c) != "Cf").strip()


def _uniform(seed: int, subject: str) -> float:
    return int.from_bytes(hashlib.sha256(f"{seed}:{subject}".encode()).digest()[:8]) / 2**64


def _with_good_names(records: tuple[VolumeRecord, ...]) -> tuple[list[VolumeRecord], list[SetAside]]:
    """Return the records that can be written down, and the files that cannot, by their names."""
    kept: list[VolumeRecord] = []
    aside: list[SetAside] = []
    for record in records:
        fault = name_fault(str(record.path))
        reason = f"its name, or that of a folder above it, {fault}; rename it"
        if not fault and (fault := name_fault(record.subject)):
            reason = f"the name of its subject {fault}; give another"
        if fault:
            aside.append(SetAside(path=record.path, domain=record.domain, reason=reason))
            continue
        if record.label is not None and (fault := name_fault(str(record.label))):
            reason = f"label map: its name, or that of a folder above it, {fault}; rename it"
            aside.append(SetAside(path=record.label, domain=record.domain, reason=reason))
            record = replace(record, label=None)
        kept.append(record)
    return kept, aside
