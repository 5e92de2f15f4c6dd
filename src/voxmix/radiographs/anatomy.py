"""A chest without findings: what each organ adds to the beam's way, in mm of water."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from voxmix.radiographs.body import LEFT, RIGHT, Body
from voxmix.radiographs.film_grid import FilmGrid, Path, bend, chord, dome, ellipsoid, smooth_noise

LUNG = 0.27
"""Density of aired lung against water."""


@dataclass(slots=True, eq=False)
class Chest:
    """A drawn chest: the shadows that add up, and the fields along which findings are drawn.

    Attributes:
        soft: Soft tissue without the lungs, mm of water.
        bone: Ribs, spine, clavicles, shoulders, mm of water in excess.
        heart: Heart and vessels of the mediastinum, mm of lung that they displace.
        vessels: Vessels of the lungs, mm.
        lung: How deep the lungs are, mm of either side.
        out: Distance from the midline, mm, of the side that a pixel lies on.
        right: Pixels of the patient's right side.
        gap: Distance from the ribs inward, mm; negative outside of the lung.
        above: Height above the diaphragm, mm.
    """

    grid: FilmGrid
    body: Body
    x: Float[np.ndarray, "row col"]
    y: Float[np.ndarray, "row col"]
    soft: Float[np.ndarray, "row col"]
    bone: Float[np.ndarray, "row col"]
    heart: Float[np.ndarray, "row col"]
    heart_shape: Bool[np.ndarray, "row col"]
    vessels: Float[np.ndarray, "row col"]
    lung: Float[np.ndarray, "row col"]
    out: Float[np.ndarray, "row col"]
    right: Bool[np.ndarray, "row col"]
    gap: Float[np.ndarray, "row col"]
    above: Float[np.ndarray, "row col"]
    airway: Float[np.ndarray, "row col"]

    def side(self, side: int) -> Bool[np.ndarray, "row col"]:
        """Return the pixels of one side."""
        return np.asarray(self.right if side == RIGHT else ~self.right)

    def total(self) -> Float[np.ndarray, "row col"]:
        """Return the way of the beam in mm of water."""
        shown = np.float32(1 - LUNG)
        filled = np.minimum(self.heart, self.lung) + np.minimum(self.vessels, 0.6 * self.lung)
        water: np.ndarray = (
            self.soft - shown * (self.lung - np.minimum(filled, self.lung)) + self.bone - self.airway
        )
        return np.asarray(np.maximum(water, 0))


def draw_chest(grid: FilmGrid, body: Body, rng: np.random.Generator) -> Chest:
    """Draw a person's chest."""
    x, y = grid.coordinates()
    right = x < 0
    out = np.abs(x)
    wall = body.wall(y[:, 0]) if grid.tilt == 0 else body.wall(y)
    wall = np.asarray(wall, dtype=np.float32).reshape(len(y), -1)
    inner = np.asarray(body.inner(y), dtype=np.float32)
    gap = wall - out
    above = np.where(right, body.diaphragm(RIGHT, out), body.diaphragm(LEFT, out)).astype(np.float32) - y
    depth = np.float32(158 * body.thickness) * np.interp(
        y, [-9, 60, 200, 300], [0.62, 0.92, 1.02, 1.0]
    ).astype(np.float32)
    lung = depth * dome(gap / 62) * dome(above / 42) * dome((out - inner) / 20) * (y > -9)
    soft = _soft(body, x, y)
    heart, shape = _heart(grid, body, x, y)
    chest = Chest(
        grid=grid, body=body, x=x, y=y, soft=soft, bone=np.zeros_like(x), heart=heart, heart_shape=shape,
        vessels=np.zeros_like(x), lung=np.minimum(lung, 0.92 * soft), out=out, right=right, gap=gap, above=above,
        airway=_airway(grid, body, x, y),
    )  # fmt: skip
    chest.bone = _bones(chest)
    chest.vessels = swollen_vessels(chest)
    chest.soft += np.float32(2.2) * smooth_noise(grid.shape, rng, 9 / grid.pixel) * (chest.lung > 20)
    chest.soft += np.float32(4.0) * smooth_noise(grid.shape, rng, 90 / grid.pixel) * (chest.soft > 20)
    return chest


