"""Tubes and lines: the way each takes through a chest, how dense it is, and where its tip lies.

Every row of ``TUBES`` is a function of (body, tube, generator) that returns strands: lines with a radius and a density.
A tube's shadow adds to all others, whatever lies before or behind it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from voxmix.radiographs.body import LEFT, RIGHT, Body
from voxmix.radiographs.film_grid import FilmGrid, Path, bend

FAINTEST = 0.8
"""Least shadow that belongs to a map, mm of water; a tube casts none below it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tube:
    """One tube or line of one film.

    Attributes:
        name: Its label's name.
        way: How it goes in; one of ``WAYS[name]``.
        position: Where its tip lies; the first of ``POSITIONS[name]`` is as it should be; a chest tube may also lie at the base.
        seed: Decides its way in detail.
    """

    name: str
    way: str
    position: str
    seed: int = 0

    @property
    def misplaced(self) -> bool:
        """Whether the tip lies where it should not."""
        return self.position not in RIGHT_PLACES


@dataclass(frozen=True, slots=True, eq=False)
class Strand:
    """A rod: its axis in mm, its radius in mm (or one at each end), mm of water for a mm of it."""

    path: Path
    radius: float | tuple[float, float]
    density: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Way:
    """What a tube is drawn from.

    Attributes:
        strands: Its rods.
        tip: (x, y) of its end, mm.
        plate: Corners (x, y, half width, half height, mm of water) of a generator under the skin.
    """

    strands: Sequence[Strand]
    tip: tuple[float, float]
    plate: tuple[float, float, float, float, float] | None = None


WAYS: dict[str, tuple[str, ...]] = {
    "endotracheal_tube": ("mouth",),
    "nasogastric_tube": ("nose",),
    "central_line": ("right jugular", "left jugular", "right subclavian", "left subclavian", "right arm"),
    "chest_tube": ("right", "left"),
    "pacemaker": ("left", "right"),
}
"""Ways in, by tube."""

POSITIONS: dict[str, tuple[str, ...]] = {
    "endotracheal_tube": ("trachea", "low", "high", "right main bronchus"),
    "nasogastric_tube": ("stomach", "esophagus", "coiled", "right lower lobe"),
    "central_line": ("superior vena cava", "right atrium", "brachiocephalic vein", "jugular vein"),
    "chest_tube": ("apex", "base", "side hole outside"),
    "pacemaker": ("right ventricle", "dislodged"),
}
"""Where tips lie, by tube."""

RIGHT_PLACES = {"trachea", "stomach", "superior vena cava", "apex", "base", "right ventricle"}
"""Where tips should lie."""


def _cut(path: Float[np.ndarray, "point 2"], *, before_end: float, gap: float) -> list[np.ndarray]:
    """Return a line in two pieces: ``gap`` mm are missing, ``before_end`` mm from its end (a side hole)."""
    left = np.concatenate([np.cumsum(np.hypot(*np.diff(path, axis=0).T)[::-1])[::-1], [0.0]])
    pieces = [path[left > before_end + gap / 2], path[left < before_end - gap / 2]]
    return [piece for piece in pieces if len(piece) > 1]


