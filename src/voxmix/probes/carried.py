"""Heads carried to another center: trained on the study's own images, judged on others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float16, Int

from voxmix._io import digest
from voxmix.encoder_runs import Item, Source


@dataclass(frozen=True, kw_only=True)  # no slots: what is computed is kept
class Carried:
    """Training images of one source, and all images of another as held-out ones. It is a :class:`~voxmix.encoder_runs.Source`."""

    home: Source
    away: Source

    @property
    def axes(self) -> int:
        """2 or 3."""
        return self.home.axes

    @cached_property
    def items(self) -> Sequence[Item]:
        """Training images of the first, then all of the other, as held out."""
        others: list[Any] = [replace(item, split="validation") for item in self.away.items]  # type: ignore[type-var]
        return (*(item for item in self.home.items if item.split == "train"), *others)

    @cached_property
    def _away(self) -> dict[str, Item]:
        return {item.key: item for item in self.away.items}

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that both have."""
        return tuple(sorted({*self.home.label_names} & {*self.away.label_names}))

    @property
    def digest(self) -> str:
        """Digest of both."""
        return digest([self.home.digest, self.away.digest])

    @property
    def pictures(self) -> str:
        """Digest of the arrays of both."""
        return digest([self.home.pictures, self.away.pictures])

    @property
    def tokenizer(self) -> str:
        """None: heads of reports are not carried."""
        return ""

    @property
    def recipe(self) -> Any:
        """How the images were prepared: those of a study and of its tasks alike."""
        return getattr(self.home, "recipe", None)

    def array(self, item: Item) -> Float16[np.ndarray, "*edge"]:
        """Return the array of an item, in [0, 1]."""
        away = self._away.get(item.key)
        return self.home.array(item) if away is None else self.away.array(away)

    def tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Return no tokens."""
        return np.zeros(0, dtype=np.int64)

    def label_tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Return no tokens."""
        return np.zeros(0, dtype=np.int64)
