"""A table of small films with reports and labels, and studies of encoders that take seconds."""

import csv
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxmix.encoder_study import EncoderView, run_step, start_encoder_study
from voxmix.encoder_study.config_file import write_config
from voxmix.errors import VoxmixWarning
from voxmix.study.listener import Listener

WORDS = ("effusion", "nodule", "clear lungs", "edema", "line in place")


def _draw(root: Path, count: int, *, hard: bool = False) -> Path:
    """A table of so many films, two of a person, in two centers, with reports and a label; every sixth has no report.

    A hard one has the label nodule, too, which no encoder can read from a film.
    """
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        pixels = rng.integers(0, 120, (24, 20 + number % 3), dtype=np.uint8)
        pixels[4 + number % 5 : 9 + number % 5, 5:10] = 250
        image.fromarray(pixels).save(root / f"{number}.png")
        rows.append(
            {
                "image": f"{number}.png",
                "person": f"Person Name {number // 2}",
                "domain": "AB"[number // 2 % 2],
                "report": ""
                if number % 6 == 5
                else f"Findings: {WORDS[number % 5]}, stable. Case {number % 7}.",
                "effusion": str(int(number % 5 == 0)),
                **({"nodule": str(number % 2)} if hard else {}),
            }
        )
    table = root / "films.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 30 films of 15 persons in two centers, with reports and one label."""
    return _draw(tmp_path_factory.mktemp("films"), 30)


def _tiny(root: Path, films: Path, *, tasks: bool = False, **options: Any) -> EncoderView:
    begun = start_encoder_study(
        root, images=options.pop("images", films), **{"samples": (4, "all"), **options}
    )
    path = begun.study.path
    if not tasks:
        write_config(replace(begun.study.config, tasks={}), path)
    text = path.read_text(encoding="utf-8")
    for before, after in {
        "image: 32": "image: 16", "width: 96": "width: 24", "depth: 4": "depth: 1", "budget: 8192": "budget: 24",
        "batch_size: 64": "batch_size: 6", "warmup_steps: 20": "warmup_steps: 1", "local_image: 16": "local_image: 8",
        "prototypes: 256": "prototypes: 16", "local_views: 4": "local_views: 1", "pixels: 40": "pixels: 20",
        "vocabulary: 2000": "vocabulary: 300", "context: 48": "context: 12", "seeds: 2": "seeds: 1",
        "extremes_at: 2.0": "extremes_at: null", "device: auto": "device: cpu", "trackers: [tensorboard]": "trackers: []",
        "workers: null": "workers: 1",
    }.items():  # fmt: skip
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    return EncoderView.open(root)


@pytest.fixture
def begin(films: Path, tmp_path: Path) -> Callable[..., EncoderView]:
    """Return a function that begins a study of the films: tiny networks, a few steps; no tasks unless asked for."""

    def start(name: str = "study", **options: Any) -> EncoderView:
        return _tiny(tmp_path / name, films, **options)

    return start


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of dino and clip whose runs are finished: three sizes, one seed."""
    pytest.importorskip("torch")
    pytest.importorskip("tokenizers")
    root = tmp_path_factory.mktemp("trained") / "study"
    # So many that two encoders hardly ever put those of test in the same order, on any processor.
    table = _draw(root.parent, 96, hard=True)
    design = {"seeds": 1, "extremes_at": None, "budget": 12}
    view = _tiny(root, table, objectives=("dino", "clip"), samples=(4, 8, "all"), design=design)
    quiet = Listener(tell=lambda line: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VoxmixWarning)  # so few steps teach nothing, which runs say
        for step in ("prepare", "run"):
            run_step(step, view.root, quiet)
    return root


@pytest.fixture
def trained(_trained_once: Path, tmp_path: Path) -> Path:
    """Return the folder of a study of dino and clip on three sizes, a copy of its own."""
    shutil.copytree(_trained_once, tmp_path / "study")
    for file in (*_trained_once.parent.glob("*.png"), _trained_once.parent / "films.csv"):
        shutil.copy(file, tmp_path)
    return tmp_path / "study"
