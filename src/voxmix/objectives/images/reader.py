"""Draws of images as the network sees them: views on the device, tokens, and who belongs together."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor

from voxmix._io import size_text
from voxmix._memory import installed_bytes
from voxmix.encoder_runs import Item, Source, ViewSettings
from voxmix.errors import InputError
from voxmix.objectives.images.order import image_order
from voxmix.objectives.images.parts import ViewKind, draw_parts, part_columns, samples_per_pixel, see
from voxmix.objectives.intensities import INTENSITY_COLUMNS, augment, draw_intensities, noise_bank
from voxmix.run_settings import TrainingSettings
from voxmix.training.draws import counted_uniforms
from voxmix.training.loader import ReadAhead
from voxmix.training.pieces import Piece
from voxmix.training.transfer import Landing, send

OPEN_DRAWS = 1 << 14
"""Draws planned at a time while the budget is a time."""
PADDING = 0
"""What fills the rows of tokens after the end of a text."""
_TOKENS = 16
"""Rows of tokens are as long as the longest text of those read at once, up to a multiple of this: few shapes to compile."""
Text = Literal["none", "report", "labels"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DrawnImages:
    """Which image each draw gets, and with which text.

    Attributes:
        items: the images that are drawn from.
        place: of the image of each draw among them.
        texts: what goes with each draw, over and over: ("report",), or ("report", "labels") for every other draw.
    """

    items: tuple[Item, ...]
    place: Int[np.ndarray, " draw"]
    texts: tuple[Text, ...] = ("none",)

    def text(self, draw: int) -> Text:
        """Return what goes with a draw."""
        return self.texts[draw % len(self.texts)]


def plan_images(
    items: Sequence[Item], draws: int, *, seed: int, texts: tuple[Text, ...] = ("none",)
) -> DrawnImages:
    """Return the image of each draw: each kind of text has an order of its own, of the images that have it.

    Raises:
        ValueError: no image has a text of a kind that is asked for.
    """
    place = np.zeros(draws, dtype=np.int64)
    for number, text in enumerate(texts):
        mine = np.flatnonzero([has(item, text) for item in items])
        if not len(mine):
            raise ValueError(f"no image with {text}")
        turns = len(range(number, draws, len(texts)))
        order = image_order([items[int(k)].domain for k in mine], turns, seed=seed, purpose=text)
        place[number :: len(texts)] = mine[order]
    return DrawnImages(items=tuple(items), place=place, texts=texts)


def has(item: Item, text: Text) -> bool:
    """Return whether an image has a text of this kind."""
    return {"none": True, "report": item.has_text, "labels": bool(item.labels)}[text]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageBatch:
    """Some draws on the device.

    Attributes:
        start: first draw of the whole batch.
        keys: numbers of the draws.
        views: those of each kind, of intensities in [0, 1].
        chance: further random numbers of each draw, on the host.
        tokens: of the text of each draw, filled up with :data:`PADDING`; None without texts.
        lengths: tokens of each text; None without texts.
        ids: draws of equal ids belong together; None without texts.
    """

    start: int
    keys: Int[np.ndarray, " draw"]
    views: tuple[Float[Tensor, "draw _ *_"], ...]
    chance: Float[np.ndarray, "draw column"]
    tokens: Int[Tensor, "draw token"] | None = None
    lengths: Int[Tensor, " draw"] | None = None
    ids: Int[Tensor, " draw"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Read:
    canvas: Float[Tensor, "draw *edge"]
    shapes: Int[np.ndarray, "draw axis"]
    texts: dict[str, Int[np.ndarray, "draw ..."]] | None = None  # tokens, lengths, ids


class ImageViews:
    """Reads draws of a source: pure functions of (seed, draw), by as many threads as there are ``loaders``.

    Args:
        drawn: which image each draw gets.
        kinds: the views of each.
        training: how intensities change; None leaves them.
        chance: further random numbers that each draw gets.
        context: most tokens of a text.
        rows: most draws read at once.

    Raises:
        InputError: so many draws, of the largest image, take more memory than the machine has.
    """

    def __init__(
        self,
        source: Source,
        drawn: DrawnImages,
        kinds: Sequence[ViewKind],
        *,
        views: ViewSettings,
        training: TrainingSettings | None,
        seed: int,
        fabric: Fabric,
        rows: int,
        loaders: int = 0,
        chance: int = 0,
        context: int = 0,
    ) -> None:
        self.planned = len(drawn.place)
        self._source, self._drawn, self._kinds, self._views = source, drawn, tuple(kinds), views
        self._training, self._seed, self._fabric = training, seed, fabric
        self._chance, self._context = chance, context
        axes = source.axes
        largest = tuple(max(item.shape[k] for item in drawn.items) for k in range(axes))
        self._finer = [samples_per_pixel(largest, kind) for kind in self._kinds]
        self._columns = [kind.count * (part_columns(axes) + INTENSITY_COLUMNS) for kind in self._kinds]
        self._bank = noise_bank(voxels=max(kind.edge for kind in self._kinds) ** axes, device=fabric.device)
        _check_memory(largest, rows=rows, held=loaders + 1, device=fabric.device.type)
        pinned = fabric.device.type == "cuda"
        memory = [
            torch.zeros((rows, *largest), dtype=torch.float16, pin_memory=pinned) for _ in range(loaders + 1)
        ]
        self._landing = Landing(fabric.device, shape=(rows, *largest))
        self._loader = ReadAhead(self._read, memory=memory)

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Let the loaders read these pieces ahead, in the order in which they will be asked for."""
        self._loader.expect((piece.first, piece.last) for piece in pieces)

    def read(self, piece: Piece) -> ImageBatch:
        """Return the draws of a piece."""
        found, fabric = self._loader.read(piece.first, piece.last), self._fabric
        columns = [*self._columns, self._chance]
        u = counted_uniforms(self._seed, piece.first, piece.last, columns=sum(columns))
        *of_kind, chance = np.split(u, np.cumsum(columns)[:-1], axis=1)
        canvas = self._landing.take(found.canvas)
        texts = {} if found.texts is None else send(found.texts, fabric.device)
        return ImageBatch(
            start=piece.start,
            keys=np.arange(piece.first, piece.last),
            views=tuple(
                self._seen(canvas, found.shapes, kind, of, finer)
                for kind, of, finer in zip(self._kinds, of_kind, self._finer, strict=True)
            ),
            chance=chance,
            **texts,
        )

    def _seen(
        self,
        canvas: Float[Tensor, "draw *edge"],
        shapes: Int[np.ndarray, "draw axis"],
        kind: ViewKind,
        u: Float[np.ndarray, "draw column"],
        finer: int,
    ) -> Float[Tensor, "draw view *size"]:
        if not kind.count:
            return canvas.new_zeros(len(canvas), 0, *(kind.edge,) * shapes.shape[1])
        each = u.reshape(len(u) * kind.count, -1)
        geometry = part_columns(shapes.shape[1])
        parts = draw_parts(
            each[:, :geometry],
            np.repeat(shapes, kind.count, axis=0),
            area=kind.area,
            aspect=self._views.aspect,
            degrees=self._views.rotation_degrees,
        )
        seen = see(canvas, shapes, parts, edge=kind.edge, finer=finer)
        if self._training is not None:
            changes = draw_intensities(each[:, geometry:], self._training)
            augment(seen.view(-1, *seen.shape[2:]), changes, self._bank)
        return seen

    def _read(self, start: int, stop: int, memory: Tensor) -> _Read:
        drawn, source = self._drawn, self._source
        items = [drawn.items[place] for place in drawn.place[start:stop]]
        self._landing.settle(memory)
        canvas = memory[: len(items)].zero_()
        for row, item in zip(canvas, items, strict=True):
            array = torch.from_numpy(np.ascontiguousarray(source.array(item)))
            row[tuple(slice(0, edge) for edge in array.shape)] = array
        shapes = np.array([item.shape for item in items], dtype=np.int64)
        if drawn.texts == ("none",):
            return _Read(canvas=canvas, shapes=shapes)
        texts = [
            text_of(source, item, drawn.text(start + k), context=self._context)
            for k, item in enumerate(items)
        ]
        longest = -(-max(map(len, texts)) // _TOKENS) * _TOKENS
        tokens = np.full((len(items), min(longest, self._context)), PADDING, dtype=np.int64)
        for k, text in enumerate(texts):
            tokens[k, : len(text)] = text
        ids = [id_of(text, drawn.text(start + k)) for k, text in enumerate(texts)]
        lengths = [len(text) for text in texts]
        found = {
            "tokens": tokens,
            "lengths": np.array(lengths, dtype=np.int64),
            "ids": np.array(ids, dtype=np.int64),
        }
        return _Read(canvas=canvas, shapes=shapes, texts=found)

    def close(self) -> None:
        """Let go of what reads ahead."""
        self._loader.close()


def _check_memory(largest: tuple[int, ...], *, rows: int, held: int, device: str) -> None:
    """Refuse to read more draws at once than the machine's memory holds: whole images, of the size of the largest."""
    needed = rows * math.prod(largest) * (2 * held + (4 if device == "cpu" else 0))
    installed = installed_bytes()
    if installed is not None and needed > installed:
        raise InputError(
            f"reading {rows} draws at once, of up to {' x '.join(map(str, largest))}, takes {size_text(needed)} of memory, and "
            f"there are {size_text(installed)}; set compute.micro_batch or fewer compute.loaders, or prepare coarser images"
        )


def text_of(source: Source, item: Item, text: Text, *, context: int) -> Int[np.ndarray, " token"]:
    """Return the tokens that go with an image; of a text that is too long the first ones and the end."""
    tokens = source.tokens(item) if text == "report" else source.label_tokens(item)
    return np.asarray(
        tokens if len(tokens) <= context else [*tokens[: context - 1], tokens[-1]], dtype=np.int64
    )


def id_of(tokens: Int[np.ndarray, " token"], text: Text) -> int:
    """Return the id of a text: its digest, so that equal texts belong together; those of other kinds never do."""
    found = hashlib.sha256(text.encode() + tokens.astype("<i8").tobytes()).digest()
    return int.from_bytes(found[:8], "little", signed=True)


def planned_draws(draws: int | None, least: int) -> int:
    """Return the draws to plan: the budget, or for an open trunk more than ``least``."""
    return draws if draws is not None else OPEN_DRAWS * (math.floor(least / OPEN_DRAWS) + 1)
