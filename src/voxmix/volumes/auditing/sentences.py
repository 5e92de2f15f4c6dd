"""What people are told of volumes, in sentences: what was set aside, what is odd, what is wrong with a domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxmix.volumes.auditing.audit import Finding
    from voxmix.volumes.auditing.fitness import Fitness
    from voxmix.volumes.manifest import SetAside

_SHOWN = 20
_NAMED = 3


def complaint_lines(fitness: Iterable[Fitness], *, where: str = "study.yaml") -> list[str]:
    """Return one sentence per complaint, with the line that fixes it and the file to put it in."""
    return [f"{c.message}. In {where}, {c.remedy}" for item in fitness for c in item.complaints]


def finding_lines(findings: Sequence[Finding], fitness: Iterable[Fitness]) -> list[str]:
    """Return one sentence per kind and domain: what is odd beyond what :func:`complaint_lines` says by domain."""
    said = {(complaint.kind, item.domain) for item in fitness for complaint in item.complaints}
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if (finding.kind, finding.domain) not in said:
            groups.setdefault((finding.kind, finding.domain), []).append(finding)
    lines = []
    for (kind, domain), found in groups.items():
        first, more = found[0], len(found) - 1
        also = f" (and {more} more: voxmix audit lists all)" if more else ""
        lines.append(f"{kind}, {domain}: {first.path}: {first.message}{also}")
    return lines


def aside_lines(items: Sequence[SetAside]) -> list[str]:
    """Return what was set aside: a few files of one domain and reason each, many in one line."""
    groups: dict[tuple[str, str], list[SetAside]] = {}
    for item in items:
        groups.setdefault((item.domain, item.reason), []).append(item)
    lines = []
    for (domain, reason), found in list(groups.items())[:_SHOWN]:
        said = "not used as a label:" if found[0].is_label else "set aside"
        if len(found) <= _NAMED:
            lines += [f"{said} {item.path}: {reason}" for item in found]
        else:
            lines.append(f"{said} {len(found)} files of {domain}, first {found[0].path}: {reason}")
    if len(groups) > _SHOWN:
        lines.append(
            f"and {len(groups) - _SHOWN} more reasons to set files aside (all of them in a .json manifest)"
        )
    return lines
