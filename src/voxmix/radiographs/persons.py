"""Who is on which film: persons, their chests, what they have and what is in them, film after film.

All of it is a pure function of (seed, number of the film).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from voxmix.radiographs.body import LEFT, RIGHT, Body
from voxmix.radiographs.detector import CENTERS, Center
from voxmix.radiographs.findings import Finding
from voxmix.radiographs.tubes import POSITIONS, WAYS, Tube

_BLOCK = 12
"""Films that are dealt out to persons together, so that a film's person needs no count of those before."""

PREVALENCE: dict[str, float] = {
    "effusion": 0.18, "pneumothorax": 0.08, "consolidation": 0.17, "atelectasis": 0.16, "edema": 0.11,
    "cardiomegaly": 0.16, "nodule": 0.1,
}  # fmt: skip
"""Share of persons with each finding at a center whose ``prevalence`` is 1, apart from what others bring along."""

_BROUGHT = {"edema": {"cardiomegaly": 0.55, "effusion": 0.45}}
"""Findings that come with others, and how often."""

_TUBES: dict[str, tuple[float, float]] = {
    "endotracheal_tube": (0.0, 0.36), "nasogastric_tube": (0.03, 0.34), "central_line": (0.12, 0.42),
    "chest_tube": (0.01, 0.07), "pacemaker": (0.08, 0.1),
}  # fmt: skip
"""Share of films with each tube, in the film room and at the bedside, at a center whose ``tubes`` is 1."""

