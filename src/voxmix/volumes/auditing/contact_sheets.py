"""Contact sheets: every file of an audit as three small slices, to be looked at next to the findings.

They show patients, so they belong with the data. Files are listed under the short names of their content; which path
that is, the terminal and ``--json`` say.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from voxmix._io import naming_full_disk, write_text
from voxmix.volumes.auditing.file_survey import TILE
from voxmix.volumes.auditing.fitness import Fitness, share_text

PAGE = "audit.html"
_FEW = 5
_ACROSS, _DOWN = 4, 12
_CAPTION = 14
_GAP = 4
_FLAGGED = (230, 120, 20)
_TEXT = (200, 200, 200)

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>voxmix audit</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; }
th { border-bottom: 1px solid; } code { font-size: .9em; } img { max-width: 100%; display: block; margin: .5rem 0 1.5rem; }
.note { opacity: .75; } .group td { border-top: 1px solid #8884; } .number { text-align: right; } td:not(:last-child) { white-space: nowrap; }
@media (max-width: 45rem) {
  body { margin: 1rem auto; } th, td { padding-right: .4rem; }
  .findings tr, .findings td { display: block; } .findings th, .findings td:empty { display: none; }
  .findings .group td { border-top: 0; } .findings tr.group { border-top: 1px solid #8884; } .findings td { overflow-wrap: anywhere; }
}
</style></head><body>
<h1>What the audit found</h1>
<p>{{ files }} {{ noun }} in {{ domains | length }} domain{{ 's' if domains | length > 1 }}; {{ count }} finding{{ 's' if count != 1 }}.
<span class="note">These pictures show patients: keep the page with the data. Files are listed under short names of their
content; {{ paths }}.</span></p>
{% if fitness %}<h2>What preparing makes of it</h2>
<p class="note">Medians by domain: the share of padding, and of the voxels that exist the shares of the commonest value, at 0
and at 1.</p>
<table><tr><th>domain</th><th>volumes</th><th>padding</th><th>one value</th><th>at 0</th><th>at 1</th></tr>
{% for f in fitness %}<tr><td>{{ f.domain }}</td><td class="number">{{ f.measured }}</td>{% for share in f.shares %}<td class="number">{{ share }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% for f in fitness %}{% for c in f.complaints %}<p>{{ c.message }}.
<br>In a study or recipe file, {% for part in c.remedy.split("`") %}{% if loop.index0 % 2 %}<code>{{ part }}</code>{% else %}{{ part }}{% endif %}{% endfor %}.</p>
{% endfor %}{% endfor %}{% endif %}
{% if groups %}<h2>Findings</h2>
<table class="findings"><tr><th>kind</th><th>domain</th><th>{{ noun }}</th><th>file</th><th>what</th></tr>
{% for g in groups %}{% for f in g.first %}<tr{% if loop.first %} class="group"{% endif %}>
<td>{% if loop.first %}{{ g.kind }}{% endif %}</td><td>{% if loop.first %}{{ g.domain }}{% endif %}</td>
<td>{% if loop.first %}{{ g.count }} of {{ g.volumes }}{% endif %}</td><td><code>{{ f.name }}</code></td><td>{{ f.message }}</td></tr>
{% endfor %}{% if g.more %}<tr><td></td><td></td><td></td><td></td><td class="note">and {{ g.more }} more</td></tr>{% endif %}
{% endfor %}</table>{% endif %}
{% for domain, pages in domains.items() %}<h2>{{ domain }}</h2>
<p class="note">{{ caption }}; orange: has a finding.</p>
{% for page in pages %}<img src="{{ page | urlencode }}" alt="{{ noun }} of {{ domain }}" loading="lazy">{% endfor %}
{% endfor %}</body></html>
"""


