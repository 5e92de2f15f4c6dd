"""The head of masks: a feature pyramid on the tiles of each image, scored by Dice on the image's own grid."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool

from voxmix.downstream.metrics import segmentation_scores
from voxmix.probes.features import TileMaps
from voxmix.probes.heads import HeadResult, Probing
from voxmix.probes.persons import inner_split
from voxmix.probes.pixels import fitted_mask, put_back
from voxmix.probes.predicted_masks import PREDICTED_FILE, shown_cases, write_predicted
from voxmix.probes.pyramid import PackedMasks, PyramidFit, fit_pyramid
from voxmix.scores.result import SegmentedCase


def mask_head(probing: Probing) -> HeadResult:
    """Return Dice of each mask and test case: of what is predicted with the frozen encoder's maps.

    Tiles together show all of an image, so that nothing lies outside of what is judged. A mask that is not known for an image
    teaches nothing and is not scored there; one that is empty in both prediction and truth has no score, and one that is
    predicted where there is none scores 0. What is predicted for the few images of :func:`shown_cases` lies beside the result,
    for the report.

    Raises:
        InputError: one training person alone.
    """
    data = probing.data
    maps = probing.store.maps(probing.encoder, data, progress=probing.progress)
    fit, notes = _fit(probing, maps)
    shown = {case.case for case in shown_cases(data)} if data.axes == 2 else set()
    kept: dict[str, dict[str, Bool[np.ndarray, "row column"]]] = {}
    cases = []
    for place in data.places("test").tolist():
        case = data.cases[place]
        known = data.masks(case)
        whole = put_back(fit.logits(maps.levels, maps.tiles(place)), maps.frames[place])
        predicted = dict(zip(data.names, whole > 0, strict=True))
        if case.case in shown:
            kept[case.case] = predicted
        cases.append(
            SegmentedCase(
                case=case.case,
                subject=case.subject,
                domain=case.domain,
                dice=dict.fromkeys(data.names) | dice_of(predicted, known),
                surface_distance_mm={},
            )
        )
    if kept:
        write_predicted(probing.folder / PREDICTED_FILE, kept)
    unscored = [name for name in data.names if all(case.dice[name] is None for case in cases)]
    if unscored:
        notes.append(
            f"{data.name}: no image of persons held out has a pixel in mask {', '.join(unscored)}, and none was predicted: "
            "it is not scored"
        )
    return HeadResult(
        kind="segmentation",
        cases=cases,
        names=data.names,
        chosen={"rate": fit.choice.rate, "epochs": fit.choice.epochs},
        figures={"error of choice": fit.choice.error, "tiles": float(len(maps.case))},
        notes=tuple(notes),
    )


def _fit(probing: Probing, maps: TileMaps) -> tuple[PyramidFit, list[str]]:
    """Return the head fitted on the tiles of training cases, in an order that does not depend on theirs, and notes."""
    data, settings = probing.data, probing.settings
    held = dict(
        zip(
            data.places("train").tolist(),
            inner_split(data, share=settings.inner, seed=settings.seed).tolist(),
            strict=True,
        )
    )
    rows, tiles, choosing = [], [], []
    for place in sorted(held, key=lambda place: data.cases[place].case):
        own = data.masks(data.cases[place])
        frames = maps.frames[place]
        shown = {name: fitted_mask(mask, frames) for name, mask in own.items()}
        for number, tile in enumerate(maps.tiles(place)):
            rows.append([shown[name][number] if name in shown else None for name in data.names])
            tiles.append(tile)
            choosing.append(held[place])
    edges = (probing.encoder.contract.image,) * data.axes
    masks = PackedMasks.of(rows, edges)
    empty = [
        name for name, bits in zip(data.names, masks.bits.transpose(1, 0, 2), strict=True) if not bits.any()
    ]
    notes = [
        f"{data.name}: no training image has a pixel in mask {name}: nothing can learn it" for name in empty
    ]
    fit = fit_pyramid(
        maps.levels,
        np.array(tiles),
        masks,
        np.array(choosing),
        rates=settings.rates,
        epochs=settings.epochs,
        seed=settings.seed,
    )
    return fit, notes


def dice_of(
    predicted: Mapping[str, Bool[np.ndarray, "*edge"]], truth: Mapping[str, Bool[np.ndarray, "*edge"]]
) -> dict[str, float | None]:
    """Return the Dice of each mask whose truth is known; None where neither holds a pixel (see :mod:`voxmix.downstream.metrics`)."""
    if not truth:
        return {}
    names = list(truth)
    both = [np.stack([one[name] for name in names]) for one in (predicted, truth)]
    flat = [masks.reshape(*masks.shape, *(1,) * (4 - masks.ndim)) for masks in both]
    return dict(segmentation_scores(flat[0], flat[1], 1.0, names, sigmoid=True)["dice"])
