"""Images of a study of encoders are prepared by any number of workers, each unit by one, to the cache of one command."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("tokenizers")

from voxmix.encoder_study import EncoderView, MadeRadiographs, run_step
from voxmix.encoder_study.image_units import ImagePass
from voxmix.images import units as units_module
from voxmix.images.prepare_file import Outcome
from voxmix.study.listener import Listener
from voxmix.study.working import Worked, work_on

QUIET = Listener(tell=lambda line: None)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that workers read, in order."""
    plain, found = units_module.prepare_image_with_masks, []

    def counted(files, **options):
        found.append(files.image.name)
        return plain(files, **options)

    monkeypatch.setattr(units_module, "prepare_image_with_masks", counted)
    monkeypatch.setattr(units_module, "IMAGES_A_UNIT", 4)
    return found


def _work(root: Path, **options) -> Worked:
    return work_on(lambda: EncoderView.open(root), QUIET, step="prepare", **options)


def _files(root: Path) -> dict[str, bytes]:
    """Return every file of what is prepared but the index, whose pseudonyms are each study's own."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in (root / "cache", root / "tasks")
        for path in folder.rglob("*")
        if path.is_file() and path.name != "index.json"
    }


def test_two_workers_share_the_images_and_make_the_cache_of_one(
    begin: Callable[..., EncoderView], films: Path, made: list[str]
) -> None:
    study, alone = begin("study").study, begin("alone").study
    images = [path.name for path in films.parent.glob("*.png")]
    bad = films.parent / "3.png"
    kept = bad.read_bytes()
    bad.write_bytes(b"no image")
    try:
        found: list[Worked] = []
        threads = [threading.Thread(target=lambda: found.append(_work(study.root))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run_step("prepare", alone.root, QUIET)
    finally:
        bad.write_bytes(kept)
    assert [worked.exit_code for worked in found] == [0, 0]
    assert sorted(worked.steps for worked in found) == [[], ["prepare"]]
    assert sorted(made) == sorted(images)  # each once, and none at the joining
    caches = [EncoderView.open(root).source for root in (study.root, alone.root)]
    assert caches[0].digest == caches[1].digest
    assert [item["reason"] for item in caches[0].set_aside] == [
        item["reason"] for item in caches[1].set_aside
    ]
    assert _files(study.root) == _files(alone.root)
    assert not (study.root / ".claims").exists()
    assert [path.name for path in study.private_dir.iterdir() if "outcomes" in path.name] == []


def test_a_worker_that_stops_leaves_the_rest_and_a_changed_image_is_read_again(
    begin: Callable[..., EncoderView], films: Path, made: list[str]
) -> None:
    study = begin().study
    first = _work(study.root, stopped=lambda: len(made) >= 6)
    assert (first.exit_code, first.left, len(made)) == (75, "prepare", 6)
    units = ImagePass(EncoderView(study)).units
    assert [ImagePass(EncoderView(study)).is_done(unit) for unit in units[:2]] == [True, False]
    changed = units[0].unit.records[0].path
    shutil.copy(units[0].unit.records[1].path, changed.with_suffix(".kept"))
    kept = changed.read_bytes()
    changed.write_bytes(changed.with_suffix(".kept").read_bytes() + b" ")
    try:
        made.clear()
        assert _work(study.root).exit_code == 0
    finally:
        changed.write_bytes(kept)
        changed.with_suffix(".kept").unlink()
    assert changed.name in made
    assert len(EncoderView(study).source.items) == 29  # it is the image of another now


def test_an_image_that_kills_its_reader_is_set_aside_alone(
    begin: Callable[..., EncoderView], made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begin().study
    found = ImagePass(EncoderView(study))
    killer = found.units[1].unit.records[2].path.name

    def alone(work, item, *, killed):
        return killed if item.image.name == killer else work(item)

    monkeypatch.setattr(units_module, "alone", alone)
    assert found.make(found.units[1], careful=True)
    rows = found.units[1].plan.known()
    reasons = [outcome.reason for outcome, _ in rows.values()]
    assert sorted(map(bool, reasons)) == [False, False, False, True]
    assert isinstance(next(iter(rows.values()))[0], Outcome)


def test_made_radiographs_are_prepared_by_one(begin: Callable[..., EncoderView]) -> None:
    from voxmix.encoder_study.image_units import image_units

    view = begin()
    data = replace(view.config.data, path=None, radiographs=MadeRadiographs())
    assert image_units(view.configured(replace(view.config, data=data))) is None
