"""METEOR by nltk, without WordNet: words agree where they or their stems are equal."""

from collections.abc import Sequence

from voxmix._optional import require
from voxmix.texts.scoring.overlap import words


class _NoSynonyms:
    """In place of WordNet, whose data would have to be fetched."""

    def synsets(self, word: str) -> tuple[()]:
        return ()


def meteor(generated: Sequence[str], references: Sequence[str]) -> list[float | None]:
    """Return METEOR of each text (Lavie and Agarwal 2007) without synonyms: exact words, then Porter stems.

    Two equal texts of m words have 1 - 0.5 / m^3.

    Raises:
        MissingDependencyError: nltk is not installed.
    """
    library = require("nltk.translate.meteor_score", extra="reports")
    none = _NoSynonyms()
    return [
        float(library.single_meteor_score(words(known), words(said), wordnet=none))
        for said, known in zip(generated, references, strict=True)
    ]
