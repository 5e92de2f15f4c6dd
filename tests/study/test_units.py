"""A study's volumes are prepared by any number of workers, each unit by one, to the cache that one command makes."""

import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nibabel")

import nibabel

from voxmix._parallel import WorkerKilledError
from voxmix.study import DataSettings, Study, StudyAllocation, StudyConfig, StudyView, taking
from voxmix.study.listener import Listener
from voxmix.study.preparing import preparation_units, prepare_volumes
from voxmix.study.working import work_on
from voxmix.volumes import PreparedCache
from voxmix.volumes.preparing import units as units_module

COUNT, A_UNIT = 12, 3


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read, in order."""
    plain, found = units_module.prepare_record, []

    def counted(record, **options):
        found.append(record.path.parent.name)
        return plain(record, **options)

    monkeypatch.setattr(units_module, "prepare_record", counted)
    monkeypatch.setattr(units_module, "VOLUMES_A_UNIT", A_UNIT)
    return found


def study_in(root: Path, volumes: Path) -> Study:
    config = StudyConfig(
        name="small",
        data=DataSettings(path=str(volumes)),
        allocation=StudyAllocation(budget=200),
        recipe={"spacing_mm": 2.0, "min_shape": [4, 4, 4]},
        workers=1,
    )
    return Study.create(root, config)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    return written(tmp_path / "volumes", COUNT)


def written(root: Path, count: int) -> Path:
    """Write so many small volumes of two domains; return their folder."""
    for number in range(count):
        path = root / ("A-MR", "B-MR")[number % 2] / f"p{number}" / "scan.nii"
        path.parent.mkdir(parents=True)
        data = np.random.default_rng(number).uniform(1, 100, (5, 4, 6)).astype(np.float32)
        nibabel.Nifti1Image(data, np.diag([2.0, 2, 2, 1])).to_filename(path)
    return root


def test_two_workers_share_the_volumes_and_make_the_cache_of_one(
    tmp_path: Path, volumes: Path, made: list[str]
) -> None:
    study, alone = study_in(tmp_path / "study", volumes), study_in(tmp_path / "alone", volumes)
    found = []

    def work() -> None:
        found.append(work_on(lambda: StudyView(Study.open(study.root)), step="prepare"))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [worked.exit_code for worked in found] == [0, 0]
    assert sorted(worked.steps for worked in found) == [[], ["prepare"]]
    assert sorted(made) == sorted(f"p{number}" for number in range(COUNT))  # each once, none at the joining
    prepare_volumes(alone)
    assert PreparedCache.open(study.cache_dir).digest == PreparedCache.open(alone.cache_dir).digest
    assert not (study.root / ".claims").exists()


def test_a_worker_that_stops_leaves_the_rest_to_others(
    tmp_path: Path, volumes: Path, made: list[str]
) -> None:
    study = study_in(tmp_path / "study", volumes)
    reopened = lambda: StudyView(Study.open(study.root))  # noqa: E731
    first = work_on(reopened, step="prepare", stopped=lambda: len(made) >= 5)
    assert (first.exit_code, first.left, len(made)) == (75, "prepare", 5)
    assert not StudyView(study).is_made("prepare")
    assert work_on(reopened, step="prepare").exit_code == 0
    assert sorted(made) == sorted(f"p{number}" for number in range(COUNT))
    assert sum(PreparedCache.open(study.cache_dir).counts().values()) == COUNT


@pytest.mark.parametrize("killed", [False, True], ids=["whole", "a process is killed"])
def test_a_worker_of_two_processes_makes_the_cache_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    read, plain = [], units_module.prepare_record

    def noted(record, **options):
        read.append(record.path.parent.name)
        return plain(record, **options)

    @contextmanager
    def none(*arguments, **options):
        raise WorkerKilledError("killed")
        yield

    monkeypatch.setattr(units_module, "prepare_record", noted)
    if killed:
        monkeypatch.setattr(taking, "worker_pool", none)
    count = units_module.VOLUMES_A_UNIT + 8  # two units
    volumes, said = written(tmp_path / "volumes", count), []
    hear = Listener(tell=said.append, inform=said.append)
    study, alone = study_in(tmp_path / "study", volumes), study_in(tmp_path / "alone", volumes)
    worked = work_on(lambda: StudyView(Study.open(study.root)), hear, step="prepare", workers=2)
    assert (worked.exit_code, worked.steps) == (0, ["prepare"])
    assert "prepare: 2 processes share it here" in said
    assert len(read) == (count if killed else 0), "this process reads volumes only where the others are gone"
    assert any("one process goes on alone" in text for text in said) == killed
    prepare_volumes(alone)
    assert PreparedCache.open(study.cache_dir).digest == PreparedCache.open(alone.cache_dir).digest
    assert not (study.root / ".claims").exists()


def test_processes_that_share_units_begin_no_other_once_stopped(tmp_path: Path) -> None:
    study = study_in(tmp_path / "study", written(tmp_path / "volumes", units_module.VOLUMES_A_UNIT + 8))
    view = StudyView(study)
    units = preparation_units(view)
    taking.take_side_by_side(
        view.steps["prepare"], view, units, workers=2, stopped=lambda: (study.root / ".claims").exists()
    )
    assert not (study.root / ".claims").exists()
    assert not all(units.is_done(unit) for unit in units.units)


def test_phantoms_are_made_and_prepared_by_one(tmp_path: Path) -> None:
    from voxmix.study import start_study

    assert preparation_units(StudyView(start_study(tmp_path / "new", phantoms=True).study)) is None