def _beside(path: Float[np.ndarray, "point 2"], by: float) -> Float[np.ndarray, "point 2"]:
    """Return a line shifted sideways."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1])[:, None], 1e-9)
    return path + by * np.stack([-along[:, 1], along[:, 0]], axis=1)


def _hose(
    path: Float[np.ndarray, "point 2"], radius: float, *, wall: float, stripe: float, hole: float = 0.0
) -> list[Strand]:
    """Return a hollow tube with faint walls and a dense stripe along one of them, cut at its side hole."""
    stripes = [_beside(path, 0.45 * radius)]
    if hole:
        stripes = _cut(stripes[0], before_end=hole, gap=9.0)
    walls = [_beside(path, 0.88 * radius), _beside(path, -0.88 * radius)]
    return [Strand(line, 0.55, wall) for line in walls] + [Strand(line, 0.85, stripe) for line in stripes]


def _endotracheal(body: Body, tube: Tube, rng: np.random.Generator) -> Way:
    carina = body.carina
    above = {
        "trachea": rng.uniform(25, 60), "low": rng.uniform(3, 17), "high": rng.uniform(78, 100),
        "right main bronchus": -rng.uniform(18, 30),
    }[tube.position]  # fmt: skip
    lean = rng.normal(0, 1.5)
    points = [(rng.normal(2, 6), -175.0), (1 + lean, -90.0), (lean, -30.0)]
    if above > 0:
        points.append((lean * 0.6 + carina[0] * 0.7, carina[1] - above))
    else:
        points += [(carina[0] - 1, carina[1] - 14), (carina[0] + 0.72 * above, carina[1] - above)]
    path = bend(points, 14)
    return Way(strands=_hose(path, 5.0, wall=9.0, stripe=34.0), tip=tuple(path[-1]))


def _nasogastric(body: Body, tube: Tube, rng: np.random.Generator) -> Way:
    _, top = body.dome_top(LEFT)
    cross = (15.0 + rng.normal(0, 2), top + 14)
    down = [
        (4.0, -175.0),
        (5 + rng.normal(0, 2), -60.0),
        (6 + rng.normal(0, 2), 40.0),
        (8 + rng.normal(0, 2), 130.0),
    ]
    if tube.position == "stomach":
        points = [*down, cross, (25 + rng.normal(0, 2), top + 36), (48 + rng.normal(0, 6), top + 58)]
        if rng.random() < 0.5:
            points.append((36 + rng.normal(0, 6), top + 82))
    elif tube.position == "esophagus":
        points = [*down[:3], (8.0, 110.0), (10.0, rng.uniform(150, 195) - body.lift)]
    elif tube.position == "coiled":
        at = rng.uniform(60, 110)
        points = [*down[:2], (4, at - 40), (3, at), (9, at + 17), (16, at), (13, at - 38), (10, at - 75)]
    else:
        along = [(-2.0, -8.0), (-22.0, 34.0), (-42.0, 78.0), (-62.0, 112.0)]
        fork_x, fork_y = body.carina
        points = [down[0], (2.0, -60.0), (1.0, 20.0), *((fork_x + dx, fork_y + dy) for dx, dy in along)]
    path = bend(points, 12)
    return Way(strands=_hose(path, 2.6, wall=3.0, stripe=30.0, hole=52.0), tip=tuple(path[-1]))


def _central_line(body: Body, tube: Tube, rng: np.random.Generator) -> Way:
    vein, carina = -23.0 + body.turn * 0.5, body.carina[1]
    end = {
        "superior vena cava": carina + rng.uniform(4, 36), "right atrium": carina + rng.uniform(66, 96),
        "brachiocephalic vein": rng.uniform(34, 52), "jugular vein": -58.0,
    }[tube.position]  # fmt: skip
    up = -body.shoulders
    ways: dict[str, list[tuple[float, float]]] = {
        "right jugular": [(-44, -130), (-38, -75), (-32, -28), (-26, 12)],
        "left jugular": [(46, -130), (39, -75), (33, -26), (24, 12), (2, 36), (-15, 50)],
        "right subclavian": [(-124, 62 + up), (-108, 28 + up), (-84, 10 + up), (-58, 6), (-36, 16)],
        "left subclavian": [
            (124, 62 + up),
            (108, 28 + up),
            (84, 10 + up),
            (56, 6),
            (28, 20),
            (2, 38),
            (-15, 51),
        ],
        "right arm": [
            (-215, 190),
            (-196, 110),
            (-172, 48 + up),
            (-130, 14 + up),
            (-92, 6 + up),
            (-60, 6),
            (-36, 16),
        ],
    }
    points = [(x + rng.normal(0, 1.5), y + rng.normal(0, 1.5)) for x, y in ways[tube.way]]
    if tube.position == "jugular vein":
        points += [(-30, 4), (-34, -26), (-38, end)]
    elif tube.position == "brachiocephalic vein":
        points = [p for p in points if p[1] < end - 8 or abs(p[0]) > 40]
        points.append((vein - 2, end) if "left" not in tube.way else (8.0, end - 4))
    else:
        points += [(vein, 66 + rng.normal(0, 2)), (vein + (2 if end > 130 else 0), end)]
        if end > 130:
            points.insert(-1, (vein - 1, 105))
    path = bend(points, 12)
    size = 0.9 if tube.way == "right arm" else 1.25
    return Way(strands=[Strand(path, size, 15.0 if size > 1 else 19.0)], tip=tuple(path[-1]))


def _chest_tube(body: Body, tube: Tube, rng: np.random.Generator) -> Way:
    side = RIGHT if tube.way == "right" else LEFT
    at = rng.uniform(140, 178)
    wall = float(body.wall(at))
    entry = [(side * (wall + 62), at + rng.uniform(24, 48)), (side * (wall + 26), at + rng.uniform(6, 18))]
    if tube.position == "apex":
        points = [
            *entry, (side * (wall - 4), at - 6), (side * (wall - 30), at - 48),
            (side * rng.uniform(62, 78), rng.uniform(52, 70)), (side * rng.uniform(38, 52), rng.uniform(16, 30)),
        ]  # fmt: skip
    elif tube.position == "base":
        low = body.dome_top(side)[1] - 4
        points = [
            *entry,
            (side * (wall - 4), at + 2),
            (side * (wall - 34), (at + low) / 2),
            (side * rng.uniform(42, 62), low - rng.uniform(2, 14)),
        ]
    else:
        points = [
            *entry,
            (side * (wall + 4), at - 3),
            (side * (wall - rng.uniform(12, 24)), at - rng.uniform(14, 26)),
        ]
    path = bend(points, 12)
    return Way(strands=_hose(path, 5.2, wall=7.0, stripe=26.0, hole=48.0), tip=tuple(path[-1]))


def _pacemaker(body: Body, tube: Tube, rng: np.random.Generator) -> Way:
    side = LEFT if tube.way == "left" else RIGHT
    x, y = side * rng.uniform(98, 116), rng.uniform(34, 52) - body.shoulders
    vein = -23.0 + body.turn * 0.5
    start = [(x, y - 16), (side * 104, y - 26), (side * 82, 9.0), (side * 56, 5.0)]
    inward = [(26.0, 19.0), (0.0, 37.0), (-16.0, 52.0)] if side == LEFT else [(-38.0, 14.0)]
    trunk = [*start, *inward, (vein, 76.0), (vein - 2, 118.0)]
    up = body.lift * 0.55
    ventricle = [
        (vein - 4, 168 - up),
        (-2, 206 - up),
        (26, 216 - up),
        (56 * body.heart, 222 - up + rng.normal(0, 4)),
    ]
    if tube.position == "dislodged":
        ventricle = [(vein - 6, 160 - up), (-14, 190 - up), (-6, 176 - up), (-10, 156 - up)]
    leads = [bend([*trunk, *ventricle], 10)]
    if rng.random() < 0.6:
        shifted = [(px + 2.5, py + 2.0) for px, py in trunk]
        leads.append(
            bend([*shifted, (vein - 2, 160 - up), (-14, 176 - up), (-22, 162 - up), (-30, 146 - up)], 10)
        )
    strands = [Strand(lead, 0.9, 24.0) for lead in leads]
    for lead in leads:
        strands += [Strand(lead[-2:], 1.7, 30.0), Strand(lead[-7:-5], 1.7, 26.0)]
    loop = bend(
        [(x - 14, y - 14), (x - 24, y + 4), (x - 8, y + 21), (x + 14, y + 16), (x + 17, y - 4), (x, y - 16)],
        8,
    )
    strands.append(Strand(loop, 0.9, 22.0))
    return Way(strands=strands, tip=tuple(leads[0][-1]), plate=(x, y, 20.0, 22.0, 105.0))


TUBES: dict[str, Callable[[Body, Tube, np.random.Generator], Way]] = {
    "endotracheal_tube": _endotracheal,
    "nasogastric_tube": _nasogastric,
    "central_line": _central_line,
    "chest_tube": _chest_tube,
    "pacemaker": _pacemaker,
}
"""Label to its way through a body."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shadow:
    """A tube on a film: what it adds (mm of water), its map, and its tip in patient mm."""

    added: Float[np.ndarray, "row col"]
    shown: Bool[np.ndarray, "row col"]
    tip: tuple[float, float]


