"""Retrieval: the report of an image and the image of a report, among those of persons held out."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from voxmix.probes.encoder import TextSide
from voxmix.probes.heads import HeadResult, Probing, unit_rows
from voxmix.probes.persons import best_of, inner_split
from voxmix.scores.result import ValuedCase
from voxmix.texts.tokenizer import FILE as TOKENIZER_FILE
from voxmix.texts.tokenizer import cut_tokens, read_tokenizer

METRICS = ("recall@5", "recall@1", "reciprocal rank")
"""Means of both directions; the main one first."""
_DEPTHS = {"recall@5": 5, "recall@1": 1}
_WORDS, _LEAST = 2000, 2
_BATCH = 64


def retrieval_head(probing: Probing) -> HeadResult:
    """Return, for each pair held out, how well its report is found by its image and the reverse.

    One measure for every encoder, so that those with and without a text side can be set against each other: a ridge map from
    features to the words of a report (TF-IDF), fitted on training persons. What an encoder's own text side finds, where it has
    one of the same tokenizer, stands beside it among the figures, as ``recall@5 by own text`` and so on.

    Raises:
        InputError: one training person alone.
    """
    data, settings = probing.data, probing.settings
    features = probing.store.features(probing.encoder, data, progress=probing.progress)
    train, test = (data.places(part) for part in ("train", "test"))
    texts = [data.text(case) for case in data.cases]
    judged = [texts[place] for place in test]
    penalty, mapped = _by_words(
        features.pooled,
        texts,
        train,
        test,
        held=inner_split(data, share=settings.inner, seed=settings.seed),
        penalties=settings.penalties,
    )
    side, own = probing.encoder.text, None
    if side is not None and _tokenizer(side) == data.source.tokenizer:
        tokens = [data.tokens(data.cases[place]) for place in test]
        own = own_similarity(side, features.cls[test, -1], tokens)
    scores = pair_scores(mapped, judged)
    chance = chance_scores(judged)
    figures = {f"chance {name}": float(np.mean(chance[name])) for name in METRICS} | {
        "pairs": float(len(test))
    }
    if own is not None:
        by_own = pair_scores(own, judged)
        figures |= {f"{name} by own text": float(np.mean(by_own[name])) for name in METRICS}
    for direction in ("image to text", "text to image"):
        figures |= {f"{direction} {name}": float(np.mean(scores[f"{direction} {name}"])) for name in METRICS}
    notes = [f"{data.name}: pairs are found by a ridge map to the words of reports, for every encoder alike"]
    if own is not None:
        notes.append(f"{data.name}: what the encoder's own text side finds is among the figures")
    elif side is not None:
        notes.append(
            f"{data.name}: the encoder's text side has another tokenizer or none that is known, and cannot read these reports"
        )
    if len(set(judged)) < 2:
        notes.append(f"{data.name}: all reports held out are equal: every score is that of chance")
    return HeadResult(
        kind="values",
        cases=[
            ValuedCase(
                case=data.cases[place].case,
                subject=data.cases[place].subject,
                domain=data.cases[place].domain,
                values={name: float(scores[name][row]) for name in METRICS},
            )
            for row, place in enumerate(test.tolist())
        ],
        metrics=METRICS,
        chosen={"penalty": penalty},
        figures=figures,
        notes=tuple(notes),
    )


def _tokenizer(side: TextSide) -> str:
    """Return the digest of a text side's tokenizer; "" where it is not known."""
    beside = side.folder / TOKENIZER_FILE
    if side.tokenizer or not beside.is_file():
        return side.tokenizer
    return read_tokenizer(side.folder).digest


def pair_scores(
    similarity: Float[np.ndarray, "image text"], texts: Sequence[str]
) -> dict[str, Float[np.ndarray, " pair"]]:
    """Return scores of each pair by name: of both directions, and their mean under the names of :data:`METRICS`.

    An image is asked for its report among the different reports: equal ones are one answer, for whatever an encoder thinks of it,
    it thinks of all of them. A report is asked for its image among all images, and every image of an equal report is right. The
    rank of the best right answer is one more than the number of wrong ones above it, plus half of those that tie with it.

    Args:
        similarity: of the image of each pair to the text of each; equal texts have equal columns.
        texts: of the pairs.
    """
    right = equal_texts(texts)
    different = [texts.index(text) for text in dict.fromkeys(texts)]
    found: dict[str, np.ndarray] = {}
    for direction, table, true in (
        ("image to text", similarity[:, different], right[:, different]),
        ("text to image", similarity.T, right),
    ):
        rank = _ranks(table, true)
        for name, depth in _DEPTHS.items():
            found[f"{direction} {name}"] = (rank <= depth).astype(np.float64)
        found[f"{direction} reciprocal rank"] = 1 / rank
    means = {name: (found[f"image to text {name}"] + found[f"text to image {name}"]) / 2 for name in METRICS}
    return found | means


def equal_texts(texts: Sequence[str]) -> Bool[np.ndarray, "pair pair"]:
    """Return which pairs have equal texts."""
    number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    own = np.array([number[text] for text in texts])
    same: np.ndarray = own[:, None] == own[None, :]
    return same


def _ranks(
    table: Float[np.ndarray, "asked answer"], right: Bool[np.ndarray, "asked answer"]
) -> Float[np.ndarray, " asked"]:
    best = np.where(right, table, -np.inf).max(axis=1, keepdims=True)
    above = ((table > best) & ~right).sum(axis=1)
    ties = ((table == best) & ~right).sum(axis=1)
    ranks: np.ndarray = 1 + above + ties / 2
    return ranks