def _soft(body: Body, x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "row col"]:
    """Neck, shoulders, chest wall, abdomen, arms and breasts without the lungs' air."""
    at = y - np.float32(body.shoulders) * np.exp(-((y / 60) ** 2))
    heights = [-200, -75, -52, -38, -24, -8, 8, 30, 60, 90, 130, 420]
    widths = [58, 60, 70, 100, 140, 186, 214, 222, 204, 178, 172, 176]
    deep = [128, 130, 128, 118, 118, 132, 154, 172, 196, 210, 216, 222]
    width = np.interp(at, heights, widths).astype(np.float32) * np.float32(0.6 + 0.4 * body.thickness)
    depth = np.interp(at, heights, deep).astype(np.float32) * np.float32(body.thickness)
    share = np.minimum(np.abs(x) / width, 1)
    squared = share * share
    # The shoulders are boxier than the chest below the armpits.
    boxy = np.interp(y, [40, 110], [1, 0]).astype(np.float32)
    soft: np.ndarray = depth * np.sqrt(1 - squared * (boxy * squared + (1 - boxy) * np.sqrt(share)))
    if body.arms:
        for side in (RIGHT, LEFT):
            axis = np.float32(side) * np.interp(y, [10, 120, 420], [186, 200, 214]).astype(np.float32)
            arm = chord(x - axis, 40 * body.thickness) * dome((y + 12) / 40)
            soft = np.maximum(soft, arm)
    if body.woman:
        for side in (RIGHT, LEFT):
            soft += 34 * ellipsoid(x, y, (side * 76, 172), (58, 66)) * dome((238 - y) / 14)
    return soft


def _heart(
    grid: FilmGrid, body: Body, x: np.ndarray, y: np.ndarray
) -> tuple[Float[np.ndarray, "row col"], Bool[np.ndarray, "row col"]]:
    """Heart, great vessels and the hila, as mm of lung that they displace."""
    big, up = body.heart, body.lift * 0.55
    front = body.turn
    long, wide = 66 * big**1.25, 50 * big**1.1
    ventricle = 138 * ellipsoid(x, y, (20 + 14 * (big - 1) + front, 189 - up), (long, wide), 0.62)
    atrium = 128 * ellipsoid(
        x, y, (-4 - 5 * (big - 1) + front, 180 - up), (40 * big**0.9, 54 * big**0.8), 0.1
    )
    heart = np.maximum(ventricle, atrium)
    shape = heart > 6
    top = body.carina[1] - 88
    lines: list[Path] = [
        bend([(-16 + front, -30), (-22 + front, 20), (-24 + front, 80), (-20 + front, 160)], 8),
        bend([(-10, 150 - up), (-15, 100), (-2, 60), (18, 52 + top), (28, 70 + top)], 8),
        bend([(24, 66 + top), (30, 92 + top), (24, 150), (12, 290)], 8),
        bend([(8, 150 - up), (19, 122), (25, 104 + top), (12, 98 + top)], 8),
        [(2, -60), (2, 60)],
    ]
    radii = [12.0, 17.0, 13.5 * body.knob, 14.0, 17.0]
    vessels = grid.thickest(lines, radii)
    knob = 46 * ellipsoid(x, y, (22, 66 + top), (20 * body.knob, 19 * body.knob))
    middle = np.maximum(3.3 * vessels, 2.6 * knob)
    return np.maximum(heart, middle) + 0.35 * np.minimum(heart, middle), shape


def _airway(grid: FilmGrid, body: Body, x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "row col"]:
    """Windpipe, main bronchi, the stomach's bubble: air where there is no lung."""
    cx, cy = body.carina
    lines = [
        [(1, -110), (0, -20), (cx, cy)],
        [(cx, cy), (cx - 22, cy + 30), (cx - 30, cy + 44)],
        [(cx, cy), (cx + 32, cy + 26), (cx + 44, cy + 34)],
    ]
    air = grid.thickest(lines, [8.5, (7.5, 5.5), (5.5, 4.5)]) * np.float32(1.25)
    middle, top = body.dome_top(LEFT)
    bubble = ellipsoid(x, y, (middle - 14, top + 26), (27 * body.bubble, 14 * body.bubble))
    return np.asarray(air + 46 * np.minimum(bubble, 1) * (y > top + 8))


