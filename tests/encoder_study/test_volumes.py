"""Encoder studies of prepared volumes: whole ones, or their slices; what has no report is refused what reads one."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from voxmix.cli import app
from voxmix.encoder_study import EncoderStudy, EncoderView, run_encoder_study, start_encoder_study
from voxmix.errors import InputError
from voxmix.volumes import PreparedCache, Recipe
from voxmix.volumes.preparing.cache import PreparedVolume

pytestmark = pytest.mark.filterwarnings("ignore::voxmix.errors.VoxmixWarning")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of 12 volumes of 6 persons: noise with a bright block."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "volumes").mkdir()
    volumes = []
    for number in range(12):
        values = np.random.default_rng(number).uniform(0.1, 0.5, (20, 18, 18)).astype(np.float16)
        values[4 + number % 4 : 9, 5:12, 5:12] = 0.9
        np.save(root / f"volumes/{number}.npy", values)
        volumes.append(
            PreparedVolume(
                key=f"v{number}",
                domain="AB"[number // 2 % 2],
                subject=f"p{number // 2}",
                split="validation" if number >= 8 else "train",
                shape=values.shape,
                spacing_mm=2.0,
                file=f"volumes/{number}.npy",
                box=None,
            )
        )
    cache = PreparedCache(root=root, volumes=tuple(volumes), recipe=Recipe(spacing_mm=2.0))
    (root / "index.json").write_text(json.dumps(cache.as_dict()), encoding="utf-8")
    return root


def small(root: Path) -> EncoderView:
    path = root / "study.yaml"
    text = path.read_text(encoding="utf-8")
    for before, after in {
        "image: 32": "image: 16", "width: 96": "width: 24", "depth: 4": "depth: 1", "budget: 8192": "budget: 8",
        "batch_size: 64": "batch_size: 4", "seeds: 2": "seeds: 1", "extremes_at: 2.0": "extremes_at: null",
        "trackers: [tensorboard]": "trackers: []", "workers: null": "workers: 1", "device: auto": "device: cpu",
    }.items():  # fmt: skip
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    return EncoderView.open(root)


@pytest.mark.parametrize("slices", [False, True])
def test_runs_learn_from_whole_volumes_or_from_their_slices(
    prepared: Path, tmp_path: Path, *, slices: bool
) -> None:
    start_encoder_study(
        tmp_path / "s", volumes=prepared, slices=slices, objectives=("mae",), samples=(3, "all")
    )
    view = small(tmp_path / "s")
    assert view.config.backbone.axes == (2 if slices else 3)
    runs = run_encoder_study(view.root)
    assert all(run.result is not None and run.result.draws == 8 for run in runs)
    small_one, whole = (run.planned.subset for run in runs)
    assert small_one.images >= 3
    assert whole.images == 8 if not slices else whole.images > 8
    assert small_one.persons < whole.persons == 4


def test_volumes_have_no_reports(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="objective clip reads reports"):
        start_encoder_study(tmp_path / "s", volumes=prepared, objectives=("clip",))
    started = start_encoder_study(tmp_path / "s", volumes=prepared, objectives=("dino",))
    path = started.study.path
    path.write_text(
        path.read_text(encoding="utf-8").replace("  dino:", "  unicl:").replace("local_views: 4", ""),
        encoding="utf-8",
    )
    with pytest.raises(InputError, match="objectives"):
        EncoderStudy.open(path)


def test_images_serve_no_backbone_of_three_axes(prepared: Path, tmp_path: Path) -> None:
    started = start_encoder_study(tmp_path / "s", volumes=prepared, objectives=("dino",))
    path = started.study.path
    path.write_text(path.read_text(encoding="utf-8").replace("  volumes:", "  path:"), encoding="utf-8")
    with pytest.raises(InputError, match="an image has 2"):
        EncoderStudy.open(path)


def test_a_folder_without_prepared_volumes_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prepared images or volumes"):
        start_encoder_study(tmp_path / "s", volumes=tmp_path, objectives=("dino",))


def test_the_cache_of_a_study_of_volumes_is_that_of_the_volumes(prepared: Path, tmp_path: Path) -> None:
    """Verbs of a cache find it where it is, and it has no other: the study's own cache is empty."""
    start_encoder_study(tmp_path / "s", volumes=prepared, objectives=("dino",))
    done = CliRunner().invoke(app, ["cache", "prune", str(tmp_path / "s"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["files"] == 0
    (prepared / "volumes" / "former.npy").write_bytes(b"x" * 5)
    done = CliRunner().invoke(app, ["cache", "prune", str(tmp_path / "s"), "--json"])
    assert json.loads(done.stdout) == {"files": 1, "bytes": 5, "removed": True}
    assert len(list((prepared / "volumes").iterdir())) == 12


def test_what_only_volumes_have_is_refused_in_an_audit_of_a_study_of_encoders(
    prepared: Path, tmp_path: Path
) -> None:
    start_encoder_study(tmp_path / "s", volumes=prepared, objectives=("dino",))
    for more, words in {
        ("--layout", "folder"): "--layout has no meaning for a study of encoders; leave it out",
        (): "is a study of prepared volumes; audit the volumes that they were made from",
    }.items():
        done = CliRunner().invoke(app, ["audit", str(tmp_path / "s"), *more])
        assert done.exit_code == 2, done.output
        assert words in " ".join(done.output.split())
