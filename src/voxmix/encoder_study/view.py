"""An encoder study: its folder, and what one command knows of it, each read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import digest, file_digest, naming_full_disk
from voxmix.encoder_study.config import EncoderStudyConfig, read_config, write_config
from voxmix.encoder_study.specs import PlannedRun, StartFacts, plan_runs, subsets_of
from voxmix.encoder_study.starts import read_facts, start_folders, starts_inputs
from voxmix.encoder_study.steps import STEPS
from voxmix.encoder_study.task_images import TaskImages, task_images
from voxmix.errors import InputError
from voxmix.probe_tasks import ProbeSettings
from voxmix.runs.encoder_results import EncoderResult, read_encoder_run
from voxmix.runs.results import is_finished
from voxmix.study import files
from voxmix.study.place import Moment, StudyFolder
from voxmix.study.step import Steps, loaded

if TYPE_CHECKING:
    from voxmix.encoder_runs import EncoderSpec, Source
    from voxmix.encoder_study.probing import Probe, StudyTasks
    from voxmix.subsets import Subset


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderStudy(StudyFolder):
    """A folder and its settings.

    ``study.yaml`` is the user's; all else is made by voxmix and can be made again: ``cache/`` (prepared images and texts),
    ``private/`` (who is who), ``starts.json`` (what the starts are), ``subsets/`` (keys of the images of each), ``runs/<id>/``
    and ``runs.csv``, ``tasks/`` (images that tasks have of their own), ``features/`` and ``probes/`` (what frozen encoders say
    and score), ``scores.csv`` and ``scores.json`` (the laws of scores), ``report.html``.
    """

    root: Path
    config: EncoderStudyConfig

    @classmethod
    def create(
        cls, root: Path, config: EncoderStudyConfig, notes: Mapping[str, str] | None = None
    ) -> EncoderStudy:
        """Make the folder and write its study file, with ``notes`` as comments by part.

        Raises:
            InputError: the folder is a study already, or is not empty.
        """
        path = files.new_study_file(root)
        with naming_full_disk(root):
            write_config(config, path, notes)
        return cls(root=root, config=config)

    @classmethod
    def open(cls, root: Path) -> EncoderStudy:
        """Return the study of a folder or of a study.yaml.

        Raises:
            InputError: it is no study, or its study file cannot be used.
        """
        path = files.study_file(root)
        return cls(root=path.parent, config=read_config(path))

    @property
    def prepared_dir(self) -> Path:
        """Where what is learned from lies: the study's own images, or the prepared volumes of ``data.volumes``."""
        told = self.config.data.volumes
        return self.cache_dir if told is None else prepared_folder(self.root / told)

    @property
    def radiographs_dir(self) -> Path:
        """Where made radiographs lie, when the study has no images of the user's."""
        return self.root / files.RADIOGRAPHS_FOLDER

    @property
    def source(self) -> Path:
        """Where the study's images lie: the user's folder or table, or the made radiographs."""
        path = self.config.data.path
        return self.radiographs_dir if path is None else (self.root / path).resolve()

    @property
    def table_path(self) -> Path:
        """The table of finished runs, for other tools."""
        return self.root / files.ENCODER_RUNS_FILE

    @property
    def starts_path(self) -> Path:
        """What the starts are."""
        return self.root / files.STARTS_FILE

    @property
    def probes_dir(self) -> Path:
        """Where the scores of frozen encoders lie: a folder per task, encoder and seed."""
        return self.root / files.PROBES_FOLDER

    @property
    def features_dir(self) -> Path:
        """Where features of frozen encoders are kept; they can be made again."""
        return self.root / files.FEATURES_FOLDER

    @property
    def digests_path(self) -> Path:
        """Digests of the encoders that were judged."""
        return self.root / files.DIGESTS_FILE

    @property
    def scores_path(self) -> Path:
        """The laws of scores."""
        return self.root / files.SCORES_FILE

    @property
    def scores_table_path(self) -> Path:
        """The table of scores, for other tools."""
        return self.root / files.SCORES_TABLE

    @property
    def has_index(self) -> bool:
        """Whether there is an index of prepared images or volumes."""
        return (self.prepared_dir / "index.json").exists()

    def task_cache(self, images: TaskImages) -> Path:
        """Where images that tasks have of their own are prepared."""
        return self.root / files.TASKS_FOLDER / images.name

    def subset_path(self, subset: str) -> Path:
        """Where the keys of the images of a subset lie."""
        return self.root / files.SUBSETS_FOLDER / f"{subset}.json"

    def run_dir(self, spec: EncoderSpec) -> Path:
        """Where a run is, or will be."""
        return self.runs_dir / spec.run_id

    def start_folder(self, name: str) -> Path | None:
        """Where the weights of a start lie; None for scratch."""
        return start_folders(self.root, self.config).get(name)

    @property
    def reference_folders(self) -> dict[str, Path]:
        """Name to the folder of each reference that the study file names."""
        return {name: (self.root / folder).resolve() for name, folder in self.config.references.items()}

    @property
    def probe_settings(self) -> ProbeSettings:
        """How encoders are probed, with folders as they are seen from here."""
        own = self.config.probes
        return replace(own, reports=own.reports.below(self.root))

    @property
    def preparation_inputs(self) -> str:
        """Digest of what decides which images, texts and starts are prepared, and how.

        The vocabulary that is asked for is part of it; that of the tokenizer may be smaller.
        """
        config = self.config
        return digest(
            {
                "data": config.data.identity(),
                "recipe": config.recipe.as_dict(),
                "texts": config.texts.as_dict() if config.keeps_texts else None,
                "vocabulary": config.text.vocabulary if config.keeps_texts else None,
                "starts": starts_inputs(self.root, config),
                **({} if config.data.volumes is None else {"volumes": _stamp(self.prepared_dir)}),
                **({"tasks": [one.inputs(self.root) for one in own]} if (own := task_images(config)) else {}),
            }
        )


