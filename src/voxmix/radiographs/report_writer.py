"""Choosing words: synonyms by chance, sides, articles and sizes."""

from collections.abc import Sequence

import numpy as np

from voxmix.radiographs.body import LEFT, RIGHT


class Writer:
    """Chooses words; every choice uses up the report's generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def pick(self, words: Sequence[str]) -> str:
        """Return one of the words."""
        return words[int(self.rng.integers(len(words)))]

    def happens(self, share: float) -> bool:
        """Return true in this share of the calls."""
        return bool(self.rng.random() < share)

    def shuffled(self, items: Sequence[str]) -> list[str]:
        """Return the items in a random order."""
        return [items[k] for k in self.rng.permutation(len(items))]


def capital(text: str) -> str:
    """Return a text whose first letter is a capital."""
    at = next((k for k, c in enumerate(text) if c.isalpha()), 0)
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]


def article(text: str) -> str:
    """Return a noun with a or an before it."""
    return ("an " if text[0] in "aeiouAEIOU8" else "a ") + text


def side_word(side: int) -> str:
    """Return right, left, or bilateral for 0."""
    return {RIGHT: "right", LEFT: "left", 0: "bilateral"}[side]


def graded(size: float, words: Sequence[str]) -> str:
    """Return the word for a size from 0 to 1, of words that rise with it."""
    return words[min(int(size * len(words)), len(words) - 1)]
