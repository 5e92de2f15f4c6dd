"""ImageTable: which file shows which person, with which report and labels, on which side of the split."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from voxmix.domain import check_domain_name
from voxmix.errors import InputError
from voxmix.volumes.manifest import Manifest, SetAside, Split, VolumeRecord, one_name

_SHOWN = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRecord:
    """One film as a table names it. ``person``, ``names`` and ``report`` may identify: they stay in memory and private lists.

    ``report`` is the text as it was given, "" where there is none; ``labels`` hold what is known, 1 or 0; ``view`` is
    PA, AP, lateral or the like where the table or the header says it; ``names`` are names and numbers of the person as a
    table or header gives them, to be taken out of the report; ``masks`` is column to file.
    """

    path: Path
    domain: str
    person: str
    report: str = ""
    labels: Mapping[str, int] = field(default_factory=dict)
    split: Split = ""
    view: str = ""
    names: tuple[str, ...] = field(default=(), repr=False)
    masks: Mapping[str, Path] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "domain", check_domain_name(self.domain))
        object.__setattr__(self, "person", one_name(self.person))
        if not self.person:
            raise InputError(f"{self.path} has no person; name whom it shows")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageTable:
    """The films of a study in a fixed order (domain, then path), and the rows that were set aside.

    ``notes`` say what was assumed about all of them, without names. ``source`` is the folder or table they came from.

    Raises:
        InputError: no record at all.
    """

    records: tuple[ImageRecord, ...]
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    source: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.records:
            raise InputError("no image is left; give a folder of PNG, JPEG, DICOM or npz files, or a table")
        object.__setattr__(
            self, "records", tuple(sorted(self.records, key=lambda r: (r.domain, str(r.path))))
        )

    def __repr__(self) -> str:
        """Say how much is in it: the records name persons."""
        return f"ImageTable({len(self.records)} images, {self.persons} persons, {self.reports} reports)"

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, sorted."""
        return tuple(sorted({record.domain for record in self.records}))

    @property
    def label_names(self) -> tuple[str, ...]:
        """Every label that any image has, sorted."""
        return tuple(sorted({name for record in self.records for name in record.labels}))

    @property
    def persons(self) -> int:
        """How many persons there are."""
        return len({record.person for record in self.records})

    @property
    def reports(self) -> int:
        """How many images have a report that is not empty."""
        return sum(bool(record.report.strip()) for record in self.records)

    def counts(self) -> dict[str, int]:
        """Return domain to number of images."""
        found = Counter(record.domain for record in self.records)
        return {domain: found[domain] for domain in self.domains}

    def select(self, domains: tuple[str, ...]) -> "ImageTable":
        """Return only the records of the named domains.

        Raises:
            InputError: a name that this table does not have.
        """
        unknown = sorted(set(domains) - set(self.domains))
        if unknown:
            raise InputError(f"no such domain: {unknown}; this table has {list(self.domains)}")
        return replace(self, records=tuple(r for r in self.records if r.domain in domains))

    def split(self, *, seed: int, fraction: float = 0.2) -> "ImageTable":
        """Return the table with every person on one side, placed as :meth:`Manifest.split` places subjects.

        A split that the table gives is kept, and the rest is placed.

        Raises:
            InputError: as :meth:`Manifest.split`.
        """
        people = {(r.domain, r.person): r.split for r in self.records}
        for domain, count in self.counts().items():
            if sum(where == domain for where, _ in people) < 2:
                raise InputError(
                    f"domain {domain} has one person ({count} image{'s' * (count > 1)}): training and validation need at least "
                    f"one each; add a person, or leave the domain out (--exclude {domain})"
                )
        stand_in = Manifest(
            records=tuple(
                VolumeRecord(path=Path(str(number)), domain=domain, subject=person, split=side)
                for number, ((domain, person), side) in enumerate(people.items())
            )
        )
        sides = stand_in.split(seed=seed, fraction=fraction).sides()
        return replace(self, records=tuple(replace(r, split=sides[r.person]) for r in self.records))

    def summary(self) -> tuple[str, ...]:
        """Return what was found, in sentences without a name: images, persons, reports, labels, and what was set aside."""
        domains = ", ".join(f"{domain} {count}" for domain, count in self.counts().items())
        lines = [
            f"{len(self.records)} images of {self.persons} persons in {len(self.domains)} domain{'s' * (len(self.domains) > 1)}: {domains}"
        ]
        lines += self._report_lines()
        lines += self._label_lines()
        views = Counter(record.view or "unknown" for record in self.records)
        if set(views) != {"unknown"}:
            lines.append(
                f"views: {', '.join(f'{view} {count}' for view, count in views.most_common(_SHOWN))}"
            )
        sides = Counter(record.split or "to be placed" for record in self.records)
        if set(sides) != {"to be placed"}:
            lines.append(
                f"split by the table: {', '.join(f'{side} {count}' for side, count in sorted(sides.items()))}"
            )
        for reason, count in Counter(aside.reason for aside in self.set_aside).most_common():
            lines.append(f"set aside {count}: {reason}")
        return (*lines, *self.notes)

    def _report_lines(self) -> list[str]:
        texts = Counter(text for record in self.records if (text := " ".join(record.report.split()).lower()))
        if not texts:
            return ["no reports"]
        repeated = sum(count for count in texts.values() if count > 1)
        line = f"{self.reports} reports, {len(texts)} of them different; {len(self.records) - self.reports} images without"
        if repeated:
            line += f"; {repeated} images share their text with another, the commonest text has {max(texts.values())}"
        if len(texts) == 1 and self.reports > 1:
            line += ". All texts are equal: nothing can be learned from them"
        return [line]

    def _label_lines(self) -> list[str]:
        lines = []
        for name in self.label_names:
            values = Counter(record.labels[name] for record in self.records if name in record.labels)
            lines.append(
                f"label {name}: {values[1]} yes, {values[0]} no, {len(self.records) - sum(values.values())} unknown"
                + ("; one class only" if len(values) == 1 else "")
            )
        return lines or ["no labels"]
