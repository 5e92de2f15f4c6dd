"""Draw docs/images/radiographs.png: made radiographs with one finding or tube each, and their maps.

python docs/make_radiograph_montage.py [TARGET.png]
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from voxmix.radiographs.persons import FilmPlan, plan_film
from voxmix.radiographs.writing import make_radiograph

SEED = 0
EDGE = 256
SIDES = {-1: "right", 0: "both sides", 1: "left"}


def has(*labels: str, center: int = 0, least: float = 0.0, place: str = "") -> Callable[[FilmPlan], bool]:
    """Return a test for films that show these labels and no other; the first one at least ``least`` large."""

    def fits(plan: FilmPlan) -> bool:
        if {*plan.findings, *plan.tubes} != set(labels) or plan.center.name != ("CXR-A", "CXR-B")[center]:
            return False
        if any(tube.misplaced for tube in plan.tubes.values()):
            return False
        first = plan.findings.get(labels[0]) if labels else None
        return first is None or (first.size >= least and first.place.endswith(place))

    return fits


SHOWN: dict[str, Callable[[FilmPlan], bool]] = {
    "center A, no finding": has(),
    "center B, no finding": has(center=1),
    "effusion": has("effusion", least=0.5),
    "pneumothorax": has("pneumothorax", least=0.4),
    "consolidation": has("consolidation", least=0.4, place="lower"),
    "atelectasis": has("atelectasis", least=0.4, place="plate"),
    "edema": has("edema", least=0.4),
    "cardiomegaly": has("cardiomegaly", least=0.4),
    "mass": has("nodule", least=0.5, place="mass"),
    "endotracheal and nasogastric tube": has("endotracheal_tube", "nasogastric_tube"),
    "central line": has("central_line"),
    "pacemaker": has("pacemaker"),
}
"""Title to the films that it may stand under; the first one of the seed is taken."""

INTENSIVE = has("effusion", "endotracheal_tube", "nasogastric_tube", "central_line", center=1, least=0.3)
MAPS = has("pneumothorax", "chest_tube")
COLORS = ((90, 150, 255), (255, 150, 40))


def first(fits: Callable[[FilmPlan], bool]) -> int:
    """Return the number of the first film that fits."""
    return next(number for number in range(20_000) if fits(plan_film(number, seed=SEED)))


def _palette() -> Image.Image:
    """Return grays and the two colors of maps over them: fewer colors make a small file."""
    grays = np.repeat(np.linspace(0, 255, 96)[:, None], 3, axis=1)
    over = [0.6 * np.linspace(0, 255, 40)[:, None] + 0.4 * np.array(color) for color in COLORS]
    image = Image.new("P", (1, 1))
    image.putpalette(np.concatenate([grays, *over]).astype(np.uint8).tobytes())
    return image


def main(target: Path) -> None:
    """Write the montage."""
    figure, axes = plt.subplots(3, 5, figsize=(10.0, 6.7), facecolor="black")
    axes = axes.ravel()
    for axis, (title, fits) in zip(axes, SHOWN.items(), strict=False):
        made = make_radiograph(first(fits), seed=SEED, edge=EDGE)
        side = next((SIDES[f.side] for f in made.plan.findings.values() if f.side), "")
        axis.imshow(made.film.image, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
        axis.set_title(f"{side} {title}".strip(), color="white", fontsize=8, pad=3)
    care, made = (make_radiograph(first(fits), seed=SEED, edge=EDGE) for fits in (INTENSIVE, MAPS))
    colored = np.repeat(made.film.image[:, :, None], 3, axis=2).astype(float)
    for color, shown in zip(COLORS, made.film.maps.values(), strict=True):
        colored[shown] = 0.6 * colored[shown] + 0.4 * np.array(color)
    last = {
        "center B, effusion, three tubes": np.repeat(care.film.image[:, :, None], 3, axis=2),
        "pneumothorax, chest tube": np.repeat(made.film.image[:, :, None], 3, axis=2),
        "their maps": colored.astype(np.uint8),
    }
    for axis, (title, image) in zip(axes[len(SHOWN) :], last.items(), strict=True):
        axis.imshow(image, interpolation="bilinear")
        axis.set_title(title, color="white", fontsize=8, pad=3)
    for axis in axes:
        axis.set_axis_off()
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.965, wspace=0.03, hspace=0.09)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100, facecolor="black")
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE).save(
            target, optimize=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "radiographs.png")
