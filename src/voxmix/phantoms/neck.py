"""Head and neck from the skull base to the lung apices, around the head of phantom_head."""

from collections.abc import Callable

import numpy as np

from voxmix.phantoms.canvas import Canvas, boxy
from voxmix.phantoms.head import draw_head
from voxmix.phantoms.tissues import CODE

Place = Callable[..., np.ndarray]

LABELS: dict[int, str] = {
    1: "primary tumor", 2: "lymph node", 3: "spinal cord", 4: "parotid glands", 5: "mandible",
    6: "submandibular glands", 7: "thyroid", 8: "airway",
}  # fmt: skip
"""1 and 2 as in HECKTOR 2025."""

_SOFT = ("air", "skin", "fat", "muscle")
HEAD_ABOVE_MM = 92.0
"""How far the middle of the brain lies above the middle of the field of view."""


def draw_head_and_neck(canvas: Canvas, rng: np.random.Generator, *, couch: bool) -> None:
    """Draw one person; coordinates below are those of the middle of the field of view."""
    canvas.shift = np.array([0.0, 0.0, HEAD_ABOVE_MM])
    _shoulders(canvas, rng, couch=couch)
    draw_head(canvas, rng, tumor=False)
    canvas.label[:] = 0
    canvas.shift = np.zeros(3)

    def at(x: float, y: float, z: float, jitter: float = 2.0) -> np.ndarray:
        return np.array((x, y, z)) + rng.normal(0, jitter, 3)

    _muscles(canvas, at)
    _spine(canvas, rng)
    _glands(canvas, rng, at)
    _airway(canvas, rng, at)
    _jaws(canvas, rng)
    _vessels(canvas, at)
    _tumors(canvas, rng, at)


def draw_brain_exam(canvas: Canvas, rng: np.random.Generator, *, tumor: bool) -> None:
    """Draw one head with jaws, throat and upper neck, centered at the middle of the brain."""
    draw_head(canvas, rng, tumor=tumor)
    labels = canvas.label.copy()
    canvas.shift = np.array([0.0, 0.0, -HEAD_ABOVE_MM])

    def at(x: float, y: float, z: float, jitter: float = 2.0) -> np.ndarray:
        return np.array((x, y, z)) + rng.normal(0, jitter, 3)

    _muscles(canvas, at)
    _spine(canvas, rng)
    _glands(canvas, rng, at)
    _airway(canvas, rng, at)
    _jaws(canvas, rng)
    canvas.label = labels


def _shoulders(canvas: Canvas, rng: np.random.Generator, *, couch: bool) -> None:
    x, y, z = canvas.xyz
    z = z + np.float32(HEAD_ABOVE_MM)
    slope = np.clip((-z - 88) / 62, 0, 1) ** 2
    half = 60 + 135 * slope + np.float32(rng.normal(0, 2))
    up = y + 22 + 6 * slope
    thick = np.where(up > 0, 56 + 18 * slope, 58 + 22 * slope)
    for inward, tissue in ((0.0, "skin"), (2.5, "fat"), (8.0, "muscle")):
        level = boxy(x / (half - inward)) + boxy(up / (thick - inward))
        canvas.fill((level <= 1) & (z < 0), tissue)
    throat = (z < -30) & (y > -20) & (np.abs(x) < 46) & (canvas.tissue != CODE["air"])
    canvas.fill(throat & (canvas.noise(30.0) > -0.3), "fat")
    if couch:
        canvas.fill((np.abs(y + 112) < 5) & (np.abs(x) < 120), "couch")
        canvas.fill((np.abs(y + 98) < 8) & (np.abs(x) < 70) & (canvas.tissue == CODE["air"]), "couch")
    for side in (-1, 1):
        canvas.paint(canvas.ellipsoid((60 * side, -30, -300), (54, 58, 62)), "lung", on=("fat", "muscle"))
        canvas.paint(
            canvas.tube([(14 * side, 34, -232), (70 * side, 20, -222), (150 * side, -20, -212)], 6.5),
            "rib",
            on=_SOFT,
        )
        rib = [(22 * side, -52, -214), (60 * side, -46, -216), (70 * side, 0, -226), (40 * side, 30, -238)]
        canvas.paint(canvas.tube(rib, 5), "rib", on=(*_SOFT, "lung"))
        canvas.paint(canvas.ellipsoid((155 * side, -34, -240), (26, 26, 28)), "marrow", on=_SOFT)


