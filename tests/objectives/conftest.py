"""A small source of images with reports and labels, runs of it, and losses of other libraries."""

import importlib
import importlib.util
import json
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from voxmix.backbone_rows import VitSettings
from voxmix.compute import ComputeSettings
from voxmix.encoder_runs import EncoderSpec, TextSettings, subset_digest
from voxmix.objective_rows import OBJECTIVES, objective_settings
from voxmix.run_settings import TrainingSettings
from voxmix.training.loop import run

_PACKAGES = ("lightly", "lightly.loss", "lightly.models", "lightly.models.modules", "open_clip")


@pytest.fixture(scope="session")
def oracle() -> Callable[[str], ModuleType]:
    """Return a function that gives a module of an optional library; the test is skipped without the library.

    The packages of lightly and open_clip import torchvision, whose wheel does not import beside a CPU torch; the files
    of their losses need torch alone. So packages are left empty while a file is imported.
    """
    return _load


def _load(name: str) -> ModuleType:
    top = name.split(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{top} is not installed")
    (root,) = spec.submodule_search_locations
    held = {package: sys.modules.pop(package, None) for package in _PACKAGES}
    try:
        for package in _PACKAGES:
            if package.split(".")[0] == top:
                sys.modules[package] = ModuleType(package)
                sys.modules[package].__path__ = [str(Path(root, *package.split(".")[1:]))]
        return importlib.import_module(name)
    finally:
        for package, module in held.items():
            sys.modules.pop(package, None)
            if module is not None:
                sys.modules[package] = module


@dataclass(frozen=True)
class ToyItem:
    key: str
    domain: str
    person: str
    split: str
    shape: tuple[int, ...]
    has_text: bool
    labels: Mapping[str, int]


@dataclass(frozen=True)
class ToySource:
    """Noise with a bright block whose place a label tells; every third image has no report, every fifth no label."""

    count: int = 24
    axes: int = 2
    texts: int = 7
    digest: str = "toy"
    pictures: str = "toy"
    tokenizer: str = "words"
    label_names: tuple[str, ...] = ("a", "b")
    items: tuple[ToyItem, ...] = field(init=False)

    def __post_init__(self) -> None:
        shapes = {2: [(24, 32), (28, 22)], 3: [(12, 16, 14), (13, 12, 12)]}[self.axes]
        items = [
            ToyItem(
                key=f"k{i}",
                domain="xyy"[i % 3],
                person=f"p{i // 2}",
                split="train" if i < self.count else "validation",
                shape=shapes[i % 2],
                has_text=i % 3 > 0,
                labels={"a": i % 2, "b": int(i % 4 == 0)} if i % 5 else {},
            )
            for i in range(self.count + 8)
        ]
        object.__setattr__(self, "items", tuple(items))

    def array(self, item: ToyItem) -> Any:
        number = int(item.key[1:])
        pixels = 0.2 * np.random.default_rng(number).random(item.shape)
        pixels[(slice(4 + 4 * (number % 2), 8 + 4 * (number % 2)),) * self.axes] += 0.7
        return pixels.astype(np.float16)

    def tokens(self, item: ToyItem) -> Any:
        number = int(item.key[1:])
        return np.array([1, 3 + number % self.texts, 12, *[13] * (number % min(self.texts, 4)), 2])

    def label_tokens(self, item: ToyItem) -> Any:
        present = [20 + k for k, name in enumerate(self.label_names) if item.labels.get(name)]
        return np.array([1, *(present or [19]), 2])


SETTINGS: dict[str, dict[str, Any]] = {
    "dino": {"prototypes": 32, "head_hidden": 16, "head_bottleneck": 8, "local_views": 2},
    "mae": {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
    **{name: {"projection": 8} for name in ("clip", "unicl", "siglip")},
}


@pytest.fixture(scope="session")
def toy() -> Callable[..., ToySource]:
    return ToySource


@pytest.fixture(scope="session")
def spec_for() -> Callable[..., EncoderSpec]:
    """Return a function that gives the spec of an objective on a toy source; 6 steps of 8 draws, the last of 4."""
    return _spec


def _spec(
    name: str,
    source: ToySource,
    *,
    given: Mapping[str, Any] | None = None,
    backbone: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    **more: Any,
) -> EncoderSpec:
    items = [item for item in source.items if item.split == "train"]
    edge = {2: 16, 3: 8}[source.axes]
    local = {"local_image": edge // 2} if name == "dino" else {}
    sizes = {"image": edge, "patch": 4, "width": 24, "depth": 2, "heads": 2, "layer_scale": 0.1}
    return EncoderSpec(
        objective=name,
        objective_settings=objective_settings(name, SETTINGS[name] | local | dict(given or {})),
        backbone=VitSettings(axes=source.axes, **sizes | dict(backbone or {})),
        samples=len(items),
        subset=subset_digest(items),
        cache=source.digest,
        tokenizer=source.tokenizer,
        text=TextSettings(width=16, depth=1, heads=2, context=6, vocabulary=300),
        training=TrainingSettings(
            **{"learning_rate": 1e-3, "batch_size": 8, "warmup_steps": 2} | dict(training or {})
        ),
        **{"seed": 3, "budget": 44} | more,
    )


@pytest.fixture(scope="session")
def made() -> Callable[..., Any]:
    """Return a function that makes the objective of a spec, as a study does."""
    return _made


def _made(spec: EncoderSpec, source: ToySource, start: Any = None) -> Any:
    module, _, name = OBJECTIVES[spec.objective].made_by.partition(":")
    return getattr(import_module(module), name)(spec=spec, source=source, start=start)


@pytest.fixture(scope="session")
def trained() -> Callable[..., Path]:
    """Return a function that trains a spec into a folder."""

    def train(spec: EncoderSpec, source: ToySource, folder: Path, **compute: Any) -> Path:
        progress = {"progress": compute.pop("progress")} if "progress" in compute else {}
        settings = ComputeSettings(device="cpu", trackers=(), **compute)
        run(_made(spec, source), folder=folder, compute=settings, threads=1, **progress)
        return folder

    return train


@pytest.fixture(scope="session")
def figures() -> Callable[[Path], list[dict[str, Any]]]:
    """Return a function that reads the steps of a run."""

    def read(folder: Path) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        ]

    return read


@pytest.fixture(scope="session")
def child_script() -> str:
    """Return a script that trains in a process of its own: arguments: this file, objective, folder, JSON of compute, of spec."""
    return textwrap.dedent(
        """
        import importlib.util, json, sys, warnings
        from pathlib import Path
        spec = importlib.util.spec_from_file_location("toys", sys.argv[1])
        toys = importlib.util.module_from_spec(spec)
        sys.modules["toys"] = toys
        spec.loader.exec_module(toys)
        warnings.simplefilter("ignore")
        source = toys.ToySource()
        made = toys._made(toys._spec(sys.argv[2], source, **json.loads(sys.argv[5])), source)
        settings = toys.ComputeSettings(device="cpu", trackers=(), **json.loads(sys.argv[4]))
        toys.run(made, folder=Path(sys.argv[3]), compute=settings, threads=1)
        """
    )
