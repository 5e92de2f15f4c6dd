"""One film: the chest, what is in it, the center's film of it, and a map of pixels for each label."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from voxmix.radiographs.anatomy import draw_chest
from voxmix.radiographs.body import LEFT, RIGHT
from voxmix.radiographs.detector import develop, expose
from voxmix.radiographs.film_grid import FilmGrid, bend
from voxmix.radiographs.findings import draw_findings
from voxmix.radiographs.lettering import lettering, place, ring
from voxmix.radiographs.persons import FilmPlan, random
from voxmix.radiographs.planted import (
    DRAIN,
    STAMP,
    TEXTURE,
    Planted,
    drain_water,
    planted_labels,
    stamp_pixels,
    textured,
)
from voxmix.radiographs.tubes import FAINTEST, cast, way_of


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Film:
    """A film's pixels and what is seen where.

    Attributes:
        image: Gray values, 0 black to 255 white; the patient's right is on the left.
        maps: Pixels of each finding and tube.
    """

    image: UInt8[np.ndarray, "row col"]
    maps: Mapping[str, Bool[np.ndarray, "row col"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of a film without drawing it.

    Attributes:
        tips: (row, column) of each tube's tip, which may lie outside of the film.
        carina: (row, column) of the carina.
        carina_mm: How far above the carina the endotracheal tube ends, mm; negative below it; None without a tube.
        marker: The letter of the side that is burnt in, "" without one.
        pixel_mm: Millimeters from pixel to pixel.
    """

    tips: Mapping[str, tuple[float, float]]
    carina: tuple[float, float]
    carina_mm: float | None
    marker: str
    pixel_mm: float


def film_grid(plan: FilmPlan, *, seed: int, edge: int) -> FilmGrid:
    """Return the pixels of a film; its shorter side has ``edge`` of them."""
    rng = random(seed, "radiographs frame", plan.number)
    tall = rng.uniform(*plan.center.tall)
    width = rng.uniform(*plan.center.field_mm) / plan.size
    shape = (round(edge * tall), edge) if tall >= 1 else (edge, round(edge / tall))
    middle = (float(rng.normal(0, 5)), float(rng.normal(116, 6)))
    return FilmGrid(shape, width / shape[1], middle, float(rng.normal(0, 0.022)))


def film_facts(plan: FilmPlan, *, seed: int, edge: int) -> Facts:
    """Return what is known of a film without drawing it."""
    grid = film_grid(plan, seed=seed, edge=edge)
    ways = {name: way_of(plan.body, tube).tip for name, tube in plan.tubes.items()}
    tube = ways.get("endotracheal_tube")
    return Facts(
        tips={name: _pixel(grid, tip) for name, tip in ways.items()},
        carina=_pixel(grid, plan.body.carina),
        carina_mm=None if tube is None else float(plan.body.carina[1] - tube[1]) * plan.size,
        marker=_letters(plan, grid, seed)[1],
        pixel_mm=grid.pixel * plan.size,
    )


def draw_film(plan: FilmPlan, *, seed: int, edge: int, planted: Planted | None = None) -> Film:
    """Return the film of a plan; its shorter side has ``edge`` pixels."""
    grid, center = film_grid(plan, seed=seed, edge=edge), plan.center
    there = planted_labels(plan, planted, seed=seed) if planted else {}
    chest = draw_chest(grid, plan.body, random(seed, "radiographs tissue", plan.number))
    healthy, lung = chest.total(), chest.lung > 70
    lead, _ = _letters(plan, grid, seed)
    stamp = stamp_pixels(grid.shape, plan, seed=seed) if there.get(STAMP) else None
    if stamp is not None:
        lead |= stamp
    away = (chest.heart > 60) & (chest.above > 10)
    exposure = expose(
        center, grid, healthy, lung, away, lead, random(seed, "radiographs exposure", plan.number)
    )
    maps = draw_findings(chest, dict(plan.findings))
    water = chest.total()
    for name, tube in plan.tubes.items():
        shadow = cast(grid, plan.body, tube)
        water = water + shadow.added
        maps[name] = shadow.shown
    if there.get(DRAIN):
        added = drain_water(grid, plan.body, plan, seed=seed)
        water = water + added
        maps[DRAIN] = added >= FAINTEST
    water = water + _wires(plan, grid, seed)
    image = develop(center, exposure, water, healthy)
    if there.get(TEXTURE):
        image = textured(image, lung & ~lead, grid, plan, seed=seed)
        maps[TEXTURE] = lung & ~lead
    if stamp is not None:
        maps[STAMP] = stamp
    return Film(image=image, maps=maps)


def _pixel(grid: FilmGrid, point: tuple[float, float]) -> tuple[float, float]:
    row, column = grid.pixels([point])[0]
    return float(row), float(column)


def _letters(plan: FilmPlan, grid: FilmGrid, seed: int) -> tuple[Bool[np.ndarray, "row col"], str]:
    """Return the burnt-in pixels and the marker's letter."""
    lead = np.zeros(grid.shape, dtype=bool)
    rows, columns = grid.shape
    letter, corner, ringed, share = plan.center.marker
    words, worded = plan.center.words
    shown, drift_x, drift_y, said, word = random(seed, "radiographs letters", plan.number).random(5)
    text = ""
    if shown < share:
        text = letter
        high = max(6, round(rows * 0.052))
        stamp = lettering(text, high)
        if ringed and high >= 6:
            size = max(stamp.shape) + max(5, high // 2)
            framed = ring(size)
            place(framed, stamp, (size - stamp.shape[0]) // 2, (size - stamp.shape[1]) // 2)
            stamp = framed
        top = round(rows * (0.04 + 0.05 * drift_y))
        left = round(columns * (0.035 + 0.04 * drift_x))
        place(lead, stamp, top, left if corner == RIGHT else columns - left - stamp.shape[1])
    if said < worded and (plan.portable or words[0] == "ERECT"):
        stamp = lettering(words[int(word * len(words))], max(7, round(rows * 0.026)))
        place(lead, stamp, round(rows * 0.035), round(columns * (0.3 if corner == LEFT else 0.56)))
    return lead, text


def _wires(plan: FilmPlan, grid: FilmGrid, seed: int) -> Float[np.ndarray, "row col"]:
    """ECG electrodes and wires over a bedside film: no label names them."""
    rng = random(seed, "radiographs wires", plan.number)
    hang = rng.random()
    draws = rng.uniform(-1, 1, (4, 6))
    if not plan.portable or hang >= plan.center.wires:
        return np.zeros(grid.shape, dtype=np.float32)
    spots = [(-118.0, 28.0), (116.0, 30.0), (-122.0, 226.0), (120.0, 222.0)]
    wires, dots = [], []
    for (x, y), d in zip(spots[: 3 + (hang * 97 % 1 > 0.4)], draws, strict=False):
        x, y = x + 14 * d[0], y + 14 * d[1]
        side = np.sign(x)
        wires.append(
            bend(
                [
                    (x, y),
                    (x + side * (18 + 12 * d[2]), y + 30 * d[3]),
                    (side * 185, y + 40 + 40 * d[4]),
                    (side * 230, y + 90),
                ],
                10,
            )
        )
        dots.append(np.array([(x - 1, y), (x + 1, y)]))
    thin = grid.thickest(wires, [0.8] * len(wires))
    return np.asarray(9 * thin + 2.6 * grid.thickest(dots, [5.0] * len(dots)), dtype=np.float32)
