"""What verbs say of the volumes themselves: blank, padded, saturated, and other findings of the audit."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from voxmix.cli.app import note

if TYPE_CHECKING:
    from voxmix.volumes import Manifest
    from voxmix.volumes.auditing.audit import Finding
    from voxmix.volumes.auditing.fitness import Fitness
    from voxmix.volumes.manifest import SetAside

_SHOWN = 20
_NAMED = 3
FITNESS_HEADERS = ["padding", "one value", "at 0", "at 1"]


def fitness_cells(fitness: "Fitness | None") -> list[str]:
    """Return the medians of one domain under ``FITNESS_HEADERS``."""
    from voxmix.volumes.auditing.fitness import share_text

    if fitness is None:
        return ["-"] * len(FITNESS_HEADERS)
    shares = (fitness.padding, fitness.commonest, fitness.at_low, fitness.at_high)
    return ["-" if share is None else share_text(share) for share in shares]


def complaint_lines(fitness: Iterable["Fitness"], *, where: str = "study.yaml") -> list[str]:
    """Return one sentence per complaint, with the line that fixes it and the file to put it in."""
    return [f"{c.message}. In {where}, {c.remedy}" for item in fitness for c in item.complaints]


def say_fitness(fitness: Iterable["Fitness"], *, where: str = "study.yaml") -> None:
    """Say on stderr what is wrong with the prepared volumes, and how to fix it."""
    for line in complaint_lines(fitness, where=where):
        note(line)


def say_findings(findings: Sequence["Finding"], fitness: Iterable["Fitness"]) -> None:
    """Say on stderr, one line per kind and domain, what is odd beyond what :func:`say_fitness` says by domain."""
    said = {(complaint.kind, item.domain) for item in fitness for complaint in item.complaints}
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if (finding.kind, finding.domain) not in said:
            groups.setdefault((finding.kind, finding.domain), []).append(finding)
    for (kind, domain), found in groups.items():
        first, more = found[0], len(found) - 1
        also = f" (and {more} more: voxmix audit lists all)" if more else ""
        note(f"{kind}, {domain}: {first.path}: {first.message}{also}")


def fitness_value(fitness: Iterable["Fitness"]) -> list[dict[str, Any]]:
    """Return what ``--json`` says of the domains."""
    return [
        {
            "domain": item.domain,
            "volumes": item.volumes,
            "measured": item.measured,
            "padding": item.padding,
            "one_value": item.commonest,
            "at_low": item.at_low,
            "at_high": item.at_high,
            "complaints": [
                {"kind": c.kind, "hopeless": c.hopeless, "message": c.message, "remedy": c.remedy}
                for c in item.complaints
            ],
        }
        for item in fitness
    ]


def counts_of(findings: Sequence["Finding"]) -> dict[str, int]:
    """Return how many findings of each kind."""
    return dict(Counter(finding.kind for finding in findings))


def say_set_aside(found: "Manifest") -> None:
    """Say on stderr which files a manifest leaves out, and why: the first of them; and who may be one person."""
    from voxmix.volumes.persons.proposals import remarks

    for remark in remarks(found):
        note(remark)
    say_aside(found.set_aside)


def say_aside(items: Sequence["SetAside"]) -> None:
    """Name on stderr what was set aside: a few files of one domain and reason each, many in one line."""
    groups: dict[tuple[str, str], list[SetAside]] = {}
    for item in items:
        groups.setdefault((item.domain, item.reason), []).append(item)
    for (domain, reason), found in list(groups.items())[:_SHOWN]:
        said = "not used as a label:" if found[0].is_label else "set aside"
        if len(found) <= _NAMED:
            for item in found:
                note(f"{said} {item.path}: {reason}")
        else:
            note(f"{said} {len(found)} files of {domain}, first {found[0].path}: {reason}")
    if len(groups) > _SHOWN:
        note(f"and {len(groups) - _SHOWN} more reasons to set files aside (all of them in a .json manifest)")
