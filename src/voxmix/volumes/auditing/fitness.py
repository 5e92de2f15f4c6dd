"""Fitness: whether what was prepared of a domain is worth training on, in words, with the lines that would fix it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from voxmix.errors import InputError
from voxmix.volumes.auditing.fields import Edges, edges_text, padded_share, smaller_spacing, sorted_edges
from voxmix.volumes.auditing.fill import OFFSET, Fill, in_hu
from voxmix.volumes.auditing.fill_columns import FillColumns
from voxmix.volumes.intensity import IntensityRule, is_sparse
from voxmix.volumes.recipe import Recipe

MUCH_PADDING, HOPELESS_PADDING = 0.8, 0.9
"""Of the 64 patches of a crop the encoder sees 16; at 80% padding 3 of those hold image, at 90% one or two. The
phantoms of the demo have at most 76%, domains of whole heads and trunks at 4 mm at most 64%."""

_MANY = 0.25
"""Share of a domain's volumes from which on padding is the domain's, not a few volumes'."""

MUCH_ONE_VALUE, HOPELESS_ONE_VALUE = 0.9, 0.95
"""Share of the commonest value. Air around a neck or a limb is up to 66% of the field, with the corners outside the
scanner's field up to 85%; volumes beyond are nearly blank."""

HOPELESS_SPARSE = 0.99
"""The same where most of the field is rightly dark: PET, whose window may begin above the background."""

MUCH_HIGH = 0.2
"""Share at 1. Bone is up to 8% of the CTs at hand; with an offset it is 25% and more."""

_FINER = 2
"""A spacing is not proposed where it is finer than the volumes' own voxels by more: the rest would be made up."""

ValueKind = Literal["offset", "saturated", "blank"]
Kind = Literal["padding"] | ValueKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """What is wrong with what was prepared: of which kind, whether hopeless, one sentence, and how to fix it.

    ``remedy`` names the place in study.yaml (or in a recipe file) and the line to put there, in backticks.
    """

    kind: Kind
    domain: str
    hopeless: bool
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitness:
    """One domain: its volumes, of how many the fill is known, medians of the shares, and what to complain of.

    Shares are None where nothing was measured.
    """

    domain: str
    volumes: int
    measured: int
    padding: float | None = None
    commonest: float | None = None
    at_low: float | None = None
    at_high: float | None = None
    complaints: tuple[Complaint, ...] = ()


def judge_fills(
    fills: Iterable[tuple[str, Fill | None]], *, recipe: Recipe, crop: int | None = None
) -> tuple[Fitness, ...]:
    """Return how fit every domain is, by the medians of its volumes (domain, fill).

    ``crop`` is the edge of the model's crop in voxels, for the remedy; the recipe's least shape stands in for it.
    """
    by_domain: dict[str, list[Fill | None]] = defaultdict(list)
    for domain, fill in fills:
        by_domain[domain].append(fill)
    columns = {domain: FillColumns.of(mine) for domain, mine in by_domain.items()}
    return judge_columns(columns, recipe=recipe, crop=crop)


def judge_columns(
    fills: Mapping[str, FillColumns], *, recipe: Recipe, crop: int | None = None
) -> tuple[Fitness, ...]:
    """Return the same of fills in columns, by domain."""
    edge = crop or min(recipe.min_shape)
    return tuple(_judge(domain, fills[domain], recipe, edge) for domain in sorted(fills))


def _judge(domain: str, fills: FillColumns, recipe: Recipe, crop: int) -> Fitness:
    known = fills.take(fills.known)
    if not len(known):
        return Fitness(domain=domain, volumes=len(fills), measured=0)

    def median(share: str) -> float:
        return float(np.median(known.share(share)))

    rule = recipe.rule(domain)
    fitness = Fitness(
        domain=domain,
        volumes=len(fills),
        measured=len(known),
        padding=median("padding"),
        commonest=median("commonest"),
        at_low=median("at_low"),
        at_high=median("at_high"),
    )
    values = _offset(fitness, known, rule) or _saturated(fitness, rule)
    blank = _blank(fitness, rule)
    if values is not None and blank is not None:  # One cause, one remedy.
        values, blank = replace(values, hopeless=blank.hopeless), None
    found = (_padding(fitness, known, recipe, crop), values, blank)
    return replace(fitness, complaints=tuple(item for item in found if item is not None))


def complaints_of(fill: Fill, *, domain: str) -> Iterator[tuple[ValueKind, str]]:
    """Yield what is wrong with the values of one volume: kind and sentence. Padding is the recipe's, and the domain's."""
    if fill.offset:
        yield "offset", f"its values are HU + {fill.offset:.0f}, and the domain's rule is for HU"
    elif fill.at_high > MUCH_HIGH:
        yield (
            "saturated",
            f"{share_text(fill.at_high)} of its voxels lie above the range of the domain's rule",
        )
    if fill.commonest > _most(domain, fill.at_low, fill.commonest)[0]:
        yield "blank", f"{share_text(fill.commonest)} of its voxels have one value after the domain's rule"


def share_text(share: float) -> str:
    """Return a share in percent, near 0% and 100% with a digit more: 62%, 98.5%, 99.7%."""
    return f"{share:.1%}" if 0 < share < 0.01 or 0.95 < share < 1 else f"{share:.0%}"


