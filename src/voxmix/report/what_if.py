"""What the report's panel of what-ifs is given: the laws' numbers, their bootstrap draws, and the settings it begins with.

The page's script (``what_if_solver.js``) solves the same programs as :mod:`voxmix.allocation`; a test compares the two in
a browser.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, UInt8

from voxmix.allocation import OBJECTIVES, Allocation, AllocationSettings
from voxmix.allocation.objective import OBJECTIVE_WORDS
from voxmix.allocation.strategies import baselines
from voxmix.law import FittedLaw
from voxmix.law.forms import LawParameters
from voxmix.law.numbers import plain
from voxmix.law.reducible import OFFSET, POWER
from voxmix.mixture import Mixture
from voxmix.report.content import ReportContent, mixture_of
from voxmix.report.palette import domain_marks

_EXACT_BYTES, _MOST_BYTES = 1_400_000, 1_500_000
"""Most bytes of draws on a page, as they are and in short; as text they are a third longer."""
_FALLS = (POWER, OFFSET)
"""Formulas that the script knows."""
_BY_TARGET = {"E": "irreducible_loss", "A": "amplitude", "beta": "exponent", "rho": "rho"}
_BUDGET = {"B": "budget_amplitude", "a": "budget_exponent"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """One domain or target: its name, and of a domain its color."""

    name: str
    color: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class WhatIf:
    """The panel: ``data`` for its script, and the names of what can be chosen."""

    kind: ClassVar[str] = "mixtures"
    data: Mapping[str, Any]
    laws: tuple[tuple[str, str], ...]
    objectives: tuple[tuple[str, str], ...]
    presets: tuple[str, ...]
    domains: tuple[Control, ...]
    targets: tuple[Control, ...]
    level: float
    tolerance: float
    unit: str
    quantity: str
    low: float
    high: float
    most_min: float
    whole_study: bool
    remarks: tuple[str, ...]


def what_if(content: ReportContent, *, command: str = "voxmix allocate") -> WhatIf | str:
    """Return the panel of a report's laws, or why there is none; "" where no law is fitted.

    Args:
        content: of the report.
        command: what computes the same allocation, before its options.
    """
    able = portable_laws(content)
    left = [name for name in content.laws_in_order if name not in able]
    asked = content.asked or AllocationSettings(
        min_weight=0.05 if content.min_weight is None else content.min_weight
    )
    if not content.laws:
        return ""
    if asked.cost:
        return (
            "The panel of what-ifs knows no prices of draws, and this study has some; voxmix allocate does."
        )
    if not able:
        return (
            f"The panel of what-ifs does not know the formula of {' and '.join(left)}; voxmix allocate does."
        )
    remarks = [f"The law {name} is left out: the page does not know its formula." for name in left]
    kept, exact = _room(able)
    for name, law in able.items():
        if law.bootstrap is not None and kept[name] < law.bootstrap.draws:
            remarks.append(
                f"Of the law {name} the page keeps {kept[name]} of {law.bootstrap.draws:,} bootstrap draws, so that it "
                "stays small: intervals here differ a little from those of voxmix allocate."
            )
    if any(law.bootstrap is None for law in able.values()):
        remarks.append("Laws without bootstrap draws have no intervals.")
    first = next(iter(able.values()))
    budget = content.budget or asked.budget or first.budget_range[1]
    targets = tuple(dict.fromkeys(name for law in able.values() for name in law.targets))
    marks = domain_marks(content.domain_names)
    lowest = np.log10(min(law.budget_range[0] for law in able.values()))
    highest = np.log10(max(law.budget_range[1] for law in able.values()))
    settings = {
        "law": next(iter(able)),
        "n": float(budget),
        "min": asked.min_weight,
        "obj": asked.objective,
        "w": {name: weight for name, weight in asked.target_weights.items() if name in targets},
        "max": dict(asked.max_weight),
        "fix": dict(asked.fixed),
    }
    presets = _presets(content, settings, able)
    data = {
        "domains": list(content.domain_names),
        "targets": list(targets),
        "colors": [marks[name].color for name in content.domain_names],
        "laws": {name: _law(law, asked, kept[name], exact=exact) for name, law in able.items()},
        "words": OBJECTIVE_WORDS,
        "asked": settings,
        "presets": presets,
        "level": asked.level,
        "tolerance": asked.tolerance,
        "max_epochs": asked.max_epochs,
        "given_volumes": dict(asked.volumes) if asked.max_epochs is not None else {},
        "guard": _guard_name(asked),
        "command": command,
        "unit": first.response.unit,
        "whole_study": content.asked is not None,
    }
    return WhatIf(
        data=data,
        laws=tuple((name, law.form.label) for name, law in able.items()),
        objectives=tuple((name, OBJECTIVE_WORDS[name]) for name in OBJECTIVES),
        presets=tuple(presets),
        domains=tuple(Control(name=name, color=marks[name].color) for name in content.domain_names),
        targets=tuple(Control(name=name) for name in targets),
        level=asked.level,
        tolerance=asked.tolerance,
        unit=first.response.unit,
        quantity="losses" if first.response.label == "loss" else first.response.label,
        low=round(min(lowest, np.log10(budget)), 2),
        high=round(max(highest + 3, np.log10(budget) + 1), 2),
        most_min=round(100 / len(content.domain_names), 2),
        whole_study=content.asked is not None,
        remarks=tuple(remarks),
    )


def portable_laws(content: ReportContent) -> dict[str, FittedLaw]:
    """Return the laws that the page's script can compute, in the order in which they are listed."""
    laws = {name: content.laws[name] for name in content.laws_in_order}
    return {name: law for name, law in laws.items() if law.parameters.fall in _FALLS}