def way_of(body: Body, tube: Tube) -> Way:
    """Return the way of a tube through a body."""
    return TUBES[tube.name](body, tube, np.random.default_rng([tube.seed, 23]))


def cast(grid: FilmGrid, body: Body, tube: Tube) -> Shadow:
    """Return the shadow of a tube. It adds nothing outside of its map."""
    way = way_of(body, tube)
    added = np.zeros(grid.shape, dtype=np.float32)
    for density in sorted({strand.density for strand in way.strands}):
        alike = [strand for strand in way.strands if strand.density == density]
        added += np.float32(density) * grid.thickest([s.path for s in alike], [s.radius for s in alike])
    if way.plate is not None:
        cx, cy, wide, high, dense = way.plate
        x, y = grid.coordinates()
        level = ((x - cx) / np.float32(wide)) ** 4 + ((y - cy) / np.float32(high)) ** 4
        inside = np.clip((1 - level) * np.float32(0.25 * wide / grid.pixel), 0, 1)
        head = np.clip(1 - np.maximum(np.abs(x - cx) / 11, np.abs(y - cy + high) / 7) ** 4, 0, 1)
        added = np.maximum(
            added, np.maximum(np.float32(dense) * inside, np.float32(45) * head).astype(np.float32)
        )
    shown = added >= FAINTEST
    added[~shown] = 0
    return Shadow(added=added, shown=shown, tip=(float(way.tip[0]), float(way.tip[1])))