def _padding(fitness: Fitness, fills: FillColumns, recipe: Recipe, crop: int) -> Complaint | None:
    padded = fills.take(fills.share("padding") > MUCH_PADDING)
    small = [sorted_edges((x, y, z), (recipe.spacing_mm,) * 3) for x, y, z in padded.size.tolist()]
    if len(small) < _MANY * len(fills) or not small:
        return None
    x, y, z = np.median(small, axis=0).tolist()
    share = fitness.padding or 0.0
    return Complaint(
        kind="padding",
        domain=fitness.domain,
        hopeless=share > HOPELESS_PADDING,
        message=(
            f"{fitness.domain}: {len(small)} of {fitness.measured} prepared volumes are more than {MUCH_PADDING:.0%} "
            f"padding (median {share_text(share)}): what they show, {edges_text((x, y, z))} mm, is small for "
            f"{min(recipe.min_shape)} voxels of {recipe.spacing_mm:g} mm"
        ),
        remedy=_unpadded(fitness.domain, padded, small, recipe, crop),
    )


def _unpadded(domain: str, padded: FillColumns, sizes: Sequence[Edges], recipe: Recipe, crop: int) -> str:
    """Return the lines for a spacing that the volumes fill and their own voxels bear, or that leave the domain out."""
    exclude = f"under data: `exclude: [{domain}]`"
    own = padded.voxel_mm[~np.isnan(padded.voxel_mm[:, 0])].prod(axis=1) ** (1 / 3)
    floor = 0.99 * float(np.median(own)) / _FINER if len(own) else 0.0  # voxels of 1.0001 mm bear 0.5 mm
    spacing = smaller_spacing(sizes, crop=crop, below=recipe.spacing_mm, floor=floor)
    if spacing is None:
        return f"{exclude} (no spacing that its voxels allow makes it fill half of {crop} voxels per edge)"
    better = float(np.median([padded_share(size, spacing_mm=spacing, least=crop) for size in sizes]))
    return (
        f"under recipe: `spacing_mm: {spacing:g}` and `min_shape: [{crop}, {crop}, {crop}]` "
        f"({better:.0%} padding; the spacing is that of all domains), or {exclude}"
    )


def _offset(fitness: Fitness, fills: FillColumns, rule: IntensityRule) -> Complaint | None:
    moved = int(np.count_nonzero(fills.offset[~np.isnan(fills.offset)]))
    if moved * 2 <= len(fills):
        return None
    return Complaint(
        kind="offset",
        domain=fitness.domain,
        hopeless=False,
        message=(
            f"{fitness.domain}: {moved} of {fitness.measured} volumes hold HU + {OFFSET:.0f} (air near 0, soft tissue "
            f"near {OFFSET:.0f}), and the window {rule.low:g} to {rule.high:g} is for HU: "
            f"{fitness.at_high or 0:.0%} of the voxels lie above it, {fitness.commonest or 0:.0%} have one value"
        ),
        remedy=_window(fitness.domain, rule.low + OFFSET, rule.high + OFFSET),
    )


def _window(domain: str, low: float, high: float) -> str:
    return f"under recipe, intensity, in place of its rule: `{domain}: {{kind: window, low: {low:g}, high: {high:g}}}`"


def _saturated(fitness: Fitness, rule: IntensityRule) -> Complaint | None:
    high = fitness.at_high or 0.0
    if high <= MUCH_HIGH:
        return None
    shifted = in_hu(rule) and (fitness.at_low or 0.0) < 0.01
    why = f"; is the offset of {OFFSET:.0f} HU missing?" if shifted else ""
    return Complaint(
        kind="saturated",
        domain=fitness.domain,
        hopeless=False,
        message=(
            f"{fitness.domain}: {high:.0%} of the voxels lie above the range of their rule ({rule.kind} {rule.low:g} "
            f"to {rule.high:g}) and became 1 (median of {fitness.measured}){why}"
        ),
        remedy=_window(fitness.domain, rule.low + OFFSET, rule.high + OFFSET)
        if shifted
        else _percentiles(fitness.domain),
    )


def _percentiles(domain: str) -> str:
    return f"under recipe, intensity, in place of its rule: `{domain}: {{kind: percentile, low: 0.5, high: 99.5}}`"


def _most(domain: str, at_low: float, commonest: float) -> tuple[float, float]:
    """Return the shares of one value from which on a volume is nearly blank, and hopeless."""
    dark = at_low >= commonest and is_sparse(domain)
    return (HOPELESS_ONE_VALUE, HOPELESS_SPARSE) if dark else (MUCH_ONE_VALUE, HOPELESS_ONE_VALUE)


def _blank(fitness: Fitness, rule: IntensityRule) -> Complaint | None:
    share = fitness.commonest or 0.0
    much, hopeless = _most(fitness.domain, fitness.at_low or 0.0, share)
    if share <= much:
        return None
    return Complaint(
        kind="blank",
        domain=fitness.domain,
        hopeless=share > hopeless,
        message=(
            f"{fitness.domain}: {share_text(share)} of the voxels have one value after their rule ({rule.kind} {rule.low:g} to "
            f"{rule.high:g}; median of {fitness.measured}): the volumes are nearly blank"
        ),
        remedy=_percentiles(fitness.domain),
    )


def refuse_hopeless(fitness: Sequence[Fitness]) -> None:
    """Refuse to train on domains of which nearly nothing was prepared.

    Raises:
        InputError: names each domain, what is wrong and the lines that fix it.
    """
    found = [complaint for domain in fitness for complaint in domain.complaints if complaint.hopeless]
    if found:
        lines = "\n".join(f"  - {c.message}. In study.yaml, {c.remedy}" for c in found)
        raise InputError(
            f"nothing to learn from {len({c.domain for c in found})} of {len(fitness)} domains:\n{lines}\n"
            "then give the same command again; to train on it as it is, under data: `accept_blank: true`"
        )