def _muscles(canvas: Canvas, at: Place) -> None:
    for side in (-1, 1):
        path = [at(60 * side, -20, 38), at(44 * side, 8, -50), at(20 * side, 34, -130)]
        canvas.paint(canvas.tube(path, [8, 11, 9]), "muscle", on=("fat", "muscle"))
        canvas.paint(
            canvas.tube([at(26 * side, -62, 20), at(28 * side, -66, -140)], [20, 24]), "muscle", on=("fat",)
        )
        canvas.paint(
            canvas.tube([at(12 * side, -14, 10), at(12 * side, -12, -130)], 8), "muscle", on=("fat",)
        )
        canvas.paint(canvas.ellipsoid(at(50 * side, 26, 8), (8, 20, 28)), "muscle", on=("fat",))
        canvas.paint(canvas.ellipsoid(at(34 * side, 20, 10), (8, 16, 18)), "muscle", on=("fat",))


def _spine(canvas: Canvas, rng: np.random.Generator) -> None:
    start = rng.uniform(-4, 4)
    for n in range(9):
        z = 10 + start - 18.5 * n
        y = -30 + 7 * np.sin(np.pi * n / 7)
        canvas.paint(canvas.ellipsoid((0, y, z - 9), (12, 9.5, 4), power=3), "disk")
        canvas.paint(canvas.ellipsoid((0, y, z), (13.5, 10.5, 8), power=3), "bone")
        canvas.paint(canvas.ellipsoid((0, y, z), (10.5, 8, 6), power=3), "marrow")
        canvas.paint(canvas.ellipsoid((0, y - 18, z - 3), (16, 12, 5)), "rib")
        canvas.paint(canvas.ellipsoid((0, y - 36, z - 7), (3.5, 14, 5)), "rib")
        for side in (-1, 1):
            canvas.paint(canvas.ellipsoid((19 * side, y - 5, z), (8, 6, 5)), "rib")
    path = [(0, -30 + 7 * np.sin(np.pi * n / 7) - 18, 20 - 18.5 * n) for n in range(10)]
    canvas.paint(canvas.tube(path, 8.5), "csf")
    canvas.paint(canvas.tube(path, 5.2), "cord", label=3)


def _glands(canvas: Canvas, rng: np.random.Generator, at: Place) -> None:
    for side in (-1, 1):
        canvas.paint(
            canvas.ellipsoid(at(60 * side, 2, 20), (11, 18, 24) * rng.normal(1, 0.1, 3)),
            "gland",
            label=4,
            on=("fat", "muscle"),
        )
        canvas.paint(
            canvas.ellipsoid(at(32 * side, 24, -30), (11, 15, 13) * rng.normal(1, 0.1, 3)),
            "gland",
            label=6,
            on=("fat", "muscle"),
        )
        lobe = canvas.ellipsoid(at(17 * side, 12, -112, 1), (9, 10, 22) * rng.normal(1, 0.12, 3))
        canvas.paint(lobe, "thyroid", label=7, on=("fat", "muscle"))
    canvas.paint(
        canvas.tube([(-14, 20, -118), (0, 24, -118), (14, 20, -118)], 4),
        "thyroid",
        label=7,
        on=("fat", "muscle"),
    )


def _airway(canvas: Canvas, rng: np.random.Generator, at: Place) -> None:
    tongue = canvas.ellipsoid((0, 36, -2), (24, 30, 20))
    canvas.paint(tongue, "muscle", on=_SOFT)
    floor = canvas.ellipsoid((0, 40, -24), (20, 30, 9))
    canvas.paint(floor, "muscle", on=_SOFT)
    path = [
        (0, 22, 42),
        (0, 6, 30),
        (0, 2, 8),
        (0, 4, -22),
        (0, 8, -46),
        (0, 14, -74),
        (0, 12, -100),
        (0, 4, -150),
        (0, 0, -220),
    ]
    wide = np.array([9, 9.5, 8, 9, 9, 6.5, 8.5, 9, 9]) * rng.uniform(0.85, 1.1)
    canvas.paint(canvas.tube(path, wide + 4), "mucosa", on=(*_SOFT, "bone", "rib"))
    canvas.paint(canvas.tube(path, wide), "gas", label=8)
    canvas.paint(
        canvas.ellipsoid((0, 38, 19), (20, 30, rng.uniform(1.5, 5))), "gas", label=8, on=(*_SOFT, "mucosa")
    )
    for side in (-1, 1):
        canvas.paint(
            canvas.ellipsoid(at(14 * side, 8, -8, 1), (6, 8, 11)), "tonsil", on=("mucosa", "muscle", "fat")
        )
        canvas.paint(canvas.tube([(19 * side, 8, -66), (10 * side, 26, -70), (0, 33, -72)], 2.6), "cartilage")
        canvas.paint(canvas.tube([(19 * side, 8, -78), (10 * side, 26, -80), (0, 32, -80)], 2.6), "cartilage")
        canvas.paint(canvas.tube([(20 * side, 6, -46), (12 * side, 24, -46), (0, 30, -46)], 2.6), "rib")
        canvas.paint(canvas.tube([(7 * side, 8, -76), (3 * side, 22, -76)], 3), "mucosa", on=("gas",))
    canvas.paint(canvas.tube([(0, 2, -40), (0, 14, -56)], [1.5, 2.5]), "mucosa", on=("gas",))
    gullet = [(2, -8, -84), (6, -10, -130), (8, -14, -220)]
    canvas.paint(canvas.tube(gullet, 6.5), "gut_wall", on=(*_SOFT, "mucosa", "lung"))


