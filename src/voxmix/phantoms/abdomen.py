"""An abdomen from the dome of the liver to the bowel, supine, centered near the first lumbar vertebra."""

# ruff: noqa: RUF005  (arrays plus tuples are sums of points)

from collections.abc import Callable

import numpy as np

from voxmix.phantoms.canvas import Canvas, boxy

Place = Callable[..., np.ndarray]
Size = Callable[..., np.ndarray]

LABELS: dict[int, str] = {
    1: "spleen", 2: "right kidney", 3: "left kidney", 4: "gallbladder", 5: "esophagus", 6: "liver",
    7: "stomach", 8: "aorta", 9: "inferior vena cava", 10: "pancreas", 16: "lesion",
}  # fmt: skip
"""Numbers as in AMOS 2022, and 16 for lesions."""

# ruff: noqa: RUF005  (arrays plus tuples are sums of points)

_CAVITY = ("fat",)


def draw_abdomen(canvas: Canvas, rng: np.random.Generator, *, couch: bool) -> None:
    """Draw one person: size, fat, organ places and sizes, contents, and lesions vary."""
    size = rng.normal(1.0, 0.06)
    width, depth = 158 * size, 108 * size
    fat = rng.uniform(7, 30)

    def at(x: float, y: float, z: float, jitter: float = 4.0) -> np.ndarray:
        return np.array([x, y, z]) * size + rng.normal(0, jitter, 3)

    def big(*radii: float) -> np.ndarray:
        return np.array(radii) * size * rng.normal(1, 0.07) * rng.normal(1, 0.04, 3)

    cavity = _trunk(canvas, width=width, depth=depth, fat=fat, rng=rng, couch=couch)
    spine = -0.31 * depth
    _spine(canvas, y=spine, size=size, rng=rng)
    for side in (-1, 1):
        canvas.paint(
            canvas.tube([at(30 * side, -42, 30), at(52 * side, -34, -120)], [7, 24]), "muscle", on=_CAVITY
        )
        lung = canvas.ellipsoid(at(76 * side, -12, 132), big(66, 84, 74))
        canvas.paint(lung, "lung", on=_CAVITY, where=cavity)
    canvas.paint(
        canvas.ellipsoid(at(-22, 28, 128), big(55, 46, 40)), "heart", on=("fat", "lung"), where=cavity
    )
    _gut(canvas, rng, at, big, cavity)
    room = ("fat", "lung", "heart", "gut_wall", "gut_content", "gas")
    x, _, z = canvas.xyz
    # Seen from the front the lower edge of the liver runs from low on the right to high on the left.
    above_visceral_face = z + np.float32(0.85) * (x - 30) + 5 * canvas.noise(60) > rng.normal(-18, 8)
    for center, radii, turn in (
        (at(66, 2, 16), big(84, 88, 82), (0, 8, 0)),
        (at(4, 44, 50), big(74, 36, 34), (0, 12, 10)),
    ):
        liver = canvas.ellipsoid(center, radii, turn=turn)
        canvas.paint(liver, "liver", label=6, on=room, where=cavity & above_visceral_face)
    _stomach_spleen(canvas, rng, at, big, cavity)
    _kidneys(canvas, rng, at, big)
    _vessels(canvas, rng, at, spine=spine, size=size)
    pancreas = [at(40, 8, 0), at(12, 22, 10), at(-22, 12, 22), at(-62, -10, 36)]
    canvas.paint(
        canvas.tube(pancreas, [15, 11, 10, 8]), "pancreas", label=10, on=("fat", "gut_wall", "gut_content")
    )
    canvas.paint(
        canvas.ellipsoid(at(52, 46, 2), big(15, 20, 28), turn=(30, 0, 0)),
        "bile",
        label=4,
        on=("fat", "liver"),
    )
    _lesions(canvas, rng, at)


def _trunk(
    canvas: Canvas, *, width: float, depth: float, fat: float, rng: np.random.Generator, couch: bool
) -> np.ndarray:
    """Draw skin, fat, muscle wall and ribs; return where the cavity is."""
    x, y, z = canvas.xyz
    waist = 1 - np.float32(rng.uniform(0.0, 0.06)) * np.exp(-(((z + 30) / 60) ** 2))
    # Flatter behind, where the patient lies.
    half = np.where(y < 0, np.float32(depth * 0.93), np.float32(depth))
    across = x / waist

    def ring(inward: float) -> np.ndarray:
        return np.asarray(boxy(across / (width - inward)) + boxy(y / (half - inward * 0.8)))

    if couch:
        lying = y + depth * 0.93
        board = np.abs(lying + 12 - (x / 260) ** 2 * 40) < 7
        canvas.fill(board & (np.abs(x) < 205), "couch")
    canvas.fill(ring(0) <= 1, "skin")
    canvas.fill(ring(2.5) <= 1, "fat")
    outer = ring(float(fat))
    canvas.fill(outer <= 1, "muscle")
    front = (np.abs(x) < 2.5) & (y > 0) & (outer <= 1)
    canvas.fill(front, "fat")
    cavity = ring(float(fat) + 15) <= 1
    canvas.fill(cavity, "fat")
    shell = (ring(float(fat) + 4) <= 1) & (ring(float(fat) + 12) > 1)
    course = z + 0.55 * y
    phase = np.mod(course + rng.uniform(0, 28), 28)
    ribs = shell & (np.abs(phase - 14) < 5) & (course > -45) & (y < depth * 0.72)
    canvas.fill(ribs, "rib")
    canvas.fill(shell & (np.abs(phase - 14) < 5) & (course > 0) & (y >= depth * 0.72) & (z > 30), "cartilage")
    for side in (-1, 1):
        canvas.paint(
            canvas.tube([(36 * side, -0.72 * depth, -200), (33 * side, -0.72 * depth, 200)], 24),
            "muscle",
            on=("fat",),
        )
    return np.asarray(cavity)


