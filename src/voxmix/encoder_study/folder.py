"""An encoder study's folder: its settings, what lies where in it, and the digest of what is prepared from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import digest, naming_full_disk
from voxmix.encoder_study.config import EncoderStudyConfig
from voxmix.encoder_study.config_file import read_config, write_config
from voxmix.encoder_study.schema import study_schema
from voxmix.encoder_study.starts import start_folders, starts_inputs
from voxmix.encoder_study.task_images import TaskImages, task_images
from voxmix.probe_tasks import ProbeSettings
from voxmix.settings_schema import SCHEMA_FILE, write_schema
from voxmix.study import files
from voxmix.study.place import StudyFolder

if TYPE_CHECKING:
    from voxmix.encoder_runs import EncoderSpec


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
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
            write_schema(study_schema(), root / SCHEMA_FILE)
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
    def in_short(self) -> str:
        """The study in a few words: its objectives and subsets."""
        return f"{' and '.join(self.config.objectives)}, subsets of {self._sizes} images"

    @property
    def in_lines(self) -> tuple[tuple[str, str], ...]:
        """What the study is: objectives, starts, subsets, budget."""
        config = self.config
        return (
            ("name", config.name),
            ("objectives", ", ".join(config.objectives)),
            ("starts", ", ".join(config.starts)),
            ("subsets", f"{self._sizes} images"),
            ("budget of a run", f"{config.design.budget:,} {config.design.budget_unit}"),
            ("scores", "made" if self.scores_path.is_file() else "not made"),
        )

    @property
    def _sizes(self) -> str:
        return ", ".join(
            f"{size:,}" if isinstance(size, int) else str(size) for size in self.config.design.samples
        )

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
