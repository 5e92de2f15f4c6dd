"""A person's chest in numbers: the outlines that anatomy, findings and tubes are drawn along.

All lengths are in mm of an adult of middle size; a film scales them. ``side`` is -1 for the patient's right (on the
left of the film) and 1 for the left.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

RIGHT, LEFT = -1, 1

_RIB_WIDTH = np.array([42, 70, 90, 105, 115, 122, 128, 132, 134, 132, 124, 104], dtype=float)
_RIB_DROP = np.array([12, 24, 33, 40, 45, 49, 52, 54, 56, 58, 62, 60], dtype=float)
_RIB_END = np.radians([140, 140, 138, 136, 134, 132, 130, 124, 116, 106, 88, 62])
_RIB_PITCH = 22.5

_WALL_Y = np.array([-9, -6, 0, 10, 25, 45, 75, 110, 150, 200, 250, 300, 420], dtype=float)
_WALL_X = np.array([46, 58, 71, 84, 98, 110, 121, 128, 132.5, 135.5, 137, 137, 137], dtype=float)
_MIDDLE_Y = np.array([-9, -6, 0, 15, 40, 90, 300, 420], dtype=float)
_MIDDLE_X = np.array([46, 37, 28, 20, 15, 9, 6, 6], dtype=float)


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """One person on one film.

    Attributes:
        woman: Whether the breasts cast a shadow.
        thickness: Depth of the chest against an adult of middle size.
        lift: How much higher the domes stand than after a deep breath, mm.
        domes: Height added to the right and the left dome, mm (a raised one has lost volume).
        turn: Turn about the long axis: shifts what lies in front against what lies behind, mm.
        heart: Width of the heart against one that fills 45% of the chest.
        carina: (x, y) where the windpipe divides.
        rib_jitter: Shift of each rib, mm, right then left.
        spine_bend: Sideways bend of the spine, mm.
        shoulders: Height added to the shoulders, mm.
        arms: Whether the arms hang beside the chest (AP) or are out of the way (PA).
        vessels: Seed of the vessels of the lungs.
        knob: Size of the aortic arch against the usual one.
        bubble: Size of the stomach's air bubble against the usual one.
    """

    woman: bool = False
    thickness: float = 1.0
    lift: float = 0.0
    domes: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    heart: float = 1.0
    carina: tuple[float, float] = (3.0, 88.0)
    rib_jitter: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,) * 12, (0.0,) * 12)
    spine_bend: float = 0.0
    shoulders: float = 0.0
    arms: bool = False
    vessels: int = 0
    knob: float = 1.0
    bubble: float = 1.0

    def wall(self, y: np.ndarray | float) -> Float[np.ndarray, "..."]:
        """Return how far the lung reaches from the midline to the ribs at height y."""
        return np.asarray(np.interp(y, _WALL_Y, _WALL_X))

    def inner(self, y: np.ndarray | float) -> Float[np.ndarray, "..."]:
        """Return how far from the midline the lung begins at height y."""
        return np.asarray(np.interp(y, _MIDDLE_Y, _MIDDLE_X))

    def dome_top(self, side: int) -> tuple[float, float]:
        """Return (distance from the midline, y) of a dome's top."""
        right = side == RIGHT
        return (66.0 if right else 72.0), (231.0 if right else 243.0) - self.lift - self.domes[
            0 if right else 1
        ]

    def diaphragm(self, side: int, out: np.ndarray | float) -> Float[np.ndarray, "..."]:
        """Return y of a dome at distances ``out`` from the midline; it ends in the angle at the ribs."""
        middle, top = self.dome_top(side)
        share = np.asarray(out, dtype=np.float32) - np.float32(middle)
        share = np.clip(
            np.where(share > 0, share / np.float32(137.5 - middle), share / np.float32(middle + 18)), -1, 1
        )
        fall = 1 - np.sqrt(1 - share * share * np.float32(0.97))
        depth = np.where(share > 0, np.float32(58 + 0.45 * self.lift), np.float32(30))
        return np.asarray(top + depth * fall)

    def angle(self, side: int) -> tuple[float, float]:
        """Return (x, y) of the costophrenic angle."""
        return side * 134.0, float(self.diaphragm(side, 134.0))

    def ribs(self, side: int) -> tuple[list[np.ndarray], list[float]]:
        """Return the ribs' axes of one side, from the spine round to the front, and how much of each lies behind."""
        found, behind = [], []
        for k in range(12):
            angle = np.linspace(np.arcsin(19 / (_RIB_WIDTH[k] + 3)), _RIB_END[k], 40)
            y = -6 + _RIB_PITCH * k + self.rib_jitter[0 if side == RIGHT else 1][k] - self.lift * k / 40
            y = y + _RIB_DROP[k] * (1 - np.cos(angle)) - 5 * np.sin(np.minimum(angle, np.pi / 2)) ** 2
            x = side * (_RIB_WIDTH[k] + 3) * np.sin(angle) - self.turn * np.cos(angle)
            line = np.stack([x, y], axis=1)
            length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
            found.append(line)
            behind.append(float(np.interp(np.pi / 2, angle, length / length[-1])))
        return found, behind

    def spine(self, y: np.ndarray | float) -> Float[np.ndarray, "..."]:
        """Return x of the spine's middle."""
        return -self.turn + self.spine_bend * np.sin(np.pi * np.asarray(y, dtype=np.float32) / 300)