@runtime_checkable
class Sheeted(Protocol):
    """An audit that can be shown: its findings, and surveys with a ``record`` of a domain, a ``name`` and ``views``."""

    @property
    def findings(self) -> Sequence[Any]: ...

    @property
    def surveys(self) -> Sequence[Any]: ...

    @property
    def fitness(self) -> Sequence[Fitness]: ...


def write_sheets(
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
    from jinja2 import Environment
    from PIL import Image

    flagged = _flagged(audit.findings)
    pages: dict[str, list[str]] = defaultdict(list)
    written: list[Path] = []
    with naming_full_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        by_domain: dict[str, list[Any]] = defaultdict(list)
        for survey in audit.surveys:
            if survey.views is not None:
                by_domain[survey.record.domain].append(survey)
        for domain, shown in sorted(by_domain.items()):
            page = _across(shown) * _DOWN
            for number, start in enumerate(range(0, len(shown), page), start=1):
                path = folder / f"{domain}-{number}.png"
                Image.fromarray(_sheet(shown[start : start + page], flagged)).save(path)
                pages[domain].append(path.name)
                written.append(path)
        html = Environment(autoescape=True).from_string(_TEMPLATE)
        write_text(
            folder / PAGE,
            html.render(
                files=len(audit.surveys),
                noun=noun,
                caption=caption,
                paths=paths,
                count=len(audit.findings),
                groups=_groups(audit),
                fitness=[_row(item) for item in audit.fitness],
                domains=dict(pages),
            ),
        )
    return (*written, folder / PAGE)


def _groups(audit: Sheeted) -> list[dict[str, Any]]:
    """Return the findings by kind and domain, the first few of each to be shown."""
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for finding in audit.findings:
        found[finding.kind, finding.domain].append(finding)
    return [
        {
            "kind": kind,
            "domain": domain,
            "count": len(items),
            "volumes": sum(survey.record.domain == domain for survey in audit.surveys),
            "first": items[:_FEW],
            "more": max(0, len(items) - _FEW),
        }
        for (kind, domain), items in found.items()
    ]


def _row(item: Fitness) -> dict[str, Any]:
    shares = (item.padding, item.commonest, item.at_low, item.at_high)
    return {
        "domain": item.domain,
        "measured": item.measured,
        "shares": ["-" if share is None else share_text(share) for share in shares],
        "complaints": item.complaints,
    }


def _flagged(findings: Sequence[Any]) -> set[tuple[str, str]]:
    return {(finding.domain, finding.name) for finding in findings}


def _width(surveys: Sequence[Any]) -> int:
    """Return the pixels of the widest picture, at least one tile."""
    return max((s.views.shape[1] for s in surveys if s.views is not None), default=TILE)


def _across(surveys: Sequence[Any]) -> int:
    """Return how many pictures stand beside each other: four of three tiles each, or as many as fill the same width."""
    return _ACROSS * 3 * TILE // _width(surveys)


def _sheet(surveys: Sequence[Any], flagged: set[tuple[str, str]]) -> UInt8[np.ndarray, "row column channel"]:
    """Return one picture of up to 48 files, each with its name below."""
    from PIL import Image, ImageDraw

    across = min(_across(surveys), len(surveys))
    rows = -(-len(surveys) // across)
    width, height = _width(surveys) + 2 * _GAP, TILE + _CAPTION + 2 * _GAP
    picture = Image.new("RGB", (across * width, rows * height))
    draw = ImageDraw.Draw(picture)
    for index, survey in enumerate(surveys):
        left, top = index % across * width, index // across * height
        if survey.views is not None:
            picture.paste(Image.fromarray(np.asarray(survey.views)), (left + _GAP, top + _GAP))
        odd = (survey.record.domain, survey.name) in flagged
        if odd:
            draw.rectangle((left, top, left + width - 2, top + height - 2), outline=_FLAGGED, width=2)
        draw.text((left + _GAP, top + TILE + _GAP), survey.name, fill=_FLAGGED if odd else _TEXT)
    return np.asarray(picture)
