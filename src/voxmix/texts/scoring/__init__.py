"""Scores of a generated report against the report that a person wrote: words that overlap, and labels that agree."""

from voxmix.texts.scoring.score import TextScores, score_texts
from voxmix.texts.scoring.table import TEXT_SCORES, TextScore

__all__ = ["TEXT_SCORES", "TextScore", "TextScores", "score_texts"]
