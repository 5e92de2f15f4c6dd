"""Radiographs with reports as a folder: films, a table, a map of pixels for each finding and tube, and the truth.

They are drawn and written from numbers alone, so that pretraining with reports can be run and tested without any
patient's data.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from voxmix._io import atomic_path, naming_full_disk, read_json, write_json, write_text
from voxmix._parallel import work_through
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError
from voxmix.radiographs.detector import CENTERS
from voxmix.radiographs.films import Facts, Film, draw_film, film_facts
from voxmix.radiographs.findings import FINDINGS
from voxmix.radiographs.persons import FilmPlan, plan_film
from voxmix.radiographs.planted import COIN, Planted, planted_labels
from voxmix.radiographs.reports import Rates, Report, write_report
from voxmix.radiographs.tubes import TUBES

LABELS = (*FINDINGS, *TUBES)
"""The label columns of films.csv: seven findings, five tubes."""

_LEAST_EDGE = 32


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Radiograph:
    """One film with its report: what was planned, what is drawn, what is written."""

    plan: FilmPlan
    film: Film
    facts: Facts
    report: Report
    labels: Mapping[str, int]
    """Whether each finding, tube and planted truth is there, 1 or 0."""


def make_radiograph(
    number: int,
    *,
    seed: int,
    edge: int = 128,
    centers: int = len(CENTERS),
    rates: Rates | None = None,
    planted: Planted | None = None,
) -> Radiograph:
    """Return film ``number``: a function of its arguments alone, however many are made.

    Args:
        number: Which film, from 0.
        seed: Decides everything.
        edge: Pixels of the film's shorter side.
        centers: How many of the centers there are, 1 or 2.
        rates: How complete reports are.
        planted: Truths that are planted into films, labels and reports.

    Raises:
        InputError: a number below 0, an edge below 32, or other centers than 1 or 2.
    """
    _check(number + 1, edge, centers)
    plan = plan_film(number, seed=seed, centers=centers)
    facts = film_facts(plan, seed=seed, edge=edge)
    report = write_report(plan, seed=seed, rates=rates or Rates(), carina_mm=facts.carina_mm, planted=planted)
    return Radiograph(
        plan=plan,
        film=draw_film(plan, seed=seed, edge=edge, planted=planted),
        facts=facts,
        report=report,
        labels=_labels(plan, planted, seed),
    )


def make_radiographs(
    folder: Path,
    *,
    count: int,
    seed: int,
    edge: int = 128,
    centers: int = len(CENTERS),
    rates: Rates | None = None,
    planted: Planted | None = None,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> Path:
    """Write a folder of made radiographs with reports, and return its table ``films.csv``.

    ``films/*.png`` are the films, ``maps/*.npz`` hold a boolean array for each finding and tube of a film,
    ``films.csv`` has the columns image, person, domain, view, report, a label (0 or 1) for each finding, tube and planted truth,
    and masks, the file of the maps where a film has any,
    and ``truth.json`` says of each film where what is, what its report mentions, denies or leaves out, and which
    characters of the report are identifiers.

    Films that exist are kept, so that a killed call goes on where it was; every file is whole or absent. The result
    does not depend on ``workers``, and a larger ``count`` only adds films.

    Raises:
        InputError: a count below 1, an edge below 32, other centers than 1 or 2, a rate outside of 0 to 1, or a folder
            that holds films of other settings.
    """
    rates = rates or Rates()
    _check(count, edge, centers)
    for name, share in asdict(rates).items():
        if not 0 <= share <= 1:
            raise InputError(f"{name} must be a share from 0 to 1, got {share}")
    settings = {"seed": seed, "edge": edge, "centers": centers, "rates": asdict(rates)}
    if planted:
        settings["planted"] = asdict(planted)
    known = folder / "settings.json"
    if known.exists() and read_json(known) != settings:
        raise InputError(
            f"{folder} holds films of other settings ({known.name}); give another folder, or the same settings"
        )
    with naming_full_disk(folder):
        if not known.exists():
            write_json(known, settings)
        work = partial(_write_one, folder=folder, seed=seed, edge=edge, centers=centers, planted=planted)
        work_through(work, range(count), workers=workers, chunk=8, progress=progress)
        rows, films = [], []
        for number in range(count):
            plan = plan_film(number, seed=seed, centers=centers)
            facts = film_facts(plan, seed=seed, edge=edge)
            report = write_report(plan, seed=seed, rates=rates, carina_mm=facts.carina_mm, planted=planted)
            rows.append(_row(plan, report, _labels(plan, planted, seed)))
            films.append(_truth(plan, facts, report))
        table = folder / "films.csv"
        write_text(table, _table(rows))
        write_json(folder / "truth.json", {"kind": "radiographs", "format": 1, **settings, "films": films})
    return table


def _check(count: int, edge: int, centers: int) -> None:
    if count < 1:
        raise InputError(f"count of films must be at least 1, got {count}")
    if edge < _LEAST_EDGE:
        raise InputError(f"edge must be at least {_LEAST_EDGE} pixels, got {edge}; the default is 128")
    if not 1 <= centers <= len(CENTERS):
        raise InputError(f"centers must be 1 to {len(CENTERS)}, got {centers}")


def _write_one(
    number: int, *, folder: Path, seed: int, edge: int, centers: int, planted: Planted | None
) -> None:
    image, maps = folder / "films" / f"{number:06d}.png", folder / "maps" / f"{number:06d}.npz"
    if image.exists() and maps.exists():
        return
    from PIL import Image

    film = draw_film(plan_film(number, seed=seed, centers=centers), seed=seed, edge=edge, planted=planted)
    with atomic_path(maps) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **film.maps)
    with atomic_path(image) as temporary:
        Image.fromarray(film.image).save(temporary, format="PNG", compress_level=4)


def _labels(plan: FilmPlan, planted: Planted | None, seed: int) -> dict[str, int]:
    found = {name: int(name in plan.findings or name in plan.tubes) for name in LABELS}
    return found | (planted_labels(plan, planted, seed=seed) if planted else {})


def _row(plan: FilmPlan, report: Report, labels: Mapping[str, int]) -> dict[str, str]:
    return {
        "image": f"films/{plan.number:06d}.png",
        "person": f"p{plan.person:06d}",
        "domain": plan.center.name,
        "view": plan.view,
        "report": report.text,
        **{name: str(value) for name, value in labels.items()},
        "masks": f"maps/{plan.number:06d}.npz"
        if any(labels[name] for name in labels if name != COIN)
        else "",
    }


def _table(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _truth(plan: FilmPlan, facts: Facts, report: Report) -> Mapping[str, Any]:
    sides = {-1: "right", 0: "both", 1: "left"}
    return {
        "image": f"films/{plan.number:06d}.png",
        "maps": f"maps/{plan.number:06d}.npz",
        "person": f"p{plan.person:06d}",
        "domain": plan.center.name,
        "view": plan.view,
        "marker": facts.marker,
        "pixel_mm": round(facts.pixel_mm, 4),
        "carina": [round(v, 2) for v in facts.carina],
        "findings": {
            name: {"side": sides[f.side], "size": round(f.size, 4), "place": f.place}
            for name, f in plan.findings.items()
        },
        "tubes": {
            name: {
                "way": tube.way, "position": tube.position, "misplaced": tube.misplaced,
                "tip": [round(v, 2) for v in facts.tips[name]],
                **({"above_carina_mm": round(facts.carina_mm, 1)}
                   if name == "endotracheal_tube" and facts.carina_mm is not None else {}),
            }
            for name, tube in plan.tubes.items()
        },
        "mentions": dict(report.mentions),
        "identifiers": [asdict(span) for span in report.identifiers],
    }  # fmt: skip
