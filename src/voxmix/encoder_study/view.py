"""What one command knows of an encoder study: its prepared images, its plan and results, each read once."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import file_digest
from voxmix.encoder_study.config import EncoderStudyConfig
from voxmix.encoder_study.folder import EncoderStudy
from voxmix.encoder_study.specs import PlannedRun, StartFacts, plan_runs, subsets_of
from voxmix.encoder_study.starts import read_facts, start_folders
from voxmix.encoder_study.steps import STEPS
from voxmix.encoder_study.task_images import task_images
from voxmix.errors import InputError
from voxmix.runs.encoder_results import EncoderResult, read_encoder_run
from voxmix.runs.results import is_finished
from voxmix.study.place import Moment
from voxmix.study.step import Steps, loaded

if TYPE_CHECKING:
    from voxmix.encoder_runs import Source
    from voxmix.encoder_study.probing import Probe
    from voxmix.encoder_study.task_data import StudyTasks
    from voxmix.subsets import Subset


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
        found: StudyTasks = loaded("voxmix.encoder_study.task_data:study_tasks")(self)
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
