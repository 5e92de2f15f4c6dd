"""Made-up images in memory, of which everything is known, and a small network that learned nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxmix.backbone_rows import VitSettings
from voxmix.probe_tasks import JudgedEncoder
from voxmix.probes.encoder import LoadedEncoder, untrained_encoder


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An Item whose array is kept beside it."""

    key: str
    person: str
    split: str
    domain: str = "A"
    labels: Mapping[str, int] = field(default_factory=dict)
    has_text: bool = False
    pixels: Any = None
    masks: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pixels.shape)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """A Source in memory; counts how often each array was read."""

    items: tuple[Picture, ...]
    tokenizer: str = ""
    axes: int = 2
    digest: str = "pictures"
    pictures: str = "pictures"
    reads: list[str] = field(default_factory=list)

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(sorted({name for item in self.items for name in item.labels}))

    def array(self, item: Picture) -> np.ndarray:
        self.reads.append(item.key)
        return np.asarray(item.pixels, dtype=np.float16)

    def tokens(self, item: Picture) -> np.ndarray:
        return np.zeros(0, dtype=np.int64)

    def label_tokens(self, item: Picture) -> np.ndarray:
        return np.zeros(0, dtype=np.int64)


def pictures(
    persons: int = 40, *, each: int = 2, held_out: float = 0.4, edge: int = 16, seed: int = 0, axes: int = 2
) -> Pictures:
    """Return images of which label "bright" is how bright they are, "coin" is a coin, and class "side: ..." where a bar is.

    Every seventh image does not say whether it is bright.
    """
    rng = np.random.default_rng(seed)
    made = []
    for number in range(persons * each):
        person = number // each
        bright, coin, side = (int(value) for value in rng.integers(0, 2, 3))
        pixels = rng.uniform(0, 0.2, (edge, edge + 4, edge)[:axes]) + 0.5 * bright
        pixels[:, edge // 2 * side : edge // 2 * side + edge // 4] += 0.3
        labels = {"bright": bright, "coin": coin, "side: left": 1 - side, "side: right": side}
        if number % 7 == 0:
            del labels["bright"]
        made.append(
            Picture(
                key=f"k{seed}-{number:04d}",
                person=f"p{person}",
                split="validation" if person < held_out * persons else "train",
                domain="AB"[person % 2],
                labels=labels,
                pixels=pixels,
            )
        )
    return Pictures(items=tuple(made), axes=axes)


@pytest.fixture
def make_pictures() -> Callable[..., Pictures]:
    """Return :func:`pictures`."""
    return pictures


SMALL = VitSettings(image=16, patch=8, width=12, depth=2, heads=2)


@pytest.fixture
def encoder() -> LoadedEncoder:
    """A network that learned nothing."""
    return untrained_encoder(SMALL)


@pytest.fixture
def judged(encoder: LoadedEncoder) -> JudgedEncoder:
    """How it is called."""
    return JudgedEncoder(name="untrained", encoder=encoder.digest)


def change(source: Pictures, **of: Callable[[Picture], Any]) -> Pictures:
    """Return pictures with other fields."""
    from dataclasses import replace

    items: Sequence[Picture] = [
        replace(item, **{name: make(item) for name, make in of.items()}) for item in source.items
    ]
    return replace(source, items=tuple(items), reads=[])


@pytest.fixture
def change_pictures() -> Callable[..., Pictures]:
    """Return :func:`change`."""
    return change


@pytest.fixture
def store_folder(tmp_path: Path) -> Path:
    """Where features go."""
    return tmp_path / "features"
