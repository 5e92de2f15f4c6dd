"""Study: one folder with one study file, and everything that is made from it."""

import os
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from voxmix._io import digest, naming_damage, naming_full_disk, read_json
from voxmix.design import RunSpec
from voxmix.errors import InputError
from voxmix.runs.files import SPEC_FILE
from voxmix.runs.results import RunResult, is_finished, read_run
from voxmix.runs.unfinished import begun_specs
from voxmix.settings_schema import SCHEMA_FILE, write_schema
from voxmix.study import files
from voxmix.study.config import StudyConfig, read_config, write_config
from voxmix.study.files import STUDY_FILE
from voxmix.study.place import StudyFolder
from voxmix.study.schema import study_schema


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Study(StudyFolder):
    """A folder and its settings.

    ``study.yaml`` is the user's; all else is made by voxmix and can be made again: ``cache/``
    (prepared volumes), ``private/`` (who is who), ``evaluation.safetensors`` (fixed crops and masks), ``runs/<id>/``, ``laws/``,
    ``allocations/``, ``downstream/``, ``measurements.csv`` and ``report.html``.
    """

    root: Path
    config: StudyConfig

    @classmethod
    def create(cls, root: Path, config: StudyConfig, notes: Mapping[str, str] | None = None) -> "Study":
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
    def open(cls, root: Path) -> "Study":
        """Return the study of a folder.

        Raises:
            InputError: the folder is no study, or its study file cannot be used.
        """
        root = root.parent if root.name == STUDY_FILE else root
        return cls(root=root, config=read_config(root / STUDY_FILE))

    @property
    def in_short(self) -> str:
        """The study in a few words: how many budgets, and for which budget a mixture is sought."""
        budgets = self.config.design.budgets
        return (
            f"{len(budgets)} budgets from {min(budgets):,} to {max(budgets):,}, the answer for "
            f"{self.config.allocation.budget:,} {self.config.design.budget_unit}"
        )

    @property
    def in_lines(self) -> tuple[tuple[str, str], ...]:
        """What the study is: its data, design and strategies."""
        design, data = self.config.design, self.config.data
        own = (
            f"volumes of {data.path}"
            if data.phantoms is None
            else f"phantoms of {', '.join(data.phantoms.counts)}"
        )
        return (
            ("name", self.config.name),
            ("data", own + (f"; only {', '.join(data.domains)}" if data.domains else "")),
            ("budgets", ", ".join(f"{budget:,}" for budget in design.budgets)),
            ("budget of the answer", f"{self.config.allocation.budget:,} {design.budget_unit}"),
            ("strategies", ", ".join(self.config.allocation.strategies)),
            ("measurements", "made" if self.measurements_path.is_file() else "not made"),
            (
                "laws",
                ", ".join(sorted(path.stem for path in (self.root / files.LAWS_FOLDER).glob("*.json")))
                or "none yet",
            ),
        )

    @property
    def phantoms_dir(self) -> Path:
        """Where made volumes lie, when the study has no volumes of the user's."""
        return self.root / files.PHANTOMS_FOLDER

    @property
    def source(self) -> Path:
        """Where the study's volumes lie: the user's folder or table, or the phantoms."""
        path = self.config.data.path
        return self.phantoms_dir if path is None else (self.root / path).resolve()

    @property
    def evaluation_path(self) -> Path:
        """The fixed crops and masks."""
        return self.root / files.EVALUATION_FILE

    @property
    def downstream_dir(self) -> Path:
        """Finetuning runs: ``<task>/<init>[+control]/seed-<s>/``."""
        return self.root / files.DOWNSTREAM_FOLDER

    @property
    def allocations_dir(self) -> Path:
        """One mixture per strategy that a law gave."""
        return self.root / files.ALLOCATIONS_FOLDER

    @property
    def export_dir(self) -> Path:
        """What is written for other tools, where no other folder is asked for."""
        return self.root / files.EXPORT_FOLDER

    @property
    def measurements_path(self) -> Path:
        """The table of losses, for other tools."""
        return self.root / files.MEASUREMENTS_FILE

    @property
    def refine_path(self) -> Path:
        """The rounds of refine."""
        return self.root / files.REFINE_FILE

    def law_path(self, law: str) -> Path:
        """Where a fitted law is kept."""
        return self.root / files.LAWS_FOLDER / f"{law}.json"

    def allocation_path(self, strategy: str) -> Path:
        """Where a strategy's mixture is kept."""
        return self.allocations_dir / f"{strategy}.json"

    def run_dir(self, spec: RunSpec) -> Path:
        """Where a run is, or will be: also a finished one whose id still held settings without effect."""
        own = self.runs_dir / spec.run_id
        if not spec.model.unread or is_finished(own) or not self.runs_dir.is_dir():
            return own
        former = _former_names(self.runs_dir, tuple(sorted(os.listdir(self.runs_dir))))
        return self.runs_dir / former.get(spec.run_id, spec.run_id)

    def trunk_dir(self, spec: RunSpec) -> Path | None:
        """Where the trunk that a run shares with others is kept; None without one."""
        return self.root / files.TRUNKS_FOLDER / spec.trunk_id if spec.training.schedule == "trunk" else None

    def pending(self, specs: tuple[RunSpec, ...]) -> tuple[RunSpec, ...]:
        """Return the specs, each once, that have no finished run yet."""
        unique = {spec.run_id: spec for spec in specs}
        return tuple(spec for spec in unique.values() if not is_finished(self.run_dir(spec)))

    def results(self, specs: tuple[RunSpec, ...]) -> tuple[RunResult, ...]:
        """Return the finished runs among ``specs``, in their order, each once."""
        unique = {spec.run_id: spec for spec in specs}
        return tuple(
            read_run(self.run_dir(spec)) for spec in unique.values() if is_finished(self.run_dir(spec))
        )

    def left_behind(self) -> tuple[Path, ...]:
        """Return the runs that were begun, not finished, and have settings which the study no longer has."""
        config, found = self.config, []
        for run, path in begun_specs(self.runs_dir):
            try:
                with naming_damage(path, remedy="delete its folder"):
                    spec = RunSpec.from_dict(read_json(path))
            except InputError:
                found.append(run)
                continue
            wanted = (config.model.effective, config.training, config.evaluation)
            former = run.name == spec.former_id != spec.run_id  # where no run is continued any more
            if former or (spec.model.effective, spec.training, spec.evaluation) != wanted:
                found.append(run)
        return tuple(found)

    def of_other_volumes(self, cache: str, known: Container[Path] = ()) -> int:
        """Return how many finished runs are of other prepared volumes than those of the digest ``cache``.

        ``known`` are folders of runs that are not, which are not read.
        """
        found = 0
        for path in self.runs_dir.glob(f"*/{SPEC_FILE}"):
            if path.parent in known:
                continue
            with suppress(InputError):  # damaged: whoever reads the run says so
                spec = read_json(path) if is_finished(path.parent) else None
                found += isinstance(spec, dict) and spec.get("cache") != cache
        return found

    def vertices_run(self, cache: str) -> dict[float, int]:
        """Return how many finished vertex runs of today's settings and budgets there are, by their min_weight.

        ``cache`` is the digest of the prepared volumes. Of two domains every mixture is a vertex, and none is counted.
        """
        config, found = self.config, dict[float, int]()
        common = (
            config.model.effective,
            config.training,
            config.evaluation,
            cache,
            config.design.budget_unit,
        )
        for path in sorted(self.runs_dir.glob(f"*/{SPEC_FILE}")):
            if not is_finished(path.parent):
                continue
            with suppress(InputError):  # damaged: whoever reads the run says so
                spec = RunSpec.from_dict(read_json(path))
                own = (spec.model.effective, spec.training, spec.evaluation, spec.cache, spec.budget_unit)
                if own == common and spec.budget in config.design.budgets and spec.mixture.hub is not None:
                    least = float(spec.mixture.weights.min())
                    found[least] = found.get(least, 0) + 1
        return found

    @property
    def preparation_inputs(self) -> str:
        """Digest of the settings that decide which volumes are prepared, and how."""
        return digest({"data": self.config.data.identity(), "recipe": self.config.recipe})


@lru_cache(maxsize=1)
def _former_names(runs: Path, folders: tuple[str, ...]) -> dict[str, str]:
    """Return today's id to folder of the finished runs that lie under the id they had before; the last in order counts."""
    found = {}
    for name in folders:
        path = runs / name / SPEC_FILE
        if not path.is_file() or not is_finished(path.parent):
            continue
        with suppress(InputError):  # damaged: it is no run of this study
            spec = RunSpec.from_dict(read_json(path))
            if name == spec.former_id != spec.run_id:
                found[spec.run_id] = name
    return found
