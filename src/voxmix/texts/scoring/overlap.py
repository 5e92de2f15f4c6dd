"""Overlap of words and letters between two texts: BLEU, ROUGE-L, chrF.

Written out here because they are short: libraries take a hundred times as long for one report (torchmetrics' chrF: 0.16
seconds), and their BLEU of one sentence is 0 wherever no four words in a row agree. Tests hold each to the library's.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

_ORDERS = 4
_LETTERS = 6
_RECALL_WEIGHT = 2


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; each punctuation mark is one too."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def _runs(parts: Sequence[str], length: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(parts[k : k + length]) for k in range(len(parts) - length + 1))


def _agreeing(said: Sequence[str], known: Sequence[str]) -> list[tuple[int, int]]:
    """Return, for runs of one to four words, how many of a text's are in the other, and how many it has."""
    counts = []
    for length in range(1, _ORDERS + 1):
        ours, theirs = _runs(said, length), _runs(known, length)
        counts.append(((ours & theirs).total(), ours.total()))
    return counts


def _brevity(said: int, known: int) -> float:
    return 1.0 if said > known else math.exp(1 - known / said) if said else 0.0


def bleu(generated: str, reference: str) -> float:
    """Return BLEU-4 of one text (Papineni et al. 2002), between 0 and 1; two equal texts have 1.

    Smoothed as by Lin and Och (2004): runs of two words and more count one more, agreeing and in all, so that a short report
    without four words in a row that agree is not simply 0.
    """
    said, known = words(generated), words(reference)
    counts = _agreeing(said, known)
    if not counts[0][0]:
        return 0.0
    shares = [
        right / total if k == 0 else (right + 1) / (total + 1) for k, (right, total) in enumerate(counts)
    ]
    mean = math.exp(math.fsum(math.log(share) for share in shares) / _ORDERS)
    return _brevity(len(said), len(known)) * mean


def corpus_bleu(generated: Sequence[str], references: Sequence[str]) -> float:
    """Return BLEU-4 of all texts together (Papineni et al. 2002), not smoothed: 0 where no four words in a row agree."""
    pairs = [(words(said), words(known)) for said, known in zip(generated, references, strict=True)]
    per_text = [_agreeing(said, known) for said, known in pairs]
    sums = [tuple(sum(counts[k][part] for counts in per_text) for part in (0, 1)) for k in range(_ORDERS)]
    if any(right == 0 for right, _ in sums):
        return 0.0
    mean = math.exp(math.fsum(math.log(right / total) for right, total in sums) / _ORDERS)
    return _brevity(sum(len(said) for said, _ in pairs), sum(len(known) for _, known in pairs)) * mean


def rouge_l(generated: str, reference: str) -> float:
    """Return ROUGE-L (Lin 2004), between 0 and 1: F1 of the longest common subsequence of words, punctuation left out."""
    said, known = (re.findall(r"[a-z0-9]+", text.lower()) for text in (generated, reference))
    common = _common(said, known)
    return 2 * common / (len(said) + len(known)) if common else 0.0


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for one in first:
        corner = 0
        for k, other in enumerate(second, start=1):
            corner, row[k] = row[k], corner + 1 if one == other else max(row[k], row[k - 1])
    return row[-1]


def chrf(generated: str, reference: str) -> float:
    """Return chrF (Popović 2015), between 0 and 1: mean F of runs of one to six letters, in which recall counts twice.

    In lower case, white space left out. Lengths that neither text has are left out.
    """
    said, known = ("".join(text.lower().split()) for text in (generated, reference))
    scores = []
    for length in range(1, _LETTERS + 1):
        ours, theirs = _runs(said, length), _runs(known, length)
        if not ours or not theirs:
            if ours or theirs:
                scores.append(0.0)
            continue
        right = (ours & theirs).total()
        precision, recall = right / ours.total(), right / theirs.total()
        weight = _RECALL_WEIGHT**2
        below = weight * precision + recall
        scores.append((1 + weight) * precision * recall / below if right else 0.0)
    return math.fsum(scores) / len(scores) if scores else 0.0