def _spine(canvas: Canvas, *, y: float, size: float, rng: np.random.Generator) -> None:
    start, period = rng.uniform(0, 34), 34 * size
    for n in range(-5, 6):
        z = start + n * period
        body = canvas.ellipsoid((0, y, z), (23 * size, 18 * size, 15 * size), power=4)
        canvas.paint(canvas.ellipsoid((0, y, z + period / 2), (21 * size, 17 * size, 6), power=3), "disk")
        canvas.paint(body, "bone")
        canvas.paint(canvas.ellipsoid((0, y, z), (20 * size, 15.5 * size, 13 * size), power=4), "marrow")
        canvas.paint(canvas.ellipsoid((0, y - 45, z - 8), (3.5, 14, 9)), "rib")
        for side in (-1, 1):
            canvas.paint(canvas.ellipsoid((30 * side, y - 26, z), (20, 5, 6), turn=(0, 0, -12 * side)), "rib")
            canvas.paint(canvas.ellipsoid((14 * side, y - 33, z - 14), (7, 8, 13)), "bone")
        canvas.paint(canvas.ellipsoid((0, y - 27, z), (15, 13, 10), power=3), "bone")
    canvas.paint(canvas.tube([(0, y - 26, -300), (0, y - 26, 300)], 9.5), "csf")
    canvas.paint(canvas.tube([(0, y - 26, -20), (0, y - 26, 300)], 5), "cord")


def _gut(canvas: Canvas, rng: np.random.Generator, at: Place, big: Size, cavity: np.ndarray) -> None:
    """Draw small bowel as random loops and the colon as a frame; gas lies in front."""
    y = canvas.xyz[1]
    for _ in range(16):
        path = [at(rng.uniform(-85, 85), rng.uniform(-5, 62), rng.uniform(-125, -18))]
        for _ in range(3):
            path.append(path[-1] + rng.normal(0, 1, 3) * (34, 18, 18))
        radius = rng.uniform(10, 14)
        canvas.paint(canvas.tube(path, radius), "gut_wall", on=_CAVITY, where=cavity)
        canvas.paint(canvas.tube(path, radius - 3.5), "gut_content", on=("gut_wall",))
        if rng.random() < 0.3:
            canvas.paint(
                canvas.tube(path, radius - 4.5), "gas", on=("gut_content",), where=y > path[0][1] + 2
            )
    colon = [
        at(98, -8, -130),
        at(102, -4, -30),
        at(60, 62, -22),
        at(0, 72, -30),
        at(-70, 58, 0),
        at(-108, -14, 20),
        at(-106, -22, -130),
    ]
    canvas.paint(
        canvas.tube(colon, rng.uniform(18, 23)),
        "gut_wall",
        on=("fat", "gut_wall", "gut_content"),
        where=cavity,
    )
    canvas.paint(canvas.tube(colon, 15), "gut_content", on=("gut_wall",))
    canvas.paint(canvas.tube(colon, 14), "gas", on=("gut_content",), where=canvas.noise(45) + y / 40 > 1.2)


def _stomach_spleen(
    canvas: Canvas, rng: np.random.Generator, at: Place, big: Size, cavity: np.ndarray
) -> None:
    y = canvas.xyz[1]
    center, radii = at(-58, 26, 58), big(44, 40, 42)
    antrum = [center + (10, 10, -25), at(-15, 48, 10), at(20, 40, 6)]
    room = ("fat", "lung", "gut_wall", "gut_content", "gas", "liver")
    fundus = canvas.ellipsoid(center, radii, turn=(15, 0, 0))
    canvas.paint([fundus, *canvas.tube(antrum, [26, 20, 12])], "gut_wall", label=7, on=room, where=cavity)
    content = [canvas.ellipsoid(center, radii - 5, turn=(15, 0, 0)), *canvas.tube(antrum, [21, 15, 7])]
    canvas.paint(content, "gut_content", on=("gut_wall",), where=canvas.label == 7)
    canvas.paint(
        content, "gas", on=("gut_content",), where=(y > center[1] + rng.uniform(4, 28)) & (canvas.label == 7)
    )
    gullet = [at(-6, -18, 150), at(-10, -12, 86), center + (12, -5, 20)]
    canvas.paint(canvas.tube(gullet, 8), "gut_wall", label=5, on=("fat", "lung", "heart", "liver"))
    middle = at(-104, -38, 58)
    spleen = canvas.ellipsoid(middle, big(32, 50, 52), turn=(-20, 10, 0))
    hilum = canvas.ellipsoid(middle + (34, 22, -4), (34, 48, 60))
    hollow = np.zeros(canvas.shape, dtype=bool)
    hollow[hilum.box] = hilum.level <= 1
    canvas.paint(
        spleen,
        "spleen",
        label=1,
        on=("fat", "lung", "gut_wall", "gut_content", "gas"),
        where=cavity & ~hollow,
    )


