"""Retrieval equals a ranking by hand, equal texts are all right, and what knows nothing scores what chance says."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxmix.encoder_runs import TextSettings
from voxmix.encoders.text import build_text_encoder
from voxmix.probe_tasks import JudgedEncoder, ProbeSettings, ProbeTask
from voxmix.probes.data import ProbeData
from voxmix.probes.encoder import LoadedEncoder, TextSide
from voxmix.probes.features import FeatureStore
from voxmix.probes.judge import judge
from voxmix.probes.retrieval import METRICS, Words, chance_scores, equal_texts, own_similarity, pair_scores
from voxmix.probes.task_cases import probe_data
from voxmix.scores.result import DownstreamResult, ValuedCase

TEXTS = ("clear lungs", "an effusion", "clear lungs", "a tube", "edema")


def by_hand(row: np.ndarray, right: list[int]) -> float:
    best = max(row[place] for place in right)
    wrong = [value for place, value in enumerate(row) if place not in right]
    return 1 + sum(value > best for value in wrong) + sum(value == best for value in wrong) / 2


def test_scores_are_those_of_a_ranking_by_hand() -> None:
    table = np.random.default_rng(0).integers(0, 4, (5, 5)).astype(np.float64)  # with ties
    different = list(dict.fromkeys(TEXTS))
    first = [TEXTS.index(text) for text in different]
    table = table[
        :, [TEXTS.index(text) for text in TEXTS]
    ]  # what is thought of a text is thought of its equal
    found = pair_scores(table, TEXTS)
    for pair, text in enumerate(TEXTS):
        right = [place for place, other in enumerate(TEXTS) if other == text]
        to_text = by_hand(table[pair, first], [different.index(text)])
        to_image = by_hand(table[:, pair], right)
        assert found["image to text reciprocal rank"][pair] == 1 / to_text
        assert found["text to image recall@1"][pair] == (to_image <= 1)
        assert found["reciprocal rank"][pair] == (1 / to_text + 1 / to_image) / 2
        assert found["recall@5"][pair] == (int(to_text <= 5) + int(to_image <= 5)) / 2


def test_equal_texts_are_all_right() -> None:
    table = np.eye(5)
    table[0, [0, 2]], table[2, [0, 2]] = (
        1,
        2,
    )  # either text finds the image of pair 2 first, which is its own too
    assert all(pair_scores(table, TEXTS)[name].tolist() == [1.0] * 5 for name in METRICS)
    assert equal_texts(TEXTS).sum() == 7


def test_chance_is_what_random_orders_score() -> None:
    rng = np.random.default_rng(0)
    texts = [f"t{min(number, 9)}" for number in range(14)]  # the last five are equal
    group = [texts.index(text) for text in texts]
    drawn = [pair_scores(rng.random((14, 14))[:, group], texts) for _ in range(2000)]
    chance = chance_scores(texts)
    for name in METRICS:
        mean = np.mean([one[name] for one in drawn], axis=0)
        assert np.allclose(mean, chance[name], atol=0.05)  # five standard errors
    assert chance["recall@1"][0] == pytest.approx((1 / 10 + 1 / 14) / 2)
    assert chance_scores(["a"])["recall@5"][0] == 1.0


def test_words_by_hand() -> None:
    words = Words.of(["Clear lungs.", "clear, clear", "Edema!"])
    assert list(words.place) == ["clear"]  # the others stand in one text alone
    assert words.rarity == (pytest.approx(np.log(4 / 3) + 1),)
    assert words.rows(["CLEAR now", "edema"]).tolist() == [[1.0], [0.0]]


@dataclass(frozen=True)
class Speller:
    """A tokenizer of whole words."""

    words: tuple[str, ...]
    digest: str = "speller"

    def decode(self, tokens: Any) -> str:
        return " ".join(self.words[token] for token in tokens[1:-1])


@dataclass(frozen=True)
class Told:
    """Pictures with reports."""

    whole: Any
    told: dict[str, list[int]]
    text_tokenizer: Speller
    axes: int = 2
    digest: str = "told"
    pictures: str = "told"
    tokenizer: str = "speller"
    label_names: tuple[str, ...] = ()

    @property
    def items(self) -> Any:
        return self.whole.items

    def array(self, item: Any) -> np.ndarray:
        return np.asarray(self.whole.array(item))

    def tokens(self, item: Any) -> np.ndarray:
        return np.array(self.told[item.key], dtype=np.int64)

    def label_tokens(self, item: Any) -> np.ndarray:
        return np.zeros(0, dtype=np.int64)


WORDS = ("[begin]", "bright", "dark", "left", "right", "film", "[end]")


def told(make_pictures: Callable[..., Any], *, coin: bool = False) -> Told:
    """Reports say what the images show, or (coin) what another image shows."""
    whole = make_pictures(60)
    items = tuple(replace(item, has_text=True) for item in whole.items)
    rng = np.random.default_rng(1)
    tokens = {}
    for item in items:
        bright, left = item.pixels.mean() > 0.4, item.labels["side: left"]
        if coin:
            bright, left = rng.integers(0, 2, 2)
        tokens[item.key] = [0, 1 if bright else 2, 3 if left else 4, 5, 6]
    return Told(whole=replace(whole, items=items), told=tokens, text_tokenizer=Speller(WORDS))


def judged_on(data: ProbeData, encoder: LoadedEncoder, folder: Path) -> tuple[DownstreamResult, Any, Any]:
    named = JudgedEncoder(name="untrained", encoder=encoder.digest)
    found = judge(
        data,
        encoder,
        named,
        store=FeatureStore(folder / "f"),
        folder=folder / "p",
        settings=ProbeSettings(inner=0.25),
    )
    return found.result, found.figures, found.notes


def mean_of(found: DownstreamResult, name: str) -> float:
    return float(np.mean([case.values[name] for case in found.cases if isinstance(case, ValuedCase)]))  # type: ignore[misc]


def test_reports_that_say_what_images_show_are_found(
    encoder: LoadedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    data = probe_data(ProbeTask(kind="retrieval"), "pairs", told(make_pictures))
    found, figures, notes = judged_on(data, encoder, tmp_path)
    assert found.metrics == METRICS
    assert mean_of(found, "recall@1") > 0.9 > 0.6 > figures["chance recall@1"]
    assert figures["pairs"] == len(data.part("test"))
    assert any("by a ridge map" in note for note in notes)


def test_reports_of_other_images_score_chance(
    encoder: LoadedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    data = probe_data(ProbeTask(kind="retrieval"), "pairs", told(make_pictures, coin=True))
    found, figures, _ = judged_on(data, encoder, tmp_path)
    assert abs(mean_of(found, "recall@1") - figures["chance recall@1"]) < 0.25


def test_the_order_of_cases_changes_nothing(
    encoder: LoadedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    source = told(make_pictures)
    other = replace(source, whole=replace(source.whole, items=source.whole.items[::-1]))
    first, second = (
        judged_on(probe_data(ProbeTask(kind="retrieval"), "pairs", one), encoder, tmp_path / str(k))[0]
        for k, one in enumerate((source, other))
    )
    assert {case.case: case for case in first.cases} == {case.case: case for case in second.cases}


def test_every_encoder_is_judged_alike_and_its_own_text_side_beside_it(
    encoder: LoadedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    reader = build_text_encoder(TextSettings(width=8, depth=1, heads=2, context=4, vocabulary=7), 0).eval()
    draw = torch.Generator().manual_seed(0)
    side = TextSide(
        encoder=reader,
        image_projection=torch.randn(5, encoder.width, generator=draw),
        text_projection=torch.randn(5, 8, generator=draw),
        tokenizer="speller",
        folder=tmp_path,
    )
    data = probe_data(ProbeTask(kind="retrieval"), "pairs", told(make_pictures))
    plain, without, _ = judged_on(data, encoder, tmp_path / "plain")
    found, figures, notes = judged_on(data, replace(encoder, text=side), tmp_path / "own")
    # Judged like an encoder that cannot read; what its own text side finds stands beside it.
    assert {case.case: case.values for case in found.cases} == {
        case.case: case.values for case in plain.cases
    }
    assert set(figures) - set(without) == {f"{name} by own text" for name in METRICS}
    assert mean_of(found, "recall@1") > 0.9 > figures["recall@1 by own text"]
    assert any("own text side" in note for note in notes)
    _, figures, notes = judged_on(
        data, replace(encoder, text=replace(side, tokenizer="")), tmp_path / "other"
    )
    assert any("another tokenizer or none that is known" in note for note in notes)
    assert "recall@1 by own text" not in figures
    images = np.random.default_rng(0).normal(size=(3, encoder.width))
    tokens = [np.array([0, 1, 6]), np.array([0, 2, 3, 5, 6]), np.array([0, 4, 6])]
    cut = [[0, 1, 6], [0, 2, 3, 6], [0, 4, 6]]
    with torch.no_grad():
        texts = torch.stack([side.text_projection @ reader(torch.tensor([row]))[0] for row in cut])
        shown = torch.from_numpy(images).float() @ side.image_projection.t()
        expected = torch.cosine_similarity(shown[:, None], texts[None], dim=2)
    assert np.allclose(own_similarity(side, images, tokens), expected, atol=1e-5)