def chance_scores(texts: Sequence[str]) -> dict[str, Float[np.ndarray, " pair"]]:
    """Return what each pair scores on average where answers come in random order, mean of both directions: exact.

    Texts are asked for as :func:`pair_scores` does: one right answer among the different texts, or r right ones among n images.
    """
    of = Counter(texts)
    to_text = _chance(len(of), 1)
    to_image = {right: _chance(len(texts), right) for right in set(of.values())}
    return {
        name: np.array([(to_text[name] + to_image[of[text]][name]) / 2 for text in texts]) for name in METRICS
    }


def _chance(count: int, right: int) -> dict[str, float]:
    """Return what random order scores by name, with so many answers, of which so many are right.

    None of r right ones of n is among the first k with probability C(n-r, k) / C(n, k); the first right one stands at place k with
    probability C(n-k, r-1) / C(n, r).
    """
    places = range(1, count - right + 2)
    return {
        name: 1 - math.comb(count - right, min(depth, count)) / math.comb(count, min(depth, count))
        for name, depth in _DEPTHS.items()
    } | {
        "reciprocal rank": sum(math.comb(count - k, right - 1) / k / math.comb(count, right) for k in places)
    }


@torch.no_grad()
def own_similarity(
    side: TextSide, images: Float[np.ndarray, "pair width"], tokens: Sequence[np.ndarray]
) -> Float[np.ndarray, "pair pair"]:
    """Return the cosine of every image with every text in the space that an encoder's two sides share."""
    rows = [torch.from_numpy(cut_tokens(own, side.encoder.settings.context)) for own in tokens]
    said = []
    for first in range(0, len(rows), _BATCH):
        few = rows[first : first + _BATCH]
        lengths = torch.tensor([len(row) for row in few])
        said.append(side.encoder(torch.nn.utils.rnn.pad_sequence(few, batch_first=True), lengths))
    texts = torch.cat(said)
    both = (
        torch.from_numpy(np.asarray(images, dtype=np.float32)) @ side.image_projection.t(),
        texts @ side.text_projection.t(),
    )
    image, text = (torch.nn.functional.normalize(one, dim=1).numpy() for one in both)
    found: np.ndarray = image @ text.T
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """The words of training reports and how rare each is.

    Attributes:
        place: of each word, by word.
        rarity: ln((1 + n) / (1 + reports that have it)) + 1, as scikit-learn's.
    """

    place: dict[str, int]
    rarity: tuple[float, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Words":
        """Return the words that at least two of the texts have, the 2,000 commonest."""
        counts = Counter(word for text in texts for word in set(_split(text)))
        common = sorted(
            (word for word, count in counts.items() if count >= _LEAST), key=lambda w: (-counts[w], w)
        )
        kept = common[:_WORDS]
        rarity = tuple(math.log((1 + len(texts)) / (1 + counts[word])) + 1 for word in kept)
        return cls(place={word: place for place, word in enumerate(kept)}, rarity=rarity)

    def rows(self, texts: Sequence[str]) -> Float[np.ndarray, "text word"]:
        """Return the words of texts as vectors of length 1; of length 0 where a text has none of them."""
        rows = np.zeros((len(texts), len(self.place)))
        for row, text in zip(rows, texts, strict=True):
            for word, count in Counter(_split(text)).items():
                if word in self.place:
                    row[self.place[word]] = count * self.rarity[self.place[word]]
        return unit_rows(rows)


def _split(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _by_words(
    features: Float[np.ndarray, "case feature"],
    texts: Sequence[str],
    train: np.ndarray,
    test: np.ndarray,
    *,
    held: Bool[np.ndarray, " training"],
    penalties: Sequence[float],
) -> tuple[float, Float[np.ndarray, "pair pair"]]:
    """Return the penalty that finds most pairs of persons held out within training, and the similarity of the judged pairs."""
    seen, choosing = train[~held], train[held]
    tried = _mapped(features, texts, seen, choosing, penalties)
    asked = [texts[place] for place in choosing]
    means = [float(np.mean(pair_scores(table, asked)["reciprocal rank"])) for table in tried]
    penalty = penalties[best_of(means)]
    (table,) = _mapped(features, texts, train, test, (penalty,))
    return penalty, table


def _mapped(
    features: Float[np.ndarray, "case feature"],
    texts: Sequence[str],
    train: np.ndarray,
    test: np.ndarray,
    penalties: Sequence[float],
) -> list[Float[np.ndarray, "pair pair"]]:
    """Return, for each penalty, the similarity of judged pairs by a ridge map of features to words; in an order of its own."""
    order = train[np.lexsort(features[train].T[::-1])]  # sums do not depend on the order of the table
    words = Words.of([texts[place] for place in order])
    known, wanted = np.asarray(features[order], dtype=np.float64), words.rows([texts[p] for p in order])
    middle, spread = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-6)
    left, singular, right = np.linalg.svd((known - middle) / spread, full_matrices=False)
    mean = wanted.mean(axis=0)
    turned = left.T @ (wanted - mean)
    asked = ((np.asarray(features[test], dtype=np.float64) - middle) / spread) @ right.T
    answers = unit_rows(words.rows([texts[place] for place in test]) - mean)
    tables = []
    for penalty in penalties:
        shrunk = (singular / (singular**2 + penalty * len(order)))[:, None] * turned
        tables.append(unit_rows(asked @ shrunk) @ answers.T)
    return tables
