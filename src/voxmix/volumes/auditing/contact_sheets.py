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

from voxmix._io import naming_full_disk
from voxmix.volumes.auditing.file_survey import TILE
from voxmix.volumes.auditing.fitness import Fitness

_ACROSS, _DOWN = 4, 12
_CAPTION = 14
_GAP = 4
_FLAGGED = (230, 120, 20)
_TEXT = (200, 200, 200)


@runtime_checkable
class Sheeted(Protocol):
    """An audit that can be shown: its findings, and surveys with a ``record`` of a domain, a ``name`` and ``views``."""

    @property
    def findings(self) -> Sequence[Any]: ...

    @property
    def surveys(self) -> Sequence[Any]: ...

    @property
    def fitness(self) -> Sequence[Fitness]: ...


def draw_sheets(audit: Sheeted, folder: Path) -> dict[str, tuple[Path, ...]]:
    """Write ``<folder>/<DOMAIN>-<n>.png``, and return the paths by domain; what has a finding has an orange frame.

    Raises:
        VoxmixError: the disk is full or cannot be written.
    """
    from PIL import Image

    flagged = _flagged(audit.findings)
    written: dict[str, tuple[Path, ...]] = {}
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
                written[domain] = (*written.get(domain, ()), path)
    return written


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
