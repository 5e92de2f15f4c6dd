"""Random images with random texts, in memory: what costs are counted and measured on, where nothing is prepared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float16, Int

from voxmix.encoder_runs import EncoderSpec, Item, learned_from, subset_digest

_IMAGES, _LABELS = 32, ("a", "b")
_FIRST_WORD = 4  # numbers below stand for begin, end, padding and what is not known


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomImage:
    """An image for training; every one has a report, and its labels by its number."""

    key: str
    number: int
    shape: tuple[int, ...]
    domain: str = "random"
    split: str = "train"
    has_text: bool = True

    @property
    def person(self) -> str:
        """Its own."""
        return self.key

    @property
    def labels(self) -> Mapping[str, int]:
        """Every pair of values in turn."""
        return {name: self.number >> k & 1 for k, name in enumerate(_LABELS)}


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomImages:
    """A :class:`~voxmix.encoder_runs.Source` of images of one shape; reports fill the context.

    Attributes:
        shape: of each image.
        context: tokens of each report.
        vocabulary: tokens there are.
    """

    shape: tuple[int, ...]
    context: int
    vocabulary: int
    digest: str = "random"
    pictures: str = "random"
    tokenizer: str = "random"
    label_names: tuple[str, ...] = _LABELS

    @property
    def axes(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def items(self) -> Sequence[Item]:
        """The images."""
        return tuple(RandomImage(key=f"{k}", number=k, shape=self.shape) for k in range(_IMAGES))

    def array(self, item: Item) -> Float16[np.ndarray, "*edge"]:
        """Return uniform numbers in [0, 1)."""
        return np.random.default_rng(int(item.key)).random(item.shape, dtype=np.float32).astype(np.float16)

    def tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Return as many tokens as fit."""
        return np.random.default_rng(int(item.key)).integers(_FIRST_WORD, self.vocabulary, self.context)

    def label_tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Return a few tokens, the same where labels are."""
        return np.array([1, *(_FIRST_WORD + k for k, value in enumerate(item.labels.values()) if value), 2])


def on_random_images(
    spec: EncoderSpec, *, shape: tuple[int, ...], batch: int, draws: int
) -> tuple[EncoderSpec, RandomImages]:
    """Return a run as it is, but for its images: random ones of a shape, from no start, for so many draws."""
    source = RandomImages(shape=shape, context=spec.text.context, vocabulary=spec.text.vocabulary)
    short = replace(
        spec,
        samples=_IMAGES,
        subset=subset_digest(source.items),
        cache=learned_from(source, spec.objective),
        tokenizer=source.tokenizer,
        start=None,
        warm_draws=0,
        budget=draws,
        budget_unit="draws",
        training=replace(spec.training, batch_size=batch, schedule="cosine", cooldown=0.2),
    )
    return short, source
