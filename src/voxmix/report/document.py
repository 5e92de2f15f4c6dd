"""The report as one HTML file that needs nothing else: no network; of scripts only those of figures and of the panel."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from voxmix import __version__
from voxmix._io import naming_full_disk, write_text
from voxmix.report import words
from voxmix.report.content import ReportContent
from voxmix.report.encoder_content import EncoderReportContent
from voxmix.report.layout import Section
from voxmix.report.table import Table, to_csv

if TYPE_CHECKING:
    from voxmix.report.svg import Drawing  # which imports matplotlib

_KIND = "voxmix report"
_MOST_ROWS = 500
"""Most rows of a table that the page shows; its CSV holds all."""
_SCALE = 1.4
_SMALLEST = 1.1
_FIGURES = ("figures.js",)
_PANELS = {
    "mixtures": ("panel.js", "what_if_solver.js", "what_if.js"),
    "scores": ("panel.js", "what_if_scores.js"),
}


def write_report(content: ReportContent, path: Path) -> None:
    """Write the report of a study: one self-contained HTML file, atomically.

    The same content gives the same bytes.

    Raises:
        VoxmixError: the disk is full or may not be written to.
    """
    _write(render_report(content), path)


def render_report(content: ReportContent) -> str:
    """Return the HTML of the report."""
    from voxmix.report.sections import all_sections  # which imports matplotlib

    meta = [
        f"{len(content.domain_names)} domains" if content.domain_names else "",
        f"{len(content.runs)} runs" if content.runs else "",
        content.made,
    ]
    return _render(content.study, meta, all_sections(content))


def write_studies_report(studies: Mapping[str, ReportContent], path: Path, *, made: str = "") -> None:
    """Write one page of several mixture studies by their labels, as :func:`write_report` does.

    Raises:
        InputError: fewer than two studies, or studies without a domain in common.
        VoxmixError: the disk is full or may not be written to.
    """
    _write(render_studies_report(studies, made=made), path)


def render_studies_report(studies: Mapping[str, ReportContent], *, made: str = "") -> str:
    """Return the HTML of a page of several mixture studies."""
    from voxmix.report.studies import studies_sections

    return _render(words.listing(list(studies)), [f"{len(studies)} studies", made], studies_sections(studies))


def write_encoder_report(content: EncoderReportContent, path: Path) -> None:
    """Write the report of an encoder study, as :func:`write_report` does.

    Raises:
        VoxmixError: the disk is full or may not be written to.
    """
    _write(render_encoder_report(content), path)


def render_encoder_report(content: EncoderReportContent) -> str:
    """Return the HTML of the report of an encoder study."""
    from voxmix.report.encoder_sections import encoder_sections

    done = sum(run.done for run in content.runs)
    meta = [
        ", ".join(f"{name} {count:,} images" for name, count in content.domains.items()),
        f"{done:,} runs" if done else "",
        content.made,
    ]
    return _render(content.study, meta, encoder_sections(content))


def write_page(
    path: Path,
    title: str,
    meta: Sequence[str],
    sections: Sequence[Section],
    *,
    kind: str = _KIND,
    beside: bool = False,
) -> None:
    """Write a page of sections in the same look; ``beside`` lets it show pictures that lie beside it.

    Raises:
        VoxmixError: the disk is full or may not be written to.
    """
    _write(_render(title, meta, sections, kind=kind, beside=beside), path)


def _write(text: str, path: Path) -> None:
    with naming_full_disk(path.parent):
        write_text(path, text)


def _render(
    title: str, meta: Sequence[str], sections: Sequence[Section], *, kind: str = _KIND, beside: bool = False
) -> str:
    environment = Environment(
        loader=PackageLoader("voxmix.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["most_rows"] = _MOST_ROWS
    environment.filters["svg"] = lambda drawing: Markup(drawing.svg)
    environment.filters["size"] = _size
    environment.filters["values"] = _values
    environment.filters["csv_link"] = _csv_link
    environment.filters["inert_json"] = _inert_json
    drawn = any(block.drawings for section in sections for block in section.blocks)
    kinds = {section.panel.kind for section in sections if section.panel is not None}
    names = (*(_FIGURES if drawn else ()), *(name for kind in kinds for name in _PANELS[kind]))
    style, *scripts = (
        environment.loader.get_source(environment, name)[0]  # type: ignore[union-attr]
        for name in ("style.css", *names)
    )
    script = _bare("\n".join(scripts))
    text = environment.get_template("template.html.j2").render(
        title=title,
        kind=kind,
        beside=beside,
        meta=[part for part in meta if part],
        sections=sections,
        style=Markup(style),
        script=Markup(script),
        digest=b64encode(sha256(script.encode()).digest()).decode(),
        version=__version__,
    )
    return text + "\n"


def _bare(script: str) -> str:
    """Return a script without indents, without comments, and without line breaks where a line says that it goes on."""
    lines = (line.strip() for line in script.splitlines())
    kept = (re.sub(r" {2}// .*$", "", line) for line in lines if line and not line.startswith("// "))
    return re.sub(r"(?<=[{,;])\n", "", "\n".join(kept))


def _inert_json(value: Mapping[str, Any]) -> Markup:
    """Return data as JSON that no text in it can end: as content of a script element of that type."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _size(drawing: "Drawing") -> Markup:
    """Return the style of a drawing: no wider than looks right and never so small that it cannot be read."""
    width, least = drawing.width * _SCALE, drawing.width * _SMALLEST
    return Markup(f' style="max-width:{width:.0f}px;min-width:{least:.0f}px"')


def _values(drawing: "Drawing") -> dict[str, Any]:
    """Return what the page's script is told of a drawing."""
    return {
        "name": drawing.name,
        "title": drawing.title,
        "width": drawing.width,
        "height": drawing.height,
        "series": drawing.series,
        "told": [(*item.box, item.series, item.text) for item in drawing.told],
        "csv": to_csv(drawing.values),
    }


def _csv_link(table: Table) -> str:
    """Return a ``data:`` URI of the table as CSV."""
    return "data:text/csv;charset=utf-8," + quote(to_csv(table), safe="/,:;()+*=?!@$")