def _jaws(canvas: Canvas, rng: np.random.Generator) -> None:
    angle = np.linspace(-1.25, 1.25, 11)
    lower = [(45 * np.sin(a), 22 + 48 * np.cos(a), -22 + 4 * abs(a)) for a in angle]
    for side, end in ((-1, lower[0]), (1, lower[-1])):
        ramus = [end, (50 * side, 24, 4), (54 * side, 8, 36)]
        canvas.paint(canvas.tube(ramus, [9, 6.5, 5]), "bone", label=5)
        canvas.paint(canvas.tube(ramus, [5.5, 3, 1]), "marrow")
    for drop in (0, 8):
        path = [(x, y, z - drop) for x, y, z in lower]
        canvas.paint(canvas.tube(path, 6.2), "bone", label=5)
        canvas.paint(canvas.tube(path, 3.2), "marrow")
    upper = [(39 * np.sin(a), 30 + 42 * np.cos(a), 14.0) for a in angle]
    canvas.paint(canvas.tube(upper, 6), "bone", on=_SOFT)
    canvas.paint(canvas.ellipsoid((0, 44, 23), (28, 32, 3.5)), "bone", on=_SOFT)
    for reach_x, base_y, reach_y, z in ((40, 23, 46, -11), (38, 30, 42, 4)):
        for a in np.linspace(-1.2, 1.2, 14):
            if rng.random() < 0.12:
                continue
            center = (reach_x * np.sin(a), base_y + reach_y * np.cos(a), z)
            canvas.paint(canvas.ellipsoid(center, (3.8, 3.8, 7)), "tooth", label=0)


def _vessels(canvas: Canvas, at: Place) -> None:
    room = ("fat", "muscle", "gland", "mucosa", "lung")
    for side in (-1, 1):
        canvas.paint(
            canvas.tube(
                [
                    at(26 * side, -2, 40),
                    at(25 * side, 2, -30),
                    at(22 * side, 4, -110),
                    at(16 * side, 2, -230),
                ],
                4,
            ),
            "blood",
            on=room,
        )
        canvas.paint(
            canvas.tube(
                [
                    at(33 * side, -8, 40),
                    at(33 * side, 0, -30),
                    at(30 * side, 6, -120),
                    at(24 * side, 12, -230),
                ],
                [5, 6, 7, 8],
            ),
            "blood",
            on=room,
        )
        canvas.paint(canvas.tube([at(18 * side, -28, 0), at(18 * side, -24, -140)], 2), "blood")


def _tumors(canvas: Canvas, rng: np.random.Generator, at: Place) -> None:
    rough = canvas.noise(18.0).clip(-1, 1)
    side = float(rng.choice((-1, 1)))
    throat, larynx = (14.0, 8.0, -8.0), (9.0, 16.0, -58.0)
    places = [(throat if rng.random() < 0.5 else larynx, 1, rng.uniform(9, 18))]
    for _ in range(rng.integers(0, 4)):
        node = (38 * float(rng.choice((1.0, 1.0, -1.0))), 6.0, rng.uniform(-100, 0))
        places.append((node, 2, rng.uniform(5, 14)))
    for (x, y, z), label, radius in places:
        ball = canvas.ellipsoid(at(x * side, y, z), radius * rng.uniform(0.8, 1.2, 3))
        level = ball.level * (1 + 0.25 * rough[ball.box])
        room = ("fat", "muscle", "mucosa", "tonsil", "gland") if label == 1 else ("fat", "muscle", "gland")
        canvas.paint(ball._replace(level=level), "head_neck_tumor", label=label, on=room)
        if label == 2 and radius > 10 and rng.random() < 0.5:
            canvas.paint(ball._replace(level=level * 4), "necrosis", on=("head_neck_tumor",))
