"""A head: scalp, skull, folded cortex, deep gray matter, ventricles, eyes, air-filled sinuses."""

# ruff: noqa: RUF005  (arrays plus tuples are sums of points)

import numpy as np

from voxmix.phantoms.canvas import Canvas
from voxmix.phantoms.tissues import CODE

LABELS: dict[int, str] = {
    1: "necrotic core", 2: "edema", 3: "enhancing tumor", 4: "ventricles", 5: "deep gray matter",
    6: "brainstem", 7: "cerebellum", 8: "white matter", 9: "gray matter",
}  # fmt: skip
"""1 to 3 as in BraTS 2023."""

# ruff: noqa: RUF005  (arrays plus tuples are sums of points)

_BRAIN = np.array([67.0, 85.0, 68.0])
_FOSSA = np.array([52.0, 42.0, 36.0])
_FOSSA_AT = np.array([0.0, -42.0, -38.0])
_SOFT = ("air", "skin", "fat", "muscle")


def draw_head(canvas: Canvas, rng: np.random.Generator, *, tumor: bool) -> None:
    """Draw one head about the middle of the brain; size, ventricles, folds and lesions vary."""
    size = rng.normal(1.0, 0.04) * rng.normal(1, 0.025, 3)
    _outside(canvas, size)
    _skull(canvas, rng, size)
    _face(canvas, rng, size)
    _brain(canvas, rng, size)
    if tumor:
        _tumor(canvas, rng, size)


def _outside(canvas: Canvas, size: np.ndarray) -> None:
    """Draw skin over fat over muscle: cranium, face and neck."""
    for inward, tissue in ((0.0, "skin"), (2.5, "fat")):
        for center, radii in (
            ((0, 0, 0), _BRAIN + 15),
            ((0, -34, -42), (68, 58, 62)),
            ((0, 48, -58), (60, 52, 66)),
            ((0, 92, -58), (13, 18, 18)),
            ((0, 36, -104), (60, 54, 36)),
            ((0, -22, -110), (60, 60, 90)),
        ):
            canvas.paint(canvas.ellipsoid(center * size, np.array(radii) * size - inward), tissue, on=_SOFT)
    for side in (-1, 1):
        ear = canvas.ellipsoid(np.array((80 * side, -12, -28)) * size, (6, 16, 26), turn=(0, 0, 20 * side))
        canvas.paint(ear, "skin", on=("air",))
        canvas.paint(
            canvas.ellipsoid(np.array((48 * side, 34, -62)) * size, (12, 22, 28)), "muscle", on=("fat",)
        )
    canvas.paint(canvas.ellipsoid(np.array((0, -45, -100)) * size, (48, 34, 60)), "muscle", on=("fat",))


def _skull(canvas: Canvas, rng: np.random.Generator, size: np.ndarray) -> None:
    thick = rng.uniform(6.0, 8.5)
    for outward, tissue in ((thick, "bone"), (thick - 2.2, "skull_marrow"), (3.2, "bone")):
        canvas.paint(canvas.ellipsoid((0, 0, 0), (_BRAIN + outward) * size), tissue)
        fossa = canvas.ellipsoid(_FOSSA_AT * size, (_FOSSA + outward) * size)
        canvas.paint(fossa, tissue, on=(*_SOFT, "bone") if tissue == "bone" else ("bone",))
    canvas.paint(canvas.ellipsoid((0, 0, 0), (_BRAIN + 1.5) * size), "csf")
    canvas.paint(canvas.ellipsoid(_FOSSA_AT * size, (_FOSSA + 1.5) * size), "csf")
    for side in (-1, 1):
        petrous = [np.array((62 * side, -14, -40)) * size, np.array((14 * side, 8, -42)) * size]
        canvas.paint(canvas.tube(petrous, [9, 5]), "bone")
        cells = canvas.ellipsoid(np.array((62 * side, -22, -46)) * size, (9, 13, 14))
        canvas.paint(cells, "gas", where=canvas.noise(9) > -0.2)
    # The floor of the anterior fossa lies higher than that of the middle one.
    y, z = canvas.xyz[1:]
    floor = -50 + 36 / (1 + np.exp(np.clip((40 - y) / 5, -30, 30)))
    behind = np.zeros(canvas.shape, dtype=bool)
    back = canvas.ellipsoid(_FOSSA_AT * size, (_FOSSA + 1.5) * size)
    behind[back.box] = back.level <= 1
    below = (canvas.tissue == CODE["csf"]) & (z < floor) & ~behind
    canvas.fill(below, "muscle")
    canvas.fill(below & (z > floor - 4), "bone")


