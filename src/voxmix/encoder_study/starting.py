"""Starting an encoder study: look at the images and the starts, choose what fits them, write the study file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from voxmix.backbone_rows import BackboneSettings, VitSettings
from voxmix.domain import as_domain_name
from voxmix.encoder_study.config import (
    EncoderDesign,
    EncoderStudyConfig,
    ImageData,
    MadeRadiographs,
    ObjectivePlan,
    StartSettings,
)
from voxmix.encoder_study.default_tasks import DefaultTasks, tasks_of_radiographs, tasks_of_table
from voxmix.encoder_study.folder import EncoderStudy, prepared_folder
from voxmix.encoder_study.preparing import read_table
from voxmix.encoder_study.presets import MARGIN, PRESETS
from voxmix.encoder_study.specs import StartFacts
from voxmix.encoder_study.starts import look_at_start
from voxmix.errors import InputError
from voxmix.images.finding import find_images
from voxmix.images.recipe import ImageRecipe
from voxmix.images.sources import open_source
from voxmix.objective_rows import OBJECTIVES
from voxmix.probe_tasks import SCRATCH
from voxmix.radiographs.detector import CENTERS
from voxmix.study.files import RADIOGRAPHS_FOLDER, RADIOGRAPHS_TABLE
from voxmix.subsets import ALL, check_samples

if TYPE_CHECKING:
    from voxmix.images.table import ImageTable

CONTINUED_RATE, WARM_SHARE = 0.1, 0.1
"""Defaults of runs that begin from weights: a tenth of the learning rate, a tenth of the budget for a fresh head."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StartedEncoderStudy:
    """An encoder study that was begun, what was seen of its images in sentences, and the facts of its starts."""

    study: EncoderStudy
    seen: tuple[str, ...]
    training_images: int
    starts: Mapping[str, StartFacts]


def start_encoder_study(
    root: Path,
    *,
    images: Path | None = None,
    radiographs: MadeRadiographs | None = None,
    volumes: Path | None = None,
    slices: bool = False,
    objectives: Sequence[str] = (),
    samples: Sequence[int | str] = (),
    starts: Mapping[str, Path | None] | None = None,
    preset: str = "small",
    edge: int | None = None,
    labels: Sequence[str] = (),
    domains: Sequence[str] = (),
    exclude: Sequence[str] = (),
    design: Mapping[str, Any] | None = None,
    task_images: Sequence[Path] = (),
    references: Mapping[str, Path] | None = None,
) -> StartedEncoderStudy:
    """Look at images and starts and write the study file with every setting in it.

    Args:
        root: a new folder.
        images: a folder or a table of images; or ``radiographs``, made ones; or ``volumes``, a study of mixtures or a folder
            of prepared volumes.
        slices: whether volumes are seen as their axial slices, not whole.
        objectives: rows of :data:`voxmix.objective_rows.OBJECTIVES`; left out: dino, and with reports unicl or clip.
        samples: images of each subset; left out: 64, 256, 1,024 and all, as far as there are so many.
        starts: name to the folder of weights; None for scratch. Left out: scratch alone.
        edge: of the square that the network sees, in pixels; left out: that of the first start, or of the preset.
        design: further settings of the design.
        task_images: folders or tables of other images, of which tasks out of domain are made.
        references: name to the folder of an encoder that is judged beside the study's own.

    Raises:
        InputError: not one source of images, an objective that cannot be trained with them, more samples than there
            are images, weights that cannot be used, or a folder that is in use.
    """
    if sum(given is not None for given in (images, radiographs, volumes)) != 1:
        raise InputError(
            "give one of --images (a folder or a table of yours), --volumes (prepared ones) and --radiographs (made ones)"
        )
    own = PRESETS[preset]
    axes: Literal[2, 3] = 3 if volumes is not None and not slices else 2
    facts = {
        name: look_at_start(folder, image=edge, axes=axes)
        for name, folder in (starts or {}).items()
        if folder is not None
    }
    backbone = _backbone(dataclasses.replace(own.backbone, axes=axes), facts, edge)
    shorter = max((each.shorter_side for each in facts.values()), default=0)
    data = ImageData(
        path=None if images is None else os.path.relpath(images.resolve(), root.resolve()),
        radiographs=radiographs,
        volumes=None if volumes is None else os.path.relpath(volumes.resolve(), root.resolve()),
        labels=tuple(labels),
        domains=tuple(domains),
        exclude=tuple(exclude),
    )
    seen: tuple[str, ...] = ()
    reports, labelled, available = True, True, None
    if images is not None:
        table = read_table(images, data)
        reports, labelled, seen = table.reports > 0, bool(table.label_names), table.summary()
    if volumes is not None:
        reports = labelled = False
    chosen = tuple(objectives) or ("dino", *(["unicl" if labelled else "clip"] if reports else []))
    _check_objectives(chosen, reports=reports, labelled=labelled)
    reads = reports and any(OBJECTIVES[name].reads_texts for name in chosen)
    plans = own.objectives(chosen)
    if not reports:
        plans |= {name: _by_labels(plans[name]) for name in chosen if OBJECTIVES[name].reads_labels}
    if images is not None:
        available = _training_images(table, data, with_reports=reads)
    elif volumes is not None:
        source = open_source(prepared_folder(volumes), axes=axes)
        available = sum(item.split == "train" for item in source.items)
    elif radiographs is not None:
        available = round(radiographs.count * (1 - data.validation_fraction))
    assert available is not None
    begun = _tasks(root, data, None if images is None else table, task_images=task_images)
    if own.tasks is not None:
        begun = dataclasses.replace(
            begun, tasks={name: task for name, task in begun.tasks.items() if name in own.tasks}
        )
    config = EncoderStudyConfig(
        name=root.resolve().name,
        data=data,
        recipe=ImageRecipe(pixels=max(shorter, round(MARGIN * backbone.image))),
        design=_design(
            own.design,
            {"only_with_reports": reports, **(design or {})},
            samples,
            available,
            made=radiographs is not None,
        ),
        starts={
            name: StartSettings()
            if folder is None
            else StartSettings(
                folder=os.path.relpath(folder.resolve(), root.resolve()),
                rate=CONTINUED_RATE,
                warm=WARM_SHARE if (design or {}).get("budget_unit", "draws") == "draws" else 0.0,
            )
            for name, folder in (starts or {SCRATCH: None}).items()
        },
        backbone=backbone,
        text=own.text,
        views=own.views,
        objectives=plans,
        tasks=begun.tasks,
        references={
            name: os.path.relpath(_folder(name, folder).resolve(), root.resolve())
            for name, folder in (references or {}).items()
        },
    )
    notes = {"data": "; ".join(seen[:3])} if seen else {}
    if begun.notes:
        notes["tasks"] = "; ".join(begun.notes)
    return StartedEncoderStudy(
        study=EncoderStudy.create(root, config, notes),
        seen=(*seen, *begun.notes),
        training_images=available,
        starts=facts,
    )


