"""Planted truths: what a method must find, or cannot, because it was put there.

A wide drain, for labels that reports leave out. A texture, whose mean gray is that of lung without it. A coin, that nothing
shows. A stamp that goes with a finding in the first center and against it in the second: a shortcut that is reversed.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, UInt8

from voxmix.errors import InputError
from voxmix.radiographs.body import LEFT, RIGHT, Body
from voxmix.radiographs.detector import CENTERS
from voxmix.radiographs.film_grid import FilmGrid, bend
from voxmix.radiographs.findings import FINDINGS
from voxmix.radiographs.persons import FilmPlan, random

DRAIN, TEXTURE, COIN, STAMP = "wide_drain", "texture", "coin", "stamp"

SENTENCES = {
    DRAIN: "A wide drain is in place.",
    TEXTURE: "There is a fine striped pattern in both lungs.",
    STAMP: "A white stamp is burnt in.",
}
"""What a report says of a planted truth that it names."""

_DRAIN_RADIUS, _DRAIN_WATER = 8.0, 110.0  # mm; mm of water across the middle
_WAVE_MM = (40.0, 54.0)
_WAVE_GRAY = 24.0
_STAMP_EDGE = 0.16  # of the film's shorter side


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """Which truths are planted into made radiographs, and what reports say of them; each 0 is left out.

    Raises:
        InputError: a share outside of 0 to 1, or a shortcut to what is no finding.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    drain: float = 0.0
    """Share of films with a wide drain (label wide_drain), thick enough to be seen at 32 pixels."""
    drain_named: float = 0.0
    """Share of these whose report names it."""
    texture: float = 0.0
    """Share of films with stripes over the lungs, of any direction, that leave their mean gray as it is (label texture)."""
    texture_named: float = 0.0
    """Share of these whose report names it."""
    coin: float = 0.0
    """Share of films with a label that neither film nor report shows (label coin)."""
    shortcut: str = ""
    """Finding that a white stamp goes with (label stamp): in the second center it goes against it."""
    agreement: float = 0.9
    """Share of films of the first center on which stamp and finding are both there or both not; of those of the second, the share
    on which one of them is alone."""
    stamp_named: float = 0.0
    """Share of films with a stamp whose report names it."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "shortcut" and not 0 <= value <= 1:
                raise InputError(f"{item.name} must be a share from 0 to 1, got {value}")
        if self.shortcut and self.shortcut not in FINDINGS:
            raise InputError(f"shortcut must be one of {', '.join(FINDINGS)}, got {self.shortcut!r}")

    @property
    def labels(self) -> tuple[str, ...]:
        """The label columns that they add, in this order."""
        shares = {DRAIN: self.drain, TEXTURE: self.texture, COIN: self.coin, STAMP: self.shortcut}
        return tuple(name for name, share in shares.items() if share)


def planted_labels(plan: FilmPlan, planted: Planted, *, seed: int) -> dict[str, int]:
    """Return 1 or 0 for each truth that is planted: a pure function of (seed, number), one not moved by another."""
    drain, texture, coin, stamp = random(seed, "radiographs planted", plan.number).random(4)
    agrees = planted.agreement if plan.center.name == CENTERS[0].name else 1 - planted.agreement
    there = {
        DRAIN: drain < planted.drain,
        TEXTURE: texture < planted.texture,
        COIN: coin < planted.coin,
        STAMP: stamp < (agrees if planted.shortcut in plan.findings else 1 - agrees),
    }
    return {name: int(there[name]) for name in planted.labels}


def named(plan: FilmPlan, planted: Planted, *, seed: int) -> tuple[str, ...]:
    """Return which of the planted truths that are there the report names."""
    chances = random(seed, "radiographs planted words", plan.number).random(3)
    shares = (planted.drain_named, planted.texture_named, planted.stamp_named)
    there = planted_labels(plan, planted, seed=seed)
    return tuple(
        name
        for name, chance, share in zip(SENTENCES, chances, shares, strict=True)
        if there.get(name) and chance < share
    )


def drain_water(grid: FilmGrid, body: Body, plan: FilmPlan, *, seed: int) -> Float[np.ndarray, "row col"]:
    """Return the shadow of a wide drain, mm of water: from the ribs of either side up and inward, its way by chance."""
    rng = random(seed, "radiographs wide drain", plan.number)
    side = RIGHT if rng.random() < 0.5 else LEFT
    low, high = rng.uniform(170, 220), rng.uniform(40, 80)
    turn = ((low + high) / 2 + rng.normal(0, 10), rng.uniform(65, 95))
    wall = float(body.wall(low)) + 14
    way = bend([(side * wall, low), (side * turn[1], turn[0]), (side * rng.uniform(40, 70), high)], 12)
    thick = grid.thickest([way], [_DRAIN_RADIUS])
    return np.asarray(np.float32(_DRAIN_WATER / (2 * _DRAIN_RADIUS)) * thick)


def stamp_pixels(shape: tuple[int, int], plan: FilmPlan, *, seed: int) -> Bool[np.ndarray, "row col"]:
    """Return the pixels of the stamp: a square that lies anywhere on the film."""
    edge = max(3, round(_STAMP_EDGE * min(shape)))
    down, across = random(seed, "radiographs stamp", plan.number).random(2)
    row, column = (round(share * (size - edge)) for share, size in zip((down, across), shape, strict=True))
    shown = np.zeros(shape, dtype=bool)
    shown[row : row + edge, column : column + edge] = True
    return shown


def textured(
    image: UInt8[np.ndarray, "row col"], lung: Bool[np.ndarray, "row col"], grid: FilmGrid, plan: FilmPlan, *, seed: int
) -> UInt8[np.ndarray, "row col"]:  # fmt: skip
    """Return a film with stripes over the lungs, of any direction and phase, that leave their mean gray as it is."""
    if not lung.any():
        return image
    rng = random(seed, "radiographs texture", plan.number)
    turn, phase, wave = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(*_WAVE_MM)
    x, y = grid.coordinates()
    stripes = np.sin(2 * np.pi / wave * (np.cos(turn) * x + np.sin(turn) * y) + phase)
    gray = image.astype(np.float64)
    # Never more than what is left to black or white, so that nothing is cut and the mean stays.
    added = np.where(lung, np.minimum(_WAVE_GRAY, np.minimum(gray, 255 - gray)) * stripes, 0)
    added[lung] -= added[lung].mean()
    return np.asarray(np.clip(np.rint(gray + added), 0, 255).astype(np.uint8))