def _guard_name(asked: AllocationSettings) -> str | None:
    return asked.no_worse_than if isinstance(asked.no_worse_than, str) else None


def _guard(law: FittedLaw, asked: AllocationSettings) -> list[float] | None:
    """Return the mixture that no target may be worse than under."""
    wanted = asked.no_worse_than
    if wanted is None:
        return None
    if isinstance(wanted, Mixture):
        return [float(share) for share in law.weights_of(wanted)]
    from voxmix.allocation.strategies import Situation

    now = Situation(domains=law.domains, volumes=asked.knowing(law.volumes).volumes, settings=asked)
    row = next(row for row in baselines() if row.name == wanted)
    assert row.mixture is not None
    return [float(share) for share in row.mixture(now).weights]


def _presets(
    content: ReportContent, settings: Mapping[str, Any], laws: Mapping[str, FittedLaw]
) -> dict[str, dict[str, Any]]:
    """Return strategy to the settings that give its mixture: those of its law, or every share held where it is a guess."""
    found: dict[str, dict[str, Any]] = {}
    for name, item in content.strategies.items():
        if not isinstance(item, Allocation):
            shares = dict(zip(content.domain_names, mixture_of(item).weights.tolist(), strict=True))
            found[name] = {**settings, "min": 0.0, "max": {}, "fix": shares}
        elif item.law in laws:
            found[name] = {
                **settings,
                "law": item.law,
                "n": item.budget,
                "min": item.min_weight,
                "obj": item.kind,
            }
    return found


def _room(laws: Mapping[str, FittedLaw]) -> tuple[dict[str, int], bool]:
    """Return how many draws of each law the page keeps, and whether as they are.

    Exact draws give the intervals of ``voxmix allocate`` to the last digit, so they are kept while the page stays small;
    then in fewer bytes each (to 8e-6, which may move an end of an interval by a tenth of a point where a draw rests on a
    bound or not); then only as many as each law's share of the room holds.
    """
    draws = {name: 0 if law.bootstrap is None else law.bootstrap.draws for name, law in laws.items()}
    if sum(count * _size(laws[name], exact=True) for name, count in draws.items()) <= _EXACT_BYTES:
        return draws, True
    if sum(count * _size(laws[name], exact=False) for name, count in draws.items()) <= _MOST_BYTES:
        return draws, False
    share = _MOST_BYTES / sum(count > 0 for count in draws.values())
    return {
        name: count and min(count, int(share / _size(laws[name], exact=False)))
        for name, count in draws.items()
    }, False