def _tasks(
    root: Path,
    data: ImageData,
    table: ImageTable | None,
    *,
    task_images: Sequence[Path],
) -> DefaultTasks:
    """Return the tasks that the study's images allow, and those of other images.

    Raises:
        InputError: other images that cannot be read, or two tables of one name.
    """
    begun = DefaultTasks(tasks={})
    if data.radiographs is not None:
        chosen = [center.name for center in CENTERS]
        kept = [name for name in data.domains or chosen if name not in data.exclude]
        left_out = [name for name in chosen if name not in kept]
        begun = tasks_of_radiographs(left_out=left_out, table=f"{RADIOGRAPHS_FOLDER}/{RADIOGRAPHS_TABLE}")
    elif table is not None:
        begun = tasks_of_table(table.split(seed=data.split_seed, fraction=data.validation_fraction))
    if task_images and data.volumes is not None:
        raise InputError("--task-images are images, and encoders of volumes see volumes; leave it out")
    for path in task_images:
        place = os.path.relpath(path.resolve(), root.resolve())
        other = find_images(path).split(seed=data.split_seed, fraction=data.validation_fraction)
        more = tasks_of_table(other, images=place, behind=f"-{as_domain_name(path.stem)}")
        if not more.tasks:
            raise InputError(
                f"--task-images {path}: there are no labels and no reports, so there is nothing to judge encoders by; add "
                "columns to the table"
            )
        if twice := sorted(begun.tasks.keys() & more.tasks.keys()):
            raise InputError(f"--task-images: two tables give the task {twice[0]}; rename one of the files")
        begun = DefaultTasks(tasks=begun.tasks | more.tasks, notes=(*begun.notes, *more.notes))
    return begun


def _folder(name: str, folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(
            f"--reference {name}: no such folder: {folder}; give a folder of weights on this machine"
        )
    return folder


def _backbone(own: VitSettings, facts: Mapping[str, StartFacts], edge: int | None) -> BackboneSettings:
    """Return the network of runs from scratch: that of the first start, so that all compute alike; else the preset's."""
    for each in facts.values():
        return each.backbone
    return own if edge is None else dataclasses.replace(own, image=edge)


def _by_labels(plan: ObjectivePlan) -> ObjectivePlan:
    """Return the plan of an objective of reports and labels for images that have labels alone."""
    return dataclasses.replace(plan, settings=dataclasses.replace(plan.settings, targets="labels"))  # type: ignore[call-arg]


def _check_objectives(names: Sequence[str], *, reports: bool, labelled: bool) -> None:
    for name in names:
        row = OBJECTIVES[name]
        if row.reads_texts and not reports and not (row.reads_labels and labelled):
            without = ", ".join(row for row in OBJECTIVES.names() if not OBJECTIVES[row].reads_texts)
            raise InputError(
                f"objective {name} reads reports, and no image has one; add a column report to the table (or a text file beside "
                f"each image), or take an objective that does without: {without}"
            )
        if row.reads_labels and not labelled:
            raise InputError(
                f"objective {name} reads labels, too, and no image has one; add columns of labels to the table (1, 0 or nothing), "
                "or take clip, which reads reports alone"
            )
    if len(set(names)) < len(names):
        raise InputError(f"--objective names one twice: {', '.join(names)}; name each once")


def _training_images(table: ImageTable, data: ImageData, *, with_reports: bool) -> int:
    split = table.split(seed=data.split_seed, fraction=data.validation_fraction)
    return sum(
        record.split == "train" and (bool(record.report.strip()) or not with_reports)
        for record in split.records
    )


def _design(
    own: EncoderDesign,
    given: Mapping[str, Any],
    samples: Sequence[int | str],
    available: int,
    *,
    made: bool,
) -> EncoderDesign:
    """Return the design, its subsets no larger than the data.

    Raises:
        InputError: more samples than there are training images.
    """
    wanted = tuple(samples) or tuple(n for n in own.samples if isinstance(n, str) or n < available)
    check_samples(wanted)
    too_many = [n for n in wanted if not isinstance(n, str) and n > available]
    if too_many and not made:
        raise InputError(
            f"--samples asks for {too_many[0]:,} images, and there are {available:,} training images; write {ALL} in its place"
        )
    return dataclasses.replace(own, samples=wanted, **given)
