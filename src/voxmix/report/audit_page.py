"""The page of an audit: what was found, then every file as small pictures, then each finding, and where it comes from last.

It shows patients, so it belongs with the data. Files stand under short names of their content; the path of each is not on it.
"""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from voxmix.report.document import write_page
from voxmix.report.layout import Block, PictureRow, Section
from voxmix.report.table import Table, columns_of
from voxmix.volumes.auditing.contact_sheets import Sheeted, draw_sheets

PAGE = "audit.html"
_MOST = 12
"""Kinds of findings that are named before the pictures."""


def write_audit(
    audit: Sheeted,
    folder: Path,
    *,
    noun: str = "volumes",
    caption: str = "Axial, coronal, sagittal middle slices of each file, from its 1st to its 99th percentile",
    paths: str = "voxmix audit --json gives the path of each",
) -> tuple[Path, ...]:
    """Write ``<folder>/<DOMAIN>-<n>.png`` and ``audit.html``, and return their paths, the page last.

    ``noun`` is what was audited, ``caption`` what a picture shows, ``paths`` where the path of a file is said.

    Raises:
        VoxmixError: the disk is full or cannot be written.
    """
    sheets = draw_sheets(audit, folder)
    files = Counter(survey.record.domain for survey in audit.surveys)
    sections = (
        _found(audit, files, noun=noun),
        _pictures(sheets, noun=noun, caption=caption),
        _details(audit),
        Section(
            name="origin",
            title="Where it comes from",
            blocks=(
                Block(
                    bullets=(
                        f"Files stand under short names, the first digits of the digest of their content; {paths}.",
                        *(f"{domain}: {count:,} {noun}" for domain, count in sorted(files.items())),
                    )
                ),
            ),
        ),
    )
    meta = [f"{len(audit.surveys):,} {noun}"]
    write_page(folder / PAGE, "What the audit found", meta, sections, kind="voxmix audit", beside=True)
    return (*(path for drawn in sheets.values() for path in drawn), folder / PAGE)


def write_image_audit(audit: Sheeted, folder: Path) -> tuple[Path, ...]:
    """Write the page of an audit of images, as :func:`write_audit` does."""
    return write_audit(
        audit,
        folder,
        noun="images",
        caption="Each image from its lowest to its highest value",
        paths="the terminal gives the path of each",
    )


def _found(audit: Sheeted, files: Counter[str], *, noun: str) -> Section:
    count = len(audit.findings)
    domains = len({survey.record.domain for survey in audit.surveys if survey.views is not None})
    lead = (
        f"{len(audit.surveys):,} {noun} in {domains} domain{'s' * (domains != 1)}; "
        f"{count:,} finding{'s' * (count != 1)}."
    )
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for finding in audit.findings:
        groups[finding.kind, finding.domain].append(finding)
    names = {survey.name for survey in audit.surveys}
    told = [
        f"{kind}, {domain}: {len(items):,} of {files[domain]:,} {noun}{_why(items, names)}"
        for (kind, domain), items in groups.items()
    ]
    if len(told) > _MOST:
        told = [*told[:_MOST], f"and {len(told) - _MOST} more, in the details"]
    blocks = [Block(lead=lead, bullets=tuple(told))]
    complaints = [complaint for item in audit.fitness for complaint in item.complaints]
    if complaints:
        said = tuple(
            f"{complaint.message}. In a study or recipe file, {complaint.remedy.replace('`', '')}."
            for complaint in complaints
        )
        blocks.append(Block(heading="What preparing would make of it", bullets=said))
    return Section(name="found", title="In short", blocks=tuple(blocks))


def _why(items: list[Any], names: set[str]) -> str:
    """Return what is said of most of some findings, unless it names a file."""
    message, _ = Counter(item.message for item in items).most_common(1)[0]
    return "" if any(name in message for name in names) else f": {message}"


def _pictures(sheets: dict[str, tuple[Path, ...]], *, noun: str, caption: str) -> Section:
    rows = tuple(
        PictureRow(
            domain=domain,
            images=tuple(
                (f"{noun}, sheet {number}", quote(path.name)) for number, path in enumerate(drawn, 1)
            ),
            wide=True,
        )
        for domain, drawn in sheets.items()
    )
    if not rows:
        return Section(name="pictures", title="Pictures", missing="Nothing could be read.")
    told = f"{caption}; orange: has a finding. They show patients: keep the page with the data."
    return Section(name="pictures", title="Pictures", blocks=(Block(sentences=(told,), pictures=rows),))


def _details(audit: Sheeted) -> Section:
    blocks = []
    if audit.findings:
        table = Table(
            name="findings",
            title="Every finding",
            columns=columns_of(("kind", "text"), ("domain", "text"), ("what", "text"), ("file", "text")),
            rows=tuple((f.kind, f.domain, f.message, f.name) for f in audit.findings),
        )
        blocks.append(Block(tables=(table,)))
    measured = [item for item in audit.fitness if item.measured]
    if measured:
        shares = ("padding", "one value", "at 0", "at 1")
        table = Table(
            name="fill",
            title="What preparing makes of it: medians by domain",
            columns=columns_of(
                ("domain", "text"), ("volumes", "count"), *((share, "percent") for share in shares)
            ),
            rows=tuple(
                (item.domain, item.measured, item.padding, item.commonest, item.at_low, item.at_high)
                for item in measured
            ),
            note="The share of padding, and of the voxels that exist the shares of the commonest value, at 0 and at 1.",
        )
        blocks.append(Block(shown=(table,)))
    if not blocks:
        blocks.append(Block(sentences=("There is nothing more to tell.",)))
    return Section(name="details", title="Details", blocks=tuple(blocks))
