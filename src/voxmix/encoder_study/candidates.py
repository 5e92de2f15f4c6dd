"""Which encoders a study judges: its finished runs, what they began from, and references."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import digest, naming_damage, read_mapping, with_remedy, write_json
from voxmix.encoder_study.folder import EncoderStudy
from voxmix.encoder_study.specs import EQUAL_EPOCHS, EXTREMES, PlannedRun
from voxmix.encoder_study.starts import folder_stamp
from voxmix.encoder_study.view import EncoderView
from voxmix.probe_tasks import SCRATCH, UNTRAINED, JudgedEncoder
from voxmix.runs.results import is_finished
from voxmix.study.marks import waited_for

if TYPE_CHECKING:
    from voxmix.probes.encoder import LoadedEncoder

_VERSION = 1
"""Raised whenever the same weights get another digest than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One encoder to judge.

    Attributes:
        key: what its digest is known by as long as its files stay as they are.
        judged: what to call it; its ``encoder`` is "" as long as it was never loaded.
        folder: of its weights; None for a network that learned nothing.
        image: edge of what it sees; None for its own.
    """

    key: str
    judged: JudgedEncoder
    folder: Path | None = None
    image: int | None = None


def candidates(view: EncoderView) -> tuple[Candidate, ...]:
    """Return the encoders that can be judged now: finished runs in the order of the design, then references."""
    known = read_digests(view.study)
    return tuple(
        replace(one, judged=replace(one.judged, encoder=known.get(one.key, "")))
        for one in (*_runs(view), *_references(view))
    )


def _runs(view: EncoderView) -> Iterator[Candidate]:
    for run in view.planned:
        folder = view.study.run_dir(run.spec)
        if is_finished(folder):
            yield Candidate(
                key=digest([_VERSION, run.spec.run_id]), judged=judged_run(view, run), folder=folder
            )


def judged_run(view: EncoderView, run: PlannedRun) -> JudgedEncoder:
    """Return what a run of the study is called where it is judged, its digest left out."""
    spec, design = run.spec, view.config.design
    same_unit = spec.budget_unit == design.budget_unit
    compute = round(spec.budget / design.budget, 4) if same_unit else 1.0
    name = f"{spec.objective} {run.start} {spec.samples}"
    if run.kind == EXTREMES:
        name += f" x{compute:g}"
    elif run.kind == EQUAL_EPOCHS:
        name += " equal epochs"
    return JudgedEncoder(
        name=name,
        encoder="",
        objective=spec.objective,
        start=run.start,
        samples=spec.samples,
        compute=compute,
        control={EXTREMES: "compute", EQUAL_EPOCHS: "epochs"}.get(run.kind, ""),  # type: ignore[arg-type]
        seed=spec.seed,
        run=spec.run_id,
    )


def _references(view: EncoderView) -> Iterator[Candidate]:
    """Yield untrained networks (for runs from scratch), every other start, and what the study file names."""
    config = view.config
    for name in config.starts:
        if name == SCRATCH:
            settings = {"name": config.backbone.name, **asdict(config.backbone)}
            for seed in range(config.design.seeds):
                yield Candidate(
                    key=digest([_VERSION, UNTRAINED, settings, seed]),
                    judged=JudgedEncoder(name=UNTRAINED, encoder="", start=UNTRAINED, seed=seed),
                )
            continue
        folder, image = view.study.start_folder(name), config.backbone.image
        yield Candidate(
            key=digest([_VERSION, view.starts[name].digest, image]),
            judged=JudgedEncoder(name=name, encoder="", start=name),
            folder=folder,
            image=image,
        )
    for name, folder in view.study.reference_folders.items():
        yield Candidate(
            key=digest([_VERSION, folder_stamp(folder)]),
            judged=JudgedEncoder(name=name, encoder="", start=name),
            folder=folder,
        )


def weights_name(study: EncoderStudy, candidate: Candidate) -> str:
    """Return a name of an encoder's weights that every process gives them, wherever it sees the study."""
    if candidate.folder is None:
        return digest(candidate.key)
    return digest(os.path.relpath(candidate.folder.resolve(), study.root.resolve()))


def load(candidate: Candidate, view: EncoderView) -> LoadedEncoder:
    """Return the frozen encoder itself.

    Raises:
        InputError: its weights are gone, damaged or of another kind.
    """
    from voxmix.probes.encoder import load_encoder, untrained_encoder

    if candidate.folder is None:
        return untrained_encoder(view.config.backbone, seed=candidate.judged.seed)
    return load_encoder(candidate.folder, image=candidate.image)


def read_digests(study: EncoderStudy) -> Mapping[str, str]:
    """Return the digests of encoders that were judged before; none where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    path, remedy = study.digests_path, "delete it and probe again"
    if not path.exists():
        return {}
    with with_remedy(remedy):
        found = read_mapping(path)
    with naming_damage(path, remedy=remedy):
        return {str(key): str(value) for key, value in found.items()}


def keep_digest(study: EncoderStudy, candidate: Candidate, found: str) -> Candidate:
    """Remember the digest of an encoder and return the candidate with it. The file is shared: one process at a time writes it."""
    if read_digests(study).get(candidate.key) != found:
        with waited_for(study.root, "encoders", lease_seconds=study.config.compute.lease_seconds):
            write_json(study.digests_path, {**read_digests(study), candidate.key: found})
    return replace(candidate, judged=replace(candidate.judged, encoder=found))