_STAYS = 0.8
"""Share of findings that a person still has on the next film."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmPlan:
    """Everything that decides one film but its pixels and words.

    Attributes:
        number: Which film.
        person: Number of the person's first film.
        order: How many films of the person came before.
        center: Where it was taken.
        portable: Whether at the bedside (AP).
        size: Size of the person against an adult of middle size.
        body: The chest.
        findings, tubes: What is seen, by label.
        before: What was there on the person's film before, findings and tubes; None on the first.
    """

    number: int
    person: int
    order: int
    center: Center
    portable: bool
    size: float
    body: Body
    findings: Mapping[str, Finding]
    tubes: Mapping[str, Tube]
    before: frozenset[str] | None

    @property
    def view(self) -> str:
        """AP at the bedside, else PA."""
        return "AP" if self.portable else "PA"


def random(seed: int, name: str, number: int) -> np.random.Generator:
    """Return a generator of its own for each (seed, name, number)."""
    return np.random.default_rng(list(hashlib.sha256(f"{seed}/{name}/{number}".encode()).digest()[:16]))


def person_of(number: int, *, seed: int) -> tuple[int, int]:
    """Return (number of the person's first film, how many films came before this one); persons have one to four."""
    block, place = divmod(number, _BLOCK)
    rng = random(seed, "radiographs persons", block)
    start = 0
    while True:
        films = min(int(rng.choice(4, p=(0.46, 0.26, 0.17, 0.11))) + 1, _BLOCK - start)
        if place < start + films:
            return block * _BLOCK + start, place - start
        start += films


def plan_film(number: int, *, seed: int, centers: int = len(CENTERS)) -> FilmPlan:
    """Return what is on film ``number``: a pure function of its arguments."""
    first, order = person_of(number, seed=seed)
    who = random(seed, "radiographs person", first)
    center = CENTERS[int(who.integers(2**30)) % centers]
    body = _person(who)
    size = float(np.clip(who.normal(1.02 - 0.06 * body.woman, 0.045), 0.87, 1.12))
    findings: dict[str, Finding] = {}
    tubes: dict[str, Tube] = {}
    before: frozenset[str] | None = None
    portable = False
    habit = who.random()
    for film in range(first, first + order + 1):
        rng = random(seed, "radiographs state", film)
        before = frozenset((*findings, *tubes)) if film > first else None
        findings = _findings(findings, center, rng, new=film == first)
        portable = bool(
            rng.random() < np.clip(center.portable + (0.35 if habit < center.portable else -0.3), 0, 1)
        )
        tubes = _tubes(tubes, findings, center, portable, rng)
    return FilmPlan(
        number=number, person=first, order=order, center=center, portable=portable, size=size,
        body=_posed(body, findings, portable, random(seed, "radiographs pose", number)),
        findings=findings, tubes=tubes, before=before,
    )  # fmt: skip


def _person(rng: np.random.Generator) -> Body:
    jitter = [tuple(float(v) for v in rng.normal(0, 1.6, 12)) for _ in range(2)]
    return Body(
        woman=bool(rng.random() < 0.48),
        thickness=float(np.clip(rng.normal(1.0, 0.09), 0.8, 1.25)),
        heart=float(np.clip(rng.normal(1.0, 0.045), 0.9, 1.08)),
        carina=(float(rng.normal(3, 1.5)), float(rng.normal(88, 4))),
        rib_jitter=(jitter[0], jitter[1]),
        spine_bend=float(rng.normal(0, 2.5)),
        shoulders=float(rng.normal(0, 4)),
        vessels=int(rng.integers(2**31)),
        knob=float(np.clip(rng.normal(1, 0.09), 0.8, 1.25)),
        bubble=float(np.clip(rng.normal(0.9, 0.35), 0.2, 1.5)),
    )


def _posed(body: Body, findings: Mapping[str, Finding], portable: bool, rng: np.random.Generator) -> Body:
    domes = [0.0, 0.0]
    if lost := findings.get("atelectasis"):
        for side in lost.sides:
            domes[0 if side == RIGHT else 1] += (8 + 10 * lost.size) * (0.4 if lost.place == "upper" else 1)
    heart = body.heart * (1.06 if portable else 1.0)
    if big := findings.get("cardiomegaly"):
        heart = body.heart * (1.27 + 0.2 * big.size)
    return replace(
        body,
        lift=float(np.clip(rng.normal(16 if portable else 2, 7), -6, 36)),
        domes=(domes[0], domes[1]),
        turn=float(rng.normal(0, 4.5 if portable else 2)),
        heart=heart,
        shoulders=body.shoulders + float(rng.normal(8 if portable else 0, 3)),
        arms=portable,
    )


def _findings(
    old: Mapping[str, Finding], center: Center, rng: np.random.Generator, *, new: bool
) -> dict[str, Finding]:
    found: dict[str, Finding] = {}
    for name, share in PREVALENCE.items():
        stays, comes, size = rng.random(), rng.random(), rng.random()
        drawn = _finding(name, size, rng)
        rate = min(share * center.prevalence, 0.9)
        if name in old and stays < (_STAYS if name not in ("cardiomegaly", "nodule") else 0.97):
            change = float(np.clip(old[name].size + 0.15 * (comes - 0.5), 0, 1))
            found[name] = replace(old[name], size=change)
        elif name not in old and comes < (rate if new else 0.22 * rate):
            found[name] = drawn
    for cause, brought in _BROUGHT.items():
        for name, share in brought.items():
            come = rng.random() < share
            drawn = _finding(name, rng.random(), rng)
            if cause in found and cause not in old and come:
                found.setdefault(name, drawn)
    if (air := found.get("pneumothorax")) and (lost := found.get("atelectasis")) and lost.place == "upper":
        found["atelectasis"] = replace(lost, side=-air.side)
    return found


def _finding(name: str, size: float, rng: np.random.Generator) -> Finding:
    pick, turn, seed = rng.random(), rng.random(), int(rng.integers(2**31))
    side = RIGHT if turn < 0.5 else LEFT
    place = ""
    if name == "effusion":
        side = 0 if pick < 0.25 else side
    elif name == "consolidation":
        side = 0 if pick < 0.12 else side
        place = ("upper", "middle", "lower", "lower")[int(turn * 97 * 4) % 4]
    elif name == "atelectasis":
        place = "plate" if pick < 0.62 else ("lower" if pick < 0.82 else "upper")
        side = (
            0
            if place == "plate" and turn > 0.7
            else (LEFT if place == "lower" else RIGHT if place == "upper" else side)
        )
    elif name == "nodule":
        zone = ("upper", "middle", "lower")[int(turn * 89 * 3) % 3]
        place = f"{zone} {'mass' if pick < 0.4 else 'nodule'}"
    elif name in ("edema", "cardiomegaly"):
        side = 0
    return Finding(name=name, side=side, size=float(size), place=place, seed=seed)


def _tubes(
    old: Mapping[str, Tube],
    findings: Mapping[str, Finding],
    center: Center,
    portable: bool,
    rng: np.random.Generator,
) -> dict[str, Tube]:
    found: dict[str, Tube] = {}
    for name, rates in _TUBES.items():
        keep, comes, pick, wrong, which = rng.random(5)
        seed = int(rng.integers(2**31))
        rate = min(rates[portable] * center.tubes, 0.9)
        if name == "nasogastric_tube" and "endotracheal_tube" in found:
            rate = max(rate, 0.75)
        air, fluid = findings.get("pneumothorax"), findings.get("effusion")
        cause = air or (fluid if fluid and fluid.side and fluid.size > 0.4 else None)
        if name == "chest_tube" and cause:
            rate = max(rate, 0.5)
        if name in old and (keep < 0.75 or name == "pacemaker") and rates[portable] > 0:
            found[name] = old[name]
        elif name not in old and comes < rate:
            found[name] = _tube(name, pick, wrong, which, seed, cause)
    return found


def _tube(name: str, pick: float, wrong: float, which: float, seed: int, cause: Finding | None) -> Tube:
    good, *bad = POSITIONS[name]
    way = WAYS[name][min(int(pick * len(WAYS[name])), len(WAYS[name]) - 1)]
    if name == "pacemaker":
        way = "left" if pick < 0.8 else "right"
    if name == "chest_tube":
        if cause is not None:
            way = "right" if cause.side == RIGHT else "left"
        low = cause is not None and cause.name == "effusion"
        return Tube(
            name=name,
            way=way,
            position="side hole outside" if wrong < 0.18 else "base" if low else "apex",
            seed=seed,
        )
    position = bad[min(int(which * len(bad)), len(bad) - 1)] if wrong < 0.22 else good
    if position == "jugular vein" and "jugular" in way:
        position = "right atrium"
    return Tube(name=name, way=way, position=position, seed=seed)


def any_tube(name: str, rng: np.random.Generator) -> Tube:
    """Return a tube of this name, its way and position drawn as for a film."""
    pick, wrong, which = rng.random(3)
    return _tube(name, pick, wrong, which, int(rng.integers(2**31)), None)