def _size(law: FittedLaw, *, exact: bool) -> int:
    """Return the bytes of one draw."""
    if law.bootstrap is None:
        return 0
    return len(_packed(law, law.bootstrap.take(np.arange(1)), law.bootstrap, exact=exact))


def _law(law: FittedLaw, asked: AllocationSettings, kept: int, *, exact: bool) -> dict[str, Any]:
    parameters = law.parameters
    volumes = asked.knowing(law.volumes).volumes
    seeds = None
    if law.seed_effects.spread:
        widening = law.seed_effects.widening(asked.level, new_seed=True)
        seeds = dict(zip(("normal", "student", "variance"), widening, strict=True))
    value: dict[str, Any] = {
        "targets": list(law.targets),
        "label": law.form.label,
        "fitted": list(law.budget_range),
        "by_share": parameters.by_share,
        "unique": plain(parameters.unique),
        "numbers": {name: plain(array) for name, array in _numbers(law, parameters).items()},
        "repeats": plain(parameters.repeats),
        "tau": plain(parameters.transfer.ravel()),
        "stock": [
            volumes[name] * asked.max_epochs if asked.max_epochs is not None and name in volumes else None
            for name in law.domains
        ],
        "guard": _guard(law, asked),
        "corrected": law.method != "joint",
        "seeds": seeds,
        "best": law.response.best if law.response.rises else None,
        "response": law.response.label,
        "draws": 0,
    }
    if law.bootstrap is None or not kept:
        return value
    index = np.unique(np.linspace(0, law.bootstrap.draws - 1, kept).round().astype(np.int64))
    moving = _moving(law.bootstrap)
    packed = _packed(law, law.bootstrap.take(index), law.bootstrap, exact=exact)
    return value | {
        "draws": len(index),
        "all_draws": law.bootstrap.draws,
        "exact": exact,
        "still": plain(law.bootstrap.transfer[0].ravel()),
        "moving": np.flatnonzero(moving).tolist(),
        "packed": b64encode(packed).decode("ascii"),
    }


def _numbers(law: FittedLaw, parameters: LawParameters) -> dict[str, np.ndarray]:
    """Return the numbers per target that the law has, by the names of the script."""
    names = _BY_TARGET | (_BUDGET if parameters.by_share else {})
    found = {short: getattr(parameters, name) for short, name in names.items()}
    return found | dict(parameters.formula_numbers)


def _moving(draws: LawParameters) -> np.ndarray:
    """Return which transfers, source by source, differ between the draws; the others are kept once."""
    flat = draws.transfer.reshape(draws.draws, -1)
    return np.asarray(np.any(flat != flat[:1], axis=0))


def _packed(law: FittedLaw, draws: LawParameters, every: LawParameters, *, exact: bool) -> bytes:
    """Return draws as bytes: all numbers per target and repeats, then the transfers that move.

    All as float64, or the first as float32 and the transfers in three bytes each.
    """
    parts = list(_numbers(law, draws).values())
    if np.isfinite(law.parameters.unique).any():
        parts.append(draws.repeats)
    numbers = np.concatenate(parts, axis=1)
    transfers = draws.transfer.reshape(draws.draws, -1)[:, _moving(every)]
    if exact:
        return numbers.astype("<f8").tobytes() + transfers.astype("<f8").tobytes()
    return numbers.astype("<f4").tobytes() + _in_three_bytes(transfers).tobytes()


def _in_three_bytes(values: Float[np.ndarray, "draw pair"]) -> UInt8[np.ndarray, "draw pair 3"]:
    """Return numbers of at least 0 in three bytes each: a float32 without sign and last seven bits, rounded (to 8e-6)."""
    bits = values.astype("<f4").view("<u4").astype(np.uint64)
    short = np.minimum((bits + 64) >> 7, 0xFFFFFF).astype("<u4")
    return np.asarray(short[..., None].view(np.uint8)[..., :3])
