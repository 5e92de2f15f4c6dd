"""A decoder from scratch says what is in the features, is no better than chance where nothing is, and is the same each time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_reports import check_steps_are_the_whole, made

from voxmix.errors import InputError, VoxmixError
from voxmix.generation.baselines import commonest, nearest
from voxmix.generation.decoder import OwnDecoder
from voxmix.generation.decoding import write_greedily
from voxmix.generation.write import Written, write_reports
from voxmix.probe_tasks import ReportSettings
from voxmix.texts.scoring import score_texts

SMALL = ReportSettings(width=48, depth=2, heads=4, prefix=4, tokens=40, epochs=60, patience=20, rate=3e-3)


def written(
    tokenizer, *, coin: bool = False, settings: ReportSettings = SMALL, count: int = 120
) -> tuple[Written, list[str]]:
    train, test = made(count, seed=1, coin=coin), made(40, seed=2, coin=coin)
    chooses = np.arange(count) % 5 == 0
    found = write_reports(
        train.features, train.texts, chooses, test.features, tokenizer=tokenizer, settings=settings, seed=3
    )
    return found, test.texts


def test_what_is_in_the_features_is_said(tokenizer) -> None:
    found, truth = written(tokenizer)
    scores = score_texts(found.texts, truth, names=["label F1", "BLEU-4"])
    usual = score_texts([commonest(made(120, seed=1).texts)] * len(truth), truth, names=["label F1"])
    assert scores.mean("label F1") > 0.85
    assert scores.mean("label F1") > usual.mean("label F1") + 0.2
    assert (
        found.learned.without_images > min(found.learned.losses) + 0.1
    )  # another image's features do not do
    assert found.unfinished == found.cut == 0
    assert found.replaced == {}


def test_where_nothing_is_in_the_features_it_is_chance(tokenizer) -> None:
    found, truth = written(tokenizer, coin=True)
    assert score_texts(found.texts, truth, names=["label F1"]).mean("label F1") < 0.7
    assert found.learned.without_images < min(found.learned.losses) + 0.05


def test_the_same_each_time_and_another_by_another_seed(tokenizer) -> None:
    short = replace(SMALL, epochs=2)
    first, again = (written(tokenizer, settings=short, count=40)[0] for _ in range(2))
    assert first == again
    train = made(40, seed=1)
    other = write_reports(
        train.features,
        train.texts,
        np.arange(40) % 5 == 0,
        made(40, seed=2).features,
        tokenizer=tokenizer,
        settings=short,
        seed=4,
    )
    assert other.learned.losses != first.learned.losses


def test_the_best_epoch_is_kept(tokenizer) -> None:
    found, _ = written(tokenizer, settings=replace(SMALL, epochs=12, patience=2, rate=2e-2), count=30)
    losses = found.learned.losses
    assert losses[found.learned.epoch - 1] == min(losses)
    assert len(losses) <= found.learned.epoch + 2


def test_one_image_has_no_other_whose_features_it_could_be_given(tokenizer) -> None:
    train = made(8, seed=1)
    found = write_reports(
        train.features,
        train.texts,
        np.arange(8) == 0,
        train.features[:1],
        tokenizer=tokenizer,
        settings=replace(SMALL, epochs=1),
    )
    assert np.isnan(found.learned.without_images)


def test_nothing_is_learned_from_the_persons_that_choose(tokenizer) -> None:
    """Their reports say something else altogether; what is written stays."""
    train, test = made(40, seed=1), made(6, seed=2)
    chooses = np.arange(40) % 5 == 0
    short = replace(SMALL, epochs=1)
    texts = ["cardiomegaly." if chosen else text for chosen, text in zip(chooses, train.texts, strict=True)]
    one, other = (
        write_reports(train.features, each, chooses, test.features, tokenizer=tokenizer, settings=short).texts
        for each in (train.texts, texts)
    )
    assert one == other


def test_what_cannot_be_learned_is_refused(tokenizer) -> None:
    train = made(4, seed=1)
    for chooses in (np.ones(4, dtype=bool), np.zeros(4, dtype=bool)):
        with pytest.raises(InputError, match=r"learns from [04] reports and chooses its epoch on [04]"):
            write_reports(
                train.features, train.texts, chooses, train.features, tokenizer=tokenizer, settings=SMALL
            )
    with pytest.raises(InputError, match="they have none; give reports"):
        write_reports(
            train.features, train.texts, np.arange(4) < 1, train.features, tokenizer=None, settings=SMALL
        )
    broken = train.features.copy()
    broken[:] = np.nan
    with pytest.raises(VoxmixError, match="the loss is not finite"):
        write_reports(broken, train.texts, np.arange(4) < 1, broken, tokenizer=tokenizer, settings=SMALL)


def test_a_name_that_is_written_is_replaced(tokenizer) -> None:
    """All reports name one physician: the decoder does too, and the name is taken out and counted."""
    train = made(30, seed=1)
    texts = ["Clear. Read by Dr. Smithson on 3/14/2019." for _ in train.texts]
    from voxmix.texts.tokenizer import fit_tokenizer

    own = fit_tokenizer(texts, vocabulary=320)
    found = write_reports(
        train.features,
        texts,
        np.arange(30) % 5 == 0,
        train.features[:3],
        tokenizer=own,
        settings=replace(SMALL, epochs=30, rate=1e-2),
    )
    assert all("smithson" not in text and "[DATE]" in text for text in found.texts)
    assert found.replaced["DATE"] == 3


def test_one_token_after_the_other_is_the_whole_at_once(tokenizer) -> None:
    decoder = OwnDecoder(tokenizer, width=32, depth=3, heads=4, positions=16, seed=0)
    check_steps_are_the_whole(decoder)


def test_what_follows_changes_nothing_before(tokenizer) -> None:
    decoder = OwnDecoder(tokenizer, width=32, depth=2, heads=4, positions=16, seed=0)
    prefix, tokens = torch.randn(1, 4, 32), torch.randint(0, tokenizer.vocabulary, (1, 9))
    other = tokens.clone()
    other[0, 5] = (other[0, 5] + 1) % tokenizer.vocabulary
    with torch.no_grad():
        one, two = decoder.logits(prefix, tokens), decoder.logits(prefix, other)
    torch.testing.assert_close(one[:, :6], two[:, :6])
    assert not torch.allclose(one[:, 6], two[:, 6])


class _Round:
    """Says 5, 6, 7 in a round; the second likeliest is 8, then the end (0)."""

    width, scale, end, network = 1, 1.0, 0, torch.nn.Identity()

    def encode(self, texts): ...

    def decode(self, tokens): ...

    def logits(self, prefix, tokens): ...

    def begin(self, prefix):
        return self._after(torch.full((len(prefix),), 7)), None

    def step(self, tokens, state):
        return self._after(tokens), None

    def _after(self, tokens):
        likely = torch.zeros(len(tokens), 10)
        for row, token in enumerate(tokens.tolist()):
            likely[row, {5: 6, 6: 7}.get(token, 5)] = 3
            likely[row, 0 if token == 8 else 8] += 2
            likely[row, 5] -= 10 * (token == 8)
        return likely


def test_a_text_does_not_turn_in_circles() -> None:
    prefix = torch.zeros(1, 1, 1)
    assert write_greedily(_Round(), prefix, tokens=9, repeat=0) == [[5, 6, 7] * 3]
    assert write_greedily(_Round(), prefix, tokens=9, repeat=3) == [[5, 6, 7, 5, 6, 8]]
    assert write_greedily(_Round(), prefix, tokens=2, repeat=3) == [[5, 6]]


def test_the_commonest_and_the_nearest() -> None:
    assert commonest(["a b", "c", "c", "d e"]) == "c"
    texts = ["clear heart", "mass", "clear lungs small", "clear lungs"]  # each once
    assert commonest(texts) == "clear lungs"  # 5 of 8 words in common; the others 4 of 8, 1 of 4 and 6 of 12
    assert commonest(["b a", "a b"]) == "a b"
    known = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    assert nearest(known, np.array([[0.9, 0.1], [-3.0, -3.0], [0.1, 2.0]])).tolist() == [0, 2, 1]