def _face(canvas: Canvas, rng: np.random.Generator, size: np.ndarray) -> None:
    """Draw cheek bones, palate, nasal cavity, sinuses and orbits."""
    s = size
    for side in (-1, 1):
        canvas.paint(canvas.ellipsoid(np.array((30 * side, 62, -62)) * s, (19, 22, 21)), "bone", on=_SOFT)
        canvas.paint(canvas.ellipsoid(np.array((30 * side, 60, -62)) * s, (15.5, 18, 18)), "gas")
        canvas.paint(
            canvas.ellipsoid(np.array((30 * side, 60, -78)) * s, (15, 18, rng.uniform(0, 7))),
            "mucosa",
            on=("gas",),
        )
        arch = [
            np.array((46 * side, 66, -42)) * s,
            np.array((66 * side, 38, -42)) * s,
            np.array((68 * side, 4, -40)) * s,
        ]
        canvas.paint(canvas.tube(arch, 3.5), "rib", on=_SOFT)
        canvas.paint(
            canvas.ellipsoid(np.array((32 * side, 64, -31)) * s, (21, 26, 20)), "bone", on=(*_SOFT, "bone")
        )
        canvas.paint(
            canvas.ellipsoid(np.array((32 * side, 68, -31)) * s, (18, 26, 17)), "fat", on=(*_SOFT, "bone")
        )
        eye = np.array((32 * side, 78, -31)) * s
        nerve = [
            eye - (2 * side, 11, 0),
            np.array((20 * side, 44, -29)) * s,
            np.array((6 * side, 26, -26)) * s,
        ]
        canvas.paint(canvas.tube(nerve, 2.6), "white", on=("fat", "bone"))
        for dx, dz in ((0, 11), (0, -11), (11, 0), (-11, 0)):
            muscle = [eye + (dx, -2, dz), np.array((20 * side, 42, -29)) * s]
            canvas.paint(canvas.tube(muscle, [2.4, 2.0]), "muscle", on=("fat",))
        canvas.paint(canvas.ellipsoid(eye, (12.8, 12.8, 12.8)), "muscle", on=(*_SOFT, "bone"))
        canvas.paint(canvas.ellipsoid(eye, (11.6, 11.6, 11.6)), "vitreous")
        canvas.paint(canvas.ellipsoid(eye + (0, 8, 0), (5, 2.8, 5)), "lens")
    canvas.paint(
        canvas.ellipsoid(np.array((0, 62, -56)) * s, np.array((15, 34, 27)) * s), "bone", on=(*_SOFT, "bone")
    )
    canvas.paint(
        canvas.ellipsoid(np.array((0, 64, -56)) * s, np.array((12.5, 34, 24)) * s), "gas", on=(*_SOFT, "bone")
    )
    canvas.paint(
        canvas.ellipsoid(np.array((rng.normal(0, 1.5), 60, -56)) * s, (1.6, 30, 24)), "cartilage", on=("gas",)
    )
    for side in (-1, 1):
        for z, width in ((-70, 5.5), (-56, 4.0)):
            canvas.paint(
                canvas.ellipsoid(np.array((6.5 * side, 58, z)) * s, (width, 24, 4)), "mucosa", on=("gas",)
            )
        canvas.paint(
            canvas.ellipsoid(np.array((9 * side, 88, 6)) * s, (9, 4.5, rng.uniform(6, 15))),
            "gas",
            on=("bone", "skull_marrow", "fat"),
        )
    canvas.paint(canvas.ellipsoid(np.array((0, 28, -38)) * s, (17, 15, 13)), "bone")
    canvas.paint(
        canvas.ellipsoid(np.array((0, 29, -37)) * s, (14, 12, 10)), "gas", where=np.abs(canvas.xyz[0]) > 1
    )
    canvas.paint(
        canvas.ellipsoid(np.array((0, -2, -42)) * s, (14, 14, 13)), "marrow", on=(*_SOFT, "csf", "bone")
    )


