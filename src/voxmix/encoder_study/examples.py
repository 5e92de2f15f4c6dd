"""Examples for the report of a study: held-out images with their report, their masks, and the images found nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from voxmix.encoder_study.candidates import Candidate, load
from voxmix.encoder_study.probing import Probe
from voxmix.encoder_study.view import EncoderView
from voxmix.errors import VoxmixError
from voxmix.texts.generated import GENERATED_FILE, read_generated

if TYPE_CHECKING:
    from voxmix.probes.data import ProbeCase, ProbeData
    from voxmix.report.encoder_content import Example

EXAMPLES = 3
"""Images that are shown of each task."""
NEIGHBORS = 3
"""Training images beside each."""


def study_examples(view: EncoderView) -> tuple[Example, ...]:
    """Return held-out images of the study's tasks: with their report and masks, nearest training images, generated reports.

    The encoder is the judged run that learned from the most images at equal compute. None of volumes.
    """
    found: list[Example] = []
    for data in view.tasks.data:
        own = [probe for probe in view.probes if probe.done and probe.data.name == data.name]
        runs = [
            probe
            for probe in own
            if not (probe.candidate.judged.is_reference or probe.candidate.judged.control)
        ]
        if not runs or data.axes != 2:
            continue
        largest = max(runs, key=lambda probe: probe.candidate.judged.samples)
        try:
            found += _of_task(view, data, largest, own)
        except VoxmixError:  # an encoder whose weights are gone by now: its scores are still shown
            continue
    return tuple(found)


def _of_task(view: EncoderView, data: ProbeData, largest: Probe, own: list[Probe]) -> Iterator[Example]:
    from voxmix.report.encoder_content import Example

    cases = _shown(data)
    near = _neighbors(view, data, largest.candidate, cases)
    texts = _generated(own)
    for case in cases:
        masks = data.mask(case) if data.task.kind == "masks" else None
        yield Example(
            task=data.name,
            image=data.pixels(case),
            case=case.case,
            report=data.text(case) if data.task.kind in ("retrieval", "reports") else "",
            generated={name: reports[case.case] for name, reports in texts.items() if case.case in reports},
            neighbors=tuple((_called(other), data.pixels(other)) for other in near[case.case]),
            masks={} if masks is None else dict(zip(data.names, masks, strict=True)),
            encoder=largest.candidate.judged.name,
        )


def _shown(data: ProbeData) -> list[ProbeCase]:
    """Return held-out images in a fixed order, those first on which most is present."""
    present = {case.case: sum(case.labels.values()) for case in data.part("test")}
    ordered = sorted(data.part("test"), key=lambda case: (-present[case.case], case.case))
    return ordered[:EXAMPLES]


def _called(case: ProbeCase) -> str:
    present = ", ".join(name for name, value in case.labels.items() if value)
    return f"near: {present or ('no label' if case.labels else 'a training image')}"


def _neighbors(
    view: EncoderView, data: ProbeData, candidate: Candidate, cases: list[ProbeCase]
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
