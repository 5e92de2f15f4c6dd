"""TEXT_SCORES: the scores of generated reports by name, those that need weights among them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from voxmix._table import Table
from voxmix.texts.scoring import overlap, plugins
from voxmix.texts.scoring.label_f1 import label_f1, label_figures
from voxmix.texts.scoring.meteor import meteor
from voxmix.texts.scoring.plugins import Scorer

Figures = Callable[[Sequence[str], Sequence[str]], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextScore:
    """One score of generated reports; more is better, 1 the most.

    Attributes:
        make: returns the scorer; given the folder of its weights, None where the user names none.
        sentence: what it measures.
        weights: whether it needs a folder of weights.
        library: that it needs besides voxmix's own; "" for none.
        figures: numbers of all reports together.
    """

    make: Callable[[Path | None], Scorer]
    sentence: str
    weights: bool = False
    library: str = ""
    figures: Figures | None = None

    @property
    def is_at_hand(self) -> bool:
        """Whether it needs nothing that may be missing: neither weights nor a library that is not installed."""
        return not self.weights and (not self.library or find_spec(self.library) is not None)


def _each(score: Callable[[str, str], float]) -> Callable[[Path | None], Scorer]:
    def scorer(generated: Sequence[str], references: Sequence[str]) -> list[float | None]:
        return [score(said, known) for said, known in zip(generated, references, strict=True)]

    return lambda folder: scorer


def _corpus(generated: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    return {"BLEU-4, all reports": overlap.corpus_bleu(generated, references)}


TEXT_SCORES: Table[TextScore] = Table(
    "text_scores",
    {
        "label F1": TextScore(
            make=lambda folder: label_f1,
            sentence="findings and tubes that both reports have, by voxmix's rules: F1 of each report",
            figures=label_figures,
        ),
        "BLEU-4": TextScore(
            make=_each(overlap.bleu),
            sentence="runs of one to four words, smoothed for each report",
            figures=_corpus,
        ),
        "ROUGE-L": TextScore(
            make=_each(overlap.rouge_l), sentence="F1 of the longest common subsequence of words"
        ),
        "chrF": TextScore(
            make=_each(overlap.chrf), sentence="F of runs of one to six letters, recall counted twice"
        ),
        "METEOR": TextScore(
            make=lambda folder: meteor,
            sentence="words and stems that agree, in order; no synonyms",
            library="nltk",
        ),
        "RadGraph F1": TextScore(
            make=plugins.radgraph,
            sentence="entities and relations that RadGraph finds",
            weights=True,
            library="radgraph",
        ),
        "CheXbert F1": TextScore(
            make=plugins.chexbert, sentence="labels that CheXbert finds", weights=True, library="f1chexbert"
        ),
        "RadFact": TextScore(
            make=plugins.radfact,
            sentence="phrases that the other report entails, judged by a language model on this machine",
            weights=True,
            library="radfact",
        ),
    },
)
"""Name to score. Others add theirs by the entry-point group ``voxmix.text_scores``."""