def _brain(canvas: Canvas, rng: np.random.Generator, size: np.ndarray) -> None:
    x, y, z = canvas.xyz
    atrophy = rng.uniform(0.0, 1.0)
    a, b, c = (_BRAIN * size).astype(np.float32)
    surface = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
    depth = (1 - surface) * 73
    base = -30 - 0.12 * y * (y < 0)
    temporal = np.zeros(canvas.shape, dtype=bool)
    for side in (-1, 1):
        lobe = canvas.ellipsoid(
            np.array((40 * side, 6, -30)) * size, np.array((26, 40, 22)) * size, turn=(-12, 0, 6 * side)
        )
        temporal[lobe.box] |= lobe.level <= 1
        depth[lobe.box] = np.maximum(
            depth[lobe.box] * (z[lobe.box] > base[lobe.box]), (1 - np.sqrt(lobe.level)) * 24
        )
    inside = (depth > 0) & ((z > base) | temporal) & (canvas.tissue == CODE["csf"])
    depth = np.minimum(depth, np.where(temporal, 99, z - base + 1.5))
    depth = np.minimum(depth, np.abs(x) - 0.8 + 60 * (((y + 4) / 50) ** 2 + ((z - 2) / 26) ** 2 < 1))
    folds, finer = canvas.noise(34.0), canvas.noise(17.0)
    sulcus = np.minimum(np.abs(folds) * 11, np.abs(finer + 0.4 * folds) * 7.5 + 1.0)
    open_to = 17 + 5 * finer
    gap = 1.0 + 0.9 * atrophy
    fluid = (depth < 0.6 + 1.6 * atrophy) | ((sulcus < gap) & (depth < open_to))
    cortex = (depth < 4.4 + 1.6 * atrophy) | ((sulcus < gap + 3.0) & (depth < open_to + 3.2))
    canvas.fill(inside & ~fluid, "white", label=8)
    canvas.fill(inside & ~fluid & cortex, "gray", label=9)
    _hindbrain(canvas, size)
    _deep(canvas, rng, size, atrophy)


def _hindbrain(canvas: Canvas, size: np.ndarray) -> None:
    folia = np.abs(np.sin(canvas.xyz[2] * 0.62 + 0.9 * canvas.noise(24.0)))
    for side in (-1, 1):
        center = np.array((23 * side, -52, -44)) * size
        outer = canvas.ellipsoid(center, np.array((31, 33, 28)) * size)
        canvas.paint(outer, "cerebellum", label=7, on=("csf",), where=folia > 0.22)
        canvas.paint(
            canvas.ellipsoid(center + (0, 6, 0), np.array((17, 14, 9)) * size),
            "white",
            label=7,
            on=("cerebellum", "csf"),
        )
    canvas.paint(
        canvas.ellipsoid(np.array((0, -56, -44)) * size, np.array((9, 22, 20)) * size),
        "cerebellum",
        label=7,
        on=("csf",),
    )
    stem = [np.array(p) * size for p in ((0, -12, -12), (0, -10, -34), (0, -20, -56), (0, -24, -80))]
    canvas.paint(canvas.tube([stem[2], stem[3], stem[3] + (0, -2, -120)], [13, 11, 11]), "csf")
    canvas.paint(
        canvas.tube([*stem, stem[3] + (0, -2, -120)], [15, 15, 10, 6.5, 6]),
        "white",
        label=6,
        on=("csf", "white", "gray", "bone", "marrow"),
    )
    pons = canvas.ellipsoid(np.array((0, -8, -36)) * size, np.array((17, 13, 14)) * size)
    canvas.paint(pons, "white", label=6, on=("csf", "white", "gray", "bone", "marrow"))
    canvas.paint(
        canvas.ellipsoid(np.array((0, -27, -40)) * size, np.array((8, 5, 11)) * size), "csf", label=4
    )


