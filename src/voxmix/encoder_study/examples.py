"""Examples for the report of a study: held-out images with their report, masks as known and as found, nearest images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from voxmix.encoder_study.candidates import Candidate, load
from voxmix.encoder_study.probing import Probe
from voxmix.encoder_study.view import EncoderView
from voxmix.errors import VoxmixError
from voxmix.texts.generated import GENERATED_FILE, read_generated

if TYPE_CHECKING:
    from voxmix.probes.data import ProbeCase, ProbeData
    from voxmix.probes.predicted_masks import Masks
    from voxmix.report.encoder_content import Example

NEIGHBORS = 3
"""Training images beside each."""


def study_examples(view: EncoderView) -> tuple[Example, ...]:
    """Return held-out images of the study's tasks: with their report and masks, nearest training images, generated reports,
    and what heads found of masks.

    The nearest images are those of the judged run that learned from the most images at equal compute; masks are found with
    each reference and with the smallest and the largest size of each objective (see :func:`_in_turn`). None of volumes.
    """
    found: list[Example] = []
    for data in view.tasks.data:
        own = [probe for probe in view.probes if probe.done and probe.data.name == data.name]
        if _sizes(own) and data.axes == 2:
            found += _of_task(view, data, own)
    return tuple(found)


def _sizes(own: Sequence[Probe]) -> list[Probe]:
    """Return the judged runs at equal compute, first seed first, small sizes before large ones."""
    runs = [p for p in own if not (p.candidate.judged.is_reference or p.candidate.judged.control)]
    return sorted(runs, key=lambda probe: (probe.candidate.judged.samples, probe.candidate.judged.seed))


def _in_turn(own: Sequence[Probe]) -> dict[str, Probe]:
    """Return the encoders whose masks are shown by name, chosen by no score: references, then each objective's smallest and
    largest size; the first seed of each."""
    series: dict[tuple[str, str], list[Probe]] = {}
    for probe in _sizes(own):
        series.setdefault((probe.candidate.judged.objective, probe.candidate.judged.start), []).append(probe)
    ends = [probe for sizes in series.values() for probe in sizes if _samples(probe) in _ends(sizes)]
    found: dict[str, Probe] = {}
    for probe in (*(one for one in own if one.candidate.judged.is_reference), *ends):
        found.setdefault(probe.candidate.judged.name, probe)
    return found


def _samples(probe: Probe) -> int:
    return probe.candidate.judged.samples


def _ends(sizes: Sequence[Probe]) -> tuple[int, int]:
    return _samples(sizes[0]), _samples(sizes[-1])


def _of_task(view: EncoderView, data: ProbeData, own: list[Probe]) -> Iterator[Example]:
    from voxmix.probes.predicted_masks import shown_cases
    from voxmix.report.encoder_content import Example

    cases = shown_cases(data)
    largest = max(_sizes(own), key=_samples).candidate
    try:
        near = _neighbors(view, data, largest, cases)
    except VoxmixError:  # an encoder whose weights are gone by now: all else is still shown
        near = {}
    texts = _generated(own)
    found, missing = _found_masks(own) if data.task.kind == "masks" else ({}, "")
    for number, case in enumerate(cases):
        yield Example(
            task=data.name,
            image=data.pixels(case),
            case=case.case,
            report=data.text(case) if data.task.kind in ("retrieval", "reports") else "",
            generated={name: reports[case.case] for name, reports in texts.items() if case.case in reports},
            neighbors=tuple((_called(other), data.pixels(other)) for other in near.get(case.case, ())),
            masks=data.masks(case) if data.task.kind == "masks" else {},
            predicted={name: masks[case.case] for name, masks in found.items() if case.case in masks},
            encoder=largest.judged.name,
            note=missing if number == 0 else "",
        )


def _called(case: ProbeCase) -> str:
    present = ", ".join(name for name, value in case.labels.items() if value)
    return f"near: {present or ('no label' if case.labels else 'a training image')}"


def _neighbors(
    view: EncoderView, data: ProbeData, candidate: Candidate, cases: Sequence[ProbeCase]
) -> dict[str, list[ProbeCase]]:
    """Return case to the training images whose features are nearest, by cosine."""
    from voxmix.probes.features import FeatureStore

    store = FeatureStore(view.study.features_dir)
    features = store.features(load(candidate, view), data).pooled
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    place = {case.case: number for number, case in enumerate(data.cases)}
    train = data.places("train")
    found = {}
    for case in cases:
        likeness = unit[train] @ unit[place[case.case]]
        found[case.case] = [data.cases[train[k]] for k in np.argsort(-likeness, kind="stable")[:NEIGHBORS]]
    return found


def _generated(own: list[Probe]) -> Mapping[str, Mapping[str, str]]:
    """Return encoder to case to the report that was generated from its features; of the first seed."""
    found: dict[str, dict[str, str]] = {}
    for probe in own:
        path = probe.folder / GENERATED_FILE
        if path.is_file() and probe.candidate.judged.name not in found:
            found[probe.candidate.judged.name] = {one.case: one.text for one in read_generated(path)}
    return found


def _found_masks(own: Sequence[Probe]) -> tuple[Mapping[str, Mapping[str, Masks]], str]:
    """Return encoder to case to the masks that a head on its features found, and of which encoders none can be shown."""
    from voxmix.probes.predicted_masks import PREDICTED_FILE, read_predicted

    found, left_out = {}, []
    for name, probe in _in_turn(own).items():
        try:
            found[name] = read_predicted(probe.folder / PREDICTED_FILE)
        except VoxmixError:
            found[name] = {}
        if not found[name]:
            left_out.append(name)
    told = ", ".join(left_out)
    return (
        found,
        f"No found masks are kept of {told}: remove the folder probes/{own[0].data.name} and judge again."
        if told
        else "",
    )