def _kidneys(canvas: Canvas, rng: np.random.Generator, at: Place, big: Size) -> None:
    room = ("fat", "liver", "spleen", "gut_wall", "gut_content", "gas", "muscle")
    pyramids = canvas.noise(17) > -0.2
    for side, label in ((1, 2), (-1, 3)):
        center, radii = at(69 * side, -38, 2 - 9 * side), big(29, 26, 54)
        turn = (12, -10 * side, 25 * side)
        canvas.paint(canvas.ellipsoid(center, radii + 5, turn=turn), "fat", on=room[:-1], label=0)
        canvas.paint(canvas.ellipsoid(center, radii, turn=turn), "kidney_cortex", label=label, on=room[:-1])
        inner = canvas.ellipsoid(center, radii - 7, turn=turn)
        canvas.paint(inner, "kidney_medulla", on=("kidney_cortex",), where=pyramids)
        sinus = center + (-11 * side, 4, 0)
        canvas.paint(canvas.ellipsoid(sinus, (17, 10, 24), turn=turn), "fat")
        canvas.paint(canvas.ellipsoid(sinus, (10, 6, 13), turn=turn), "urine")
        canvas.paint(
            canvas.tube([sinus, center + (-24 * side, 8, -24), center + (-30 * side, 10, -120)], 3),
            "urine",
            on=("fat",),
        )


def _vessels(canvas: Canvas, rng: np.random.Generator, at: Place, *, spine: float, size: float) -> None:
    front = spine + 18 * size
    aorta = [
        (-14, front + 8, 200),
        at(-12, 0, 40, 0) * (1, 0, 1) + (0, front + 12, 0),
        (-6, front + 12, -200),
    ]
    cava = [at(20, 0, 95, 0) * (1, 0, 1) + (0, front + 26, 0), (20, front + 12, 30), (19, front + 11, -200)]
    canvas.paint(canvas.tube(aorta, 10.5 * size), "blood", label=8)
    canvas.paint(canvas.tube(cava, 11.5 * size), "blood", label=9)
    if rng.random() < 0.4:
        canvas.paint(
            canvas.ellipsoid((-20, front + 12, rng.uniform(-90, 40)), (2.5, 5, 9)), "bone", on=("blood",)
        )
    top = np.array(cava[0])
    for end in (at(115, 0, 62), at(70, 50, 66), at(-8, 52, 62)):
        canvas.paint(
            canvas.tube([top, (top + end) / 2 + (0, 4, 6), end], [5, 4.5, 2.5]),
            "blood",
            on=("liver",),
            label=6,
        )
    gate = at(36, 14, 24)
    canvas.paint(canvas.tube([at(4, 8, 2), gate], 7), "blood", on=("fat", "liver", "pancreas"))
    for end in (at(104, -10, 28), at(84, 44, 20), at(8, 46, 44)):
        canvas.paint(canvas.tube([gate, (gate + end) / 2, end], [6, 5, 2.5]), "blood", on=("liver",), label=6)
    canvas.paint(
        canvas.tube([(-10, front + 22, 12), (-4, front + 44, -30), (0, front + 50, -90)], 4.5),
        "blood",
        on=("fat", "gut_wall"),
    )
    for side in (-1, 1):
        canvas.paint(canvas.tube([(0, front + 12, -6), (50 * side, front - 6, -4)], 4), "blood", on=("fat",))


def _lesions(canvas: Canvas, rng: np.random.Generator, at: Place) -> None:
    for _ in range(rng.poisson(1.3)):
        center = at(rng.uniform(30, 110), rng.uniform(-40, 50), rng.uniform(5, 75))
        radius = rng.uniform(6, 19)
        tissue = "metastasis" if rng.random() < 0.7 else "cyst"
        shape = canvas.ellipsoid(center, radius * rng.uniform(0.8, 1.2, 3))
        canvas.paint(shape, tissue, label=16, on=("liver", "blood"), where=canvas.label == 6)
    if rng.random() < 0.4:
        side = float(rng.choice((-1, 1)))
        center = at(84 * side, -42, rng.uniform(-35, 35))
        canvas.paint(
            canvas.ellipsoid(center, np.full(3, rng.uniform(7, 18))),
            "cyst",
            label=16,
            on=("fat", "kidney_cortex", "kidney_medulla"),
        )