def prepared_folder(path: Path) -> Path:
    """Return where the prepared volumes of a study of mixtures lie, or of a folder that voxmix prepare made."""
    folder = path.resolve()
    return files.study_file(folder).parent / files.CACHE_FOLDER if files.is_study(folder) else folder


def _stamp(cache: Path) -> list[int]:
    """Return size and time of the index of prepared volumes; none where there is no such file."""
    index = cache / "index.json"
    return [index.stat().st_size, index.stat().st_mtime_ns] if index.exists() else []


_TABLE = "table"
"""Where the digest of the table stands that was prepared, beside the steps."""


class EncoderView(Moment[EncoderStudy]):
    """An encoder study at one moment: what is read of it is read when first asked for, and kept.

    Properties raise :class:`voxmix.errors.StepPendingError`, which names a command, where a step is not done. Whether a
    run is finished is never kept.
    """

    @classmethod
    def open(cls, root: Path) -> EncoderView:
        """Return a view of the study of a folder or of a study.yaml; see :meth:`EncoderStudy.open`."""
        return cls(EncoderStudy.open(root))

    @property
    def config(self) -> EncoderStudyConfig:
        """The study's settings."""
        return self.study.config

    @property
    def steps(self) -> Steps:
        """The steps of an encoder study."""
        return STEPS

    def after(self, name: str) -> EncoderView:
        """Return a view of the study after a step."""
        return EncoderView(self.study)

    def configured(self, config: EncoderStudyConfig) -> EncoderView:
        """Return the view with other settings of how runs are computed, which change nothing that was read."""
        view = EncoderView(replace(self.study, config=config))
        vars(view).update((key, value) for key, value in vars(self).items() if key != "study")
        return view

    def check(self) -> None:
        """Refuse what cannot work, as far as it is known before images are prepared: folders of starts, references and tasks.

        Raises:
            InputError: lists every problem.
        """
        wrong = [
            f"starts.{name}: there is no folder {folder}; fix its path, or leave the start out"
            for name, folder in start_folders(self.root, self.config).items()
            if not folder.is_dir()
        ]
        wrong += [
            f"references.{name}: there is no folder {folder}; fix its path, or leave the reference out"
            for name, folder in self.study.reference_folders.items()
            if not folder.is_dir()
        ]
        wrong += [
            f"tasks.{', tasks.'.join(one.tasks)}: there is no {path}; fix the path in images, or leave the tasks out"
            for one in task_images(self.config)
            if not (path := (self.root / one.place).resolve()).exists()
            and not path.is_relative_to(self.study.radiographs_dir.resolve())
        ]
        if wrong:
            raise InputError(f"{self.study.path} cannot work:\n" + "\n".join(f"  - {line}" for line in wrong))

    def is_made(self, name: str) -> bool:
        """Return whether a step's files are made, from its inputs as they are now."""
        if name == "prepare" and not (self.study.starts_path.exists() and self.study.has_index):
            return False
        if name == "prepare" and not all(
            (self.study.task_cache(one) / "index.json").exists() for one in task_images(self.config)
        ):
            return False
        if name == "prepare" and self.table and self.made().get(_TABLE, self.table) != self.table:
            return False
        return super().is_made(name)

    @cached_property
    def table(self) -> str:
        """Digest of the user's table as it is now; "" of a folder, and where the table is out of reach."""
        told = self.config.data.path
        return file_digest(self.study.source) if told is not None and self.study.source.is_file() else ""

    def mark_table(self) -> None:
        """Remember the table that was prepared, as it was when this view first read it."""
        if self.table:
            self.mark(_TABLE, self.table)

    @cached_property
    def source(self) -> Source:
        """The prepared images or volumes.

        Raises:
            StepPendingError: they are not prepared with the present settings.
        """
        from voxmix.images.sources import open_source

        if not self.is_made("prepare"):
            raise self.steps["prepare"].pending(self)
        return open_source(self.study.prepared_dir, axes=self.config.backbone.axes)

    @cached_property
    def task_sources(self) -> dict[str, Source]:
        """Task to the prepared images that it is about: its own, or the study's.

        Raises:
            StepPendingError: they are not prepared with the present settings.
        """
        from voxmix.images.cache import ImageCache

        found = dict.fromkeys(self.config.tasks, self.source)
        for one in task_images(self.config):
            found |= dict.fromkeys(one.tasks, ImageCache.open(self.study.task_cache(one)))
        return found

    @cached_property
    def tasks(self) -> StudyTasks:
        """The cases of every task, and which tasks cannot be judged."""
        found: StudyTasks = loaded("voxmix.encoder_study.probing:study_tasks")(self)
        return found

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """Every probe that can be made, each with whether it is done: as it was when first asked for."""
        found: tuple[Probe, ...] = loaded("voxmix.encoder_study.probing:planned_probes")(self, self.tasks)
        return found

    @cached_property
    def starts(self) -> dict[str, StartFacts]:
        """Facts of every start but scratch, as they were read when the study was prepared."""
        return read_facts(self.study.starts_path)

    @cached_property
    def subsets(self) -> tuple[Subset, ...]:
        """The nested subsets.

        Raises:
            InputError: more images asked for than there are.
        """
        return subsets_of(self.config, self.source)

    @property
    def vocabulary(self) -> int | None:
        """Entries of the study's tokenizer; None where there are no texts."""
        from voxmix.images.cache import ImageCache

        source = self.source
        return (
            source.text_tokenizer.vocabulary if isinstance(source, ImageCache) and source.tokenizer else None
        )

    @cached_property
    def planned(self) -> tuple[PlannedRun, ...]:
        """Every run that the design asks for, each once."""
        return plan_runs(self.config, self.source, self.subsets, self.starts, vocabulary=self.vocabulary)

    @property
    def pending(self) -> tuple[PlannedRun, ...]:
        """The runs that are not finished."""
        return tuple(run for run in self.planned if not is_finished(self.study.run_dir(run.spec)))

    def result(self, run: PlannedRun) -> EncoderResult | None:
        """Return what a run measured; None where it is not finished.

        Raises:
            InputError: its result is damaged.
        """
        folder = self.study.run_dir(run.spec)
        return read_encoder_run(folder) if is_finished(folder) else None