def _deep(canvas: Canvas, rng: np.random.Generator, size: np.ndarray, atrophy: float) -> None:
    wide = rng.uniform(0.75, 1.15) + 0.7 * atrophy
    cerebrum = ("white", "gray", "csf")
    for side in (-1, 1):

        def at(x: float, y: float, z: float, side: int = side) -> np.ndarray:
            place: np.ndarray = np.array((x * side, y, z)) * size + rng.normal(0, 1, 3)
            return place

        insula = canvas.ellipsoid(at(46, 8, 0), (9, 25, 17), turn=(0, 0, -8 * side))
        canvas.paint(insula, "gray", label=9, on=cerebrum)
        canvas.paint(canvas.ellipsoid(at(51, 8, -1), (9, 26, 2 + 1.5 * atrophy)), "csf", on=cerebrum, label=0)
        canvas.paint(
            canvas.ellipsoid(at(28, 4, 1), (7, 21, 12), turn=(0, 0, -14 * side)),
            "deep_gray",
            label=5,
            on=cerebrum,
        )
        canvas.paint(
            canvas.ellipsoid(at(13, -14, 4), (10, 16, 10), turn=(0, 0, 20 * side)),
            "deep_gray",
            label=5,
            on=cerebrum,
        )
        path = [at(13, 30, 4), at(15, 18, 14), at(18, -6, 20)]
        canvas.paint(canvas.tube(path, [8 + wide, 7 + wide, 4]), "deep_gray", label=5, on=cerebrum)
        hippocampus = [at(26, -6, -20), at(28, -24, -14)]
        canvas.paint(canvas.tube(hippocampus, 5), "deep_gray", label=5, on=cerebrum)
        horns = [
            at(9, 34, 5),
            at(9, 14, 15),
            at(11, -14, 19),
            at(22, -38, 10),
            at(32, -22, -12),
            at(33, -2, -20),
        ]
        canvas.paint(
            canvas.tube(horns, np.array([5.5, 5, 5.5, 7, 3, 2]) * wide),
            "csf",
            label=4,
            on=(*cerebrum, "deep_gray"),
        )
        tail = [at(22, -38, 10), at(20, -58, 6)]
        canvas.paint(canvas.tube(tail, np.array([6.5, 2]) * wide), "csf", label=4, on=cerebrum)
    canvas.paint(canvas.ellipsoid(np.array((0, -8, 2)) * size, (2.2 * wide, 14, 11)), "csf", label=4)
    canvas.paint(canvas.tube([(0, -24, -12), (0, -27, -34)], 1.8), "csf", label=4)


def _tumor(canvas: Canvas, rng: np.random.Generator, size: np.ndarray) -> None:
    """Draw a glioma-like lesion: necrotic core, enhancing rim, edema along white matter."""
    side = float(rng.choice((-1, 1)))
    center = np.array((side * rng.uniform(18, 42), rng.uniform(-45, 45), rng.uniform(0, 38))) * size
    rough = canvas.noise(22.0).clip(-1, 1)
    radius = rng.uniform(9, 20)
    for reach, tissue, label, on in (
        (radius + rng.uniform(6, 16), "edema", 2, ("white",)),
        (radius, "brain_tumor", 3, ("white", "gray", "edema", "deep_gray", "csf")),
        (radius * rng.uniform(0.3, 0.7), "necrosis", 1, ("brain_tumor",)),
    ):
        ball = canvas.ellipsoid(center, np.full(3, reach * 1.25) * rng.uniform(0.85, 1.1, 3))
        level = ball.level * (1 + 0.35 * rough[ball.box]) ** 2 * 1.4
        brain = np.isin(canvas.label[ball.box], (1, 2, 3, 5, 8, 9))
        canvas.paint(ball._replace(level=np.where(brain, level, 9)), tissue, label=label, on=on)
