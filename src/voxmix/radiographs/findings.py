"""Findings: what each adds to a drawn chest, and the pixels it takes.

Every row of ``FINDINGS`` is a function of (chest, how it is, generator) that changes the chest and returns a map.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from voxmix.radiographs.anatomy import LUNG, Chest, swollen_vessels
from voxmix.radiographs.body import LEFT, RIGHT
from voxmix.radiographs.film_grid import bend, dome, smooth_noise

_WATER = np.float32(1 - LUNG)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One finding of one film.

    Attributes:
        name: Its label's name.
        side: -1 the patient's right, 1 the left, 0 both or neither.
        size: 0 (just visible) to 1 (as large as it comes).
        place: A word for where or how: ``upper``, ``middle``, ``lower``; ``plate``, ``lobe``; ``nodule``, ``mass``.
        seed: Decides its outline; the same on all films of a person that show it.
    """

    name: str
    side: int = 0
    size: float = 0.5
    place: str = ""
    seed: int = 0

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides it is drawn on."""
        return (self.side,) if self.side else (RIGHT, LEFT)


Drawing = Callable[[Chest, Finding, np.random.Generator], Bool[np.ndarray, "row col"]]


def _effusion(chest: Chest, finding: Finding, rng: np.random.Generator) -> Bool[np.ndarray, "row col"]:
    """Fluid in the lowest part: its level climbs toward the ribs, and the angle is blunt."""
    shown = np.zeros(chest.x.shape, dtype=bool)
    for side in finding.sides:
        size = finding.size * (1.0 if finding.side else rng.uniform(0.7, 1.0))
        bottom = chest.body.angle(side)[1]
        height = np.float32(34 + 120 * size**1.4)
        share = chest.out / np.float32(136)
        level = np.float32(bottom) - height * (0.42 + 0.58 * np.clip(share, 0, 1.05) ** 3)
        fluid = dome((chest.y - level) / np.float32(20 + 26 * size)) * chest.side(side)
        chest.soft += _WATER * chest.lung * fluid
        chest.vessels *= 1 - fluid
        shown |= (fluid > 0.25) & (chest.lung > 2)
        # What fluid has filled hides the dome and the heart's border beside it.
        chest.heart *= 1 - fluid
    return shown


def _pneumothorax(chest: Chest, finding: Finding, rng: np.random.Generator) -> Bool[np.ndarray, "row col"]:
    """Air between ribs and lung, widest at the apex: no vessels in it, and a thin line where the lung ends."""
    side, body = finding.side, chest.body
    wide = 11 + 42 * finding.size
    long = 130 + 130 * finding.size
    heights = np.linspace(-9, min(-9 + long, body.angle(side)[1] - 4), 60)
    share = (heights + 9) / long
    gap = wide * np.sqrt(np.maximum(1 - share, 0)) * (1 + 0.07 * np.sin(9 * share + rng.uniform(0, 6)))
    top = -9 + 1.15 * wide
    edge = np.where(
        heights < top, -1.0,
        (body.wall(heights) - gap) * np.sqrt(np.clip((heights - top) / (1.7 * wide), 0, 1)) ** 0.7,
    )  # fmt: skip
    edge = np.maximum(edge, np.where(heights < top, -1.0, body.inner(heights) + 6))
    rounded = np.convolve(np.pad(edge, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    edge = np.where(heights < top + 1, edge, rounded)
    reach = np.interp(chest.y, heights, edge, right=1e3).astype(np.float32)
    air = chest.side(side) & (chest.lung > 0) & (chest.out > reach) & (chest.y < heights[-1])
    inside = air.astype(np.float32)
    chest.soft -= np.float32(LUNG * 0.95) * chest.lung * inside
    chest.vessels *= 1 - inside
    squeezed = chest.side(side) & ~air & (chest.y < heights[-1] + 30)
    chest.soft += np.float32(0.06 + 0.12 * finding.size) * chest.lung * squeezed
    body_edge = heights >= top
    start = [(side * (body.inner(top) + 5), top + 1.0)]
    line = np.array(
        start + [(side * e, h) for e, h in zip(edge[body_edge], heights[body_edge], strict=True) if e > 0]
    )
    thin = chest.grid.thickest([line], [1.0])
    chest.soft += 9 * thin * (chest.lung > 4)
    return np.asarray(air | ((thin > 0.3) & (chest.lung > 4)))


def _blob(
    chest: Chest,
    center: tuple[float, float],
    radii: tuple[float, float],
    rough: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "row col"]:
    """Return a cloud from 0 to 1 with an uneven edge."""
    dx, dy = (chest.x - center[0]) / radii[0], (chest.y - center[1]) / radii[1]
    noise = smooth_noise(chest.x.shape, rng, 50 / chest.grid.pixel)
    fine = smooth_noise(chest.x.shape, rng, 18 / chest.grid.pixel)
    level = 1.2 - np.sqrt(dx * dx + dy * dy) + np.float32(rough) * (0.8 * noise + 0.3 * fine)
    share = np.clip(level / np.float32(1.0), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), dtype=np.float32)


_ZONES = {"upper": (66.0, 42.0), "middle": (78.0, 122.0), "lower": (74.0, 186.0)}


def _consolidation(chest: Chest, finding: Finding, rng: np.random.Generator) -> Bool[np.ndarray, "row col"]:
    """Airspaces filled in a patch with fluffy edges; open bronchi are dark lines in it."""
    shown = np.zeros(chest.x.shape, dtype=bool)
    for side in finding.sides:
        out, down = _ZONES[finding.place]
        down -= chest.body.lift * (0.7 if finding.place == "lower" else 0.2)
        center = (side * out + rng.normal(0, 7), down + rng.normal(0, 7))
        size = 24 + 27 * finding.size
        cloud = _blob(chest, center, (size * rng.uniform(0.9, 1.15), size * rng.uniform(0.8, 1.1)), 0.34, rng)
        cloud *= chest.side(side)
        chest.soft += np.float32(0.5 + 0.2 * finding.size) * _WATER * chest.lung * cloud
        chest.vessels *= 1 - 0.8 * cloud
        hilum = np.array([side * 34.0, chest.body.carina[1] + 18])
        toward = np.asarray(center) - hilum
        lines = [
            bend(
                [
                    hilum + 0.35 * toward,
                    hilum + 0.7 * toward + rng.normal(0, 3, 2),
                    np.asarray(center) + turn,
                ],
                8,
            )
            for turn in (np.array([side * 14, -10]), np.array([side * 16, 6]), np.array([side * 4, 18]))
        ]
        bronchi = chest.grid.thickest(lines, [(2.3, 1.1)] * 3)
        chest.soft -= 3.6 * bronchi * cloud
        shown |= (cloud > 0.3) & (chest.lung > 25)
    return shown


def _atelectasis(chest: Chest, finding: Finding, rng: np.random.Generator) -> Bool[np.ndarray, "row col"]:
    """Volume lost: plates across the base, or a collapsed lobe drawn toward the middle; the dome stands higher."""
    shown = np.zeros(chest.x.shape, dtype=bool)
    lobe = np.zeros_like(chest.x)
    for side in finding.sides:
        half = chest.side(side)
        if finding.place == "plate":
            _, top = chest.body.dome_top(side)
            lines = []
            for number in range(1 + round(1.6 * finding.size)):
                at = top - 17 - 15 * number + rng.normal(0, 3)
                inner, outer = rng.uniform(34, 50), rng.uniform(96, 122)
                ends = [(side * inner, at + rng.uniform(0, 8)), (side * outer, at + rng.uniform(-2, 7))]
                line = bend([ends[0], (side * (inner + outer) / 2, at - rng.uniform(1, 5)), ends[1]], 8)
                lines += [line[:9][::-1], line[8:]]
            band = chest.grid.thickest(lines, [(1.9 + 1.7 * finding.size, 0.5)] * len(lines)) * half
            chest.soft += 7 * band * (chest.lung > 15)
            shown |= (band > 0.8) & (chest.lung > 15)
        elif finding.place == "upper":
            # The lobe shrinks up and inward: its lower border is a sharp curve from hilum to ribs, hollow side down.
            far = np.clip(chest.out / 120, 0, 1)
            border: np.ndarray = 84 - 40 * finding.size + np.float32(30) * (1 - far) ** 2 - 12 * far
            lobe = np.clip((border - chest.y) / 2.5, 0, 1) * half
        else:
            # Behind the heart: a triangle with a sharp outer border.
            border = 16 + (chest.y - 120) * np.float32(0.36 + 0.16 * finding.size)
            lobe = np.clip((border - chest.out) / 2.5, 0, 1) * (chest.y > 120) * half
        if finding.place != "plate":
            free = np.maximum(chest.lung - np.minimum(chest.heart, 0.55 * chest.lung), 0)
            chest.soft += np.float32(0.72) * _WATER * free * lobe
            chest.vessels *= 1 - 0.9 * lobe
            shown |= (lobe > 0.4) & (chest.lung > 12)
    return shown


def _edema(chest: Chest, finding: Finding, rng: np.random.Generator) -> Bool[np.ndarray, "row col"]:
    """Fluid in both lungs: haze around the hila, thick and hazy vessels, short lines at the ribs."""
    size = finding.size
    haze = np.zeros_like(chest.x)
    lines = []
    for side in (RIGHT, LEFT):
        haze += _blob(chest, (side * 50.0, 128.0), (40 + 18 * size, 74 + 22 * size), 0.2, rng) * chest.side(
            side
        )
        for _ in range(5 + round(5 * finding.size)):
            at = rng.uniform(165, 225) - chest.body.lift
            wall = float(chest.body.wall(at)) - 3
            lines.append(
                np.array([(side * wall, at), (side * (wall - rng.uniform(11, 19)), at + rng.normal(0, 1.5))])
            )
    chest.vessels = chest.vessels * (1 - 0.35 * haze) + swollen_vessels(chest, 1.25 + 0.4 * size) * 0.45
    grain = 1 + 0.16 * smooth_noise(chest.x.shape, rng, 16 / chest.grid.pixel)
    chest.soft += (0.2 + 0.3 * size) * _WATER * chest.lung * haze * grain
    chest.soft += (0.03 + 0.05 * size) * _WATER * chest.lung
    septa = chest.grid.thickest(lines, [0.9] * len(lines))
    chest.soft += 5.5 * septa * (chest.lung > 8)
    return ((haze > 0.25) | (septa > 0.3)) & (chest.lung > 25)


def _cardiomegaly(chest: Chest, finding: Finding, rng: np.random.Generator) -> Bool[np.ndarray, "row col"]:
    """The heart is drawn large with the body; here only its map."""
    return chest.heart_shape & (chest.above > -6)


def _nodule(chest: Chest, finding: Finding, rng: np.random.Generator) -> Bool[np.ndarray, "row col"]:
    """A round shadow: at most 3 cm a nodule, above that a mass with an uneven edge."""
    side = finding.side
    mass = finding.place.endswith("mass")
    radius = (17 + 13 * finding.size) if mass else (6.5 + 6 * finding.size)
    top, bottom = 22 + radius, chest.body.dome_top(side)[1] - 12 - radius
    low, high = {"u": (0.0, 0.3), "m": (0.35, 0.65), "l": (0.7, 1.0)}[finding.place[0]]
    down = top + (bottom - top) * rng.uniform(low, high)
    wall = float(chest.body.wall(down))
    inner = 56 if down < 120 else 92
    out = rng.uniform(min(inner, wall - 10 - radius), wall - 6 - radius)
    ragged = 1 + (0.12 if mass else 0.05) * smooth_noise(chest.x.shape, rng, 0.9 * radius / chest.grid.pixel)
    dx, dy = (
        chest.x - np.float32(side * out),
        (chest.y - np.float32(down)) / np.float32(rng.uniform(0.85, 1.1)),
    )
    level = (dx * dx + dy * dy) / np.float32(radius * radius) * ragged * ragged
    ball = np.sqrt(np.maximum(1 - level, 0)) * (chest.lung > 0)
    chest.soft += (np.float32(1.45 if mass else 2.3) * radius * 1.15 * ball).astype(np.float32)
    return np.asarray(ball > 0.05)


FINDINGS: dict[str, Drawing] = {
    "effusion": _effusion,
    "pneumothorax": _pneumothorax,
    "consolidation": _consolidation,
    "atelectasis": _atelectasis,
    "edema": _edema,
    "cardiomegaly": _cardiomegaly,
    "nodule": _nodule,
}
"""Label to its drawing. They are drawn in this order after the chest: clouds first, what removes vessels with them."""

ORDER = ("cardiomegaly", "edema", "consolidation", "nodule", "atelectasis", "pneumothorax", "effusion")
"""The order in which they are drawn: what displaces lung comes last."""


def draw_findings(chest: Chest, findings: dict[str, Finding]) -> dict[str, Bool[np.ndarray, "row col"]]:
    """Draw all findings into a chest; return a map for each."""
    return {
        name: FINDINGS[name](chest, findings[name], np.random.default_rng([findings[name].seed, 11]))
        for name in ORDER
        if name in findings
    }