def _bones(chest: Chest) -> Float[np.ndarray, "row col"]:
    """Ribs with dense rims, spine, clavicles, shoulder blades, upper arms."""
    grid, body = chest.grid, chest.body
    paths: list[np.ndarray] = []
    behind: list[float] = []
    for side in (RIGHT, LEFT):
        ribs, parts = body.ribs(side)
        paths += ribs
        behind += parts
    # Six layers: a rib's front crosses the backs of the next four ribs, never of the sixth.
    away, share = grid.nearest(paths, reach=7.0, layers=[k % 6 for k in range(12)] * 2, count=6)
    back = float(np.median(behind))
    strength = np.interp(share, [0, 0.2, back - 0.06, back + 0.1, 0.9, 1.0], [0.5, 2.0, 2.5, 1.7, 1.5, 0.0])
    rib = chord(away, 6.4) - np.float32(0.62) * chord(away, 4.9)
    deep = np.where(chest.above > 0, np.float32(1), np.float32(0.55))
    bone = (rib * strength.astype(np.float32)).sum(axis=0) * deep
    bone += _spine(chest)
    return np.asarray(bone + _shoulders(chest))


def _spine(chest: Chest) -> Float[np.ndarray, "row col"]:
    body, y = chest.body, chest.y
    off = chest.x - body.spine(y)
    wide = np.interp(y, [-80, 0, 150, 400], [13, 15, 17, 23]).astype(np.float32)
    place = np.mod(y + 6, np.float32(22.5)) / np.float32(22.5) - np.float32(0.5)
    across = np.abs(off) / wide
    waist = across * (1 + np.float32(0.25) * (0.25 - place * place) * 4 * np.float32(0.45))
    inside = np.clip((1.02 - waist) * wide / np.float32(max(1.6, chest.grid.pixel)), 0, 1)
    disc = np.clip((np.abs(place) - np.float32(0.38)) / np.float32(0.06), 0, 1)
    end_plate = np.exp(-(((np.abs(place) - np.float32(0.36)) / np.float32(0.05)) ** 2))
    rim = np.exp(-(((waist - 0.93) / 0.1) ** 2))
    box = inside * (8 + 5 * rim + 5 * end_plate) * (1 - np.float32(0.55) * disc)
    pedicle = np.exp(-(((((across - 0.62) / 0.16) ** 2) + ((place + 0.12) / 0.16) ** 2) ** 2))
    spinous = np.exp(-((((off + 1.5 * body.turn) / 3.0) ** 2) + ((place - 0.25) / 0.22) ** 2))
    wings = np.exp(-(((place + 0.15) / 0.14) ** 2)) * np.clip((34 - np.abs(off)) / 6, 0, 1)
    return np.asarray(box + 5 * pedicle + 9 * spinous + 5 * wings, dtype=np.float32)


def _shoulders(chest: Chest) -> Float[np.ndarray, "row col"]:
    grid, body = chest.grid, chest.body
    up = -body.shoulders
    outer: list[Path] = []
    inner: list[Path] = []
    plates: list[tuple[tuple[float, float], ...]] = []
    blade = np.zeros_like(chest.x)
    for side in (RIGHT, LEFT):
        turn = body.turn * 0.8
        collar = bend(
            [
                (side * 15 + turn, 18),
                (side * 48 + turn, 9),
                (side * 88, 3 + up * 0.5),
                (side * 125, -6 + up),
                (side * 152, -12 + up),
            ],
            8,
        )
        out = 0.0 if body.arms else 16.0
        socket, tip = (side * (154 + out / 2), 18 + up), (side * (118 + out), 142 + up)
        corner = (side * (96 + out), 14 + up)
        border = bend([socket, (side * (139 + out * 0.8), 80 + up), tip], 8)
        medial = bend([corner, (side * (95 + out), 70 + up), tip], 8)
        ridge = bend([(side * (100 + out), 24 + up), (side * 132, 2 + up), (side * 166, -10 + up)], 8)
        outer += [collar, border, medial, ridge]
        inner += [collar]
        plates.append((socket, tip, corner))
        head = np.hypot(chest.x - side * 176, chest.y - (24 + up))
        blade += 0.3 * (chord(head, 24.0) - 0.6 * chord(head, 21.5))
        shaft = [(side * 180, 40 + up), (side * (196 if body.arms else 240), 190 + up)]
        outer.append(shaft)
        inner.append(shaft)
    collars = grid.thickest(outer, [(6.8, 5.6), 1.7, 0.8, 2.4, (13.0, 11.0)] * 2)
    marrow = grid.thickest(inner, [(5.2, 4.2), (11.0, 8.0)] * 2)
    for corners in plates:
        blade += 4.5 * _triangle(chest.x, chest.y, corners)
    return np.asarray(2.6 * collars - 1.6 * marrow + 1.6 * blade, dtype=np.float32)


