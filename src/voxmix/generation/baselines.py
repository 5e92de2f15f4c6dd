"""What a model that writes reports must beat: the commonest training report, and the report of the most similar image."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def commonest(texts: Sequence[str]) -> str:
    """Return the commonest text; of equally common ones the one with the most words in common with all, then the first.

    Where no report stands twice, that is a report of the usual words: what a model writes that does not look at the image.
    """
    counts = Counter(texts)
    most = max(counts.values())
    frequent: Counter[str] = Counter(word for text in texts for word in set(text.split()))

    def usual(text: str) -> float:
        found = set(text.split())
        return sum(frequent[word] for word in found) / (len(found) * len(texts)) if found else 0.0

    return max(sorted(text for text, count in counts.items() if count == most), key=usual)


def nearest(
    known: Float[np.ndarray, "known feature"], asked: Float[np.ndarray, "asked feature"]
) -> Int[np.ndarray, " asked"]:
    """Return the place of the most similar known image for each that is asked for: cosine of features, scaled by the known."""
    middle, spread = known.mean(axis=0), known.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    ours, theirs = ((each - middle) / spread for each in (known, asked))
    ours = ours / np.maximum(np.linalg.norm(ours, axis=1, keepdims=True), 1e-12)
    found: np.ndarray = np.argmax(theirs @ ours.T, axis=1)
    return found