def _triangle(x: np.ndarray, y: np.ndarray, corners: tuple[tuple[float, float], ...]) -> np.ndarray:
    middle = np.mean(corners, axis=0)
    inside = np.ones(x.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        sign = (x1 - x0) * (middle[1] - y0) - (y1 - y0) * (middle[0] - x0)
        inside &= ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) * sign >= 0
    return inside


def swollen_vessels(chest: Chest, swollen: float = 1.0) -> Float[np.ndarray, "row col"]:
    """Return arteries and veins that fan out from the hila and fork twice, ``swollen`` times as thick as usual."""
    body = chest.body
    rng = np.random.default_rng([body.vessels, 5])
    paths: list[np.ndarray] = []
    radii: list[tuple[float, float]] = []
    for side in (RIGHT, LEFT):
        hilum = np.array([side * 36.0, body.carina[1] + (22 if side == RIGHT else 12)])
        bottom = body.dome_top(side)[1]
        for angle in np.radians([-78, -58, -36, -16, 4, 22, 38, 52, 66, 80]):
            angle += rng.normal(0, 0.09)
            if side == LEFT and np.sin(angle) > 0.9:
                angle -= 0.2
            toward = np.array([side * np.cos(angle), np.sin(angle)])
            room = min((bottom - hilum[1]) / max(toward[1], 1e-3) if toward[1] > 0 else 110, 96)
            length = rng.uniform(0.55, 0.75) * min(room, 82 if toward[1] > 0 else 76)
            size = rng.uniform(2.6, 3.6) * (1.15 if toward[1] > 0.2 else 0.85)
            start = hilum + toward * 4 + rng.normal(0, 4, 2)
            _branch(paths, radii, start, angle, length, size, side, 2, rng)
        trunk = hilum + np.array([(side * -10, -14), (side * -2, -4), (side * 2, 8), (side * 8, 36)])
        paths += [trunk[:2], trunk[1:]]
        radii += [(3.0, 6.0), (6.0, 3.0)]
    fat = np.float32(swollen)
    drawn = chest.grid.thickest([bend(p, 6) for p in paths], [np.multiply(r, fat) for r in radii])
    return np.asarray(np.float32(4.4) * drawn ** np.float32(0.7))


def _branch(
    paths: list[np.ndarray], radii: list[tuple[float, float]], start: np.ndarray, angle: float, length: float,
    size: float, side: int, forks: int, rng: np.random.Generator,
) -> None:  # fmt: skip
    toward = np.array([side * np.cos(angle), np.sin(angle)])
    across = np.array([-toward[1], toward[0]]) * rng.normal(0, 0.05) * length
    end = start + toward * length
    paths.append(np.array([start, (start + end) / 2 + across, end]))
    radii.append((size, size * (0.62 if forks else 0.3)))
    if forks:
        for spread in (rng.uniform(0.18, 0.45), -rng.uniform(0.18, 0.45)):
            at = end if rng.random() < 0.6 else (start + 2 * end) / 3
            _branch(
                paths,
                radii,
                at,
                angle + spread,
                length * rng.uniform(0.5, 0.75),
                size * 0.6,
                side,
                forks - 1,
                rng,
            )
