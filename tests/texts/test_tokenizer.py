"""Tokens of texts: every text comes back, the same tokenizer from the same texts, and another folder's refused where it must be."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from voxmix.errors import InputError
from voxmix.texts.tokenizer import TextTokenizer, cut_tokens, fit_tokenizer, read_tokenizer

TEXTS = ["Left pleural effusion.", "Right pleural effusion, seen by [NAME].", "No pleural effusion."] * 3


@pytest.fixture(scope="module")
def fitted() -> TextTokenizer:
    return fit_tokenizer(TEXTS, vocabulary=320)


def test_every_text_comes_back_in_lower_case(fitted: TextTokenizer) -> None:
    for text in ("Left pleural effusion.", "ünlikely 肺 5 mm", "seen by [NAME]"):
        (tokens,) = fitted.encode([text])
        assert (tokens[0], tokens[-1]) == (fitted.begin, fitted.end)
        assert fitted.decode(tokens).lower() == text.lower()
        assert tokens.max() < fitted.vocabulary <= 320


def test_an_empty_text_has_no_tokens(fitted: TextTokenizer) -> None:
    assert [len(tokens) for tokens in fitted.encode(["", " ", "a"])] == [0, 0, 4]


def test_order_of_texts_does_not_matter_and_texts_do(fitted: TextTokenizer) -> None:
    assert fit_tokenizer(TEXTS[::-1], vocabulary=320).digest == fitted.digest
    assert fit_tokenizer(["Edema of both lungs."] * 3, vocabulary=320).digest != fitted.digest


def test_what_stands_for_a_name_is_one_token(fitted: TextTokenizer) -> None:
    (tokens,) = fitted.encode(["[NAME]"])
    assert len(tokens) == 3


def test_saved_and_read_it_is_the_same(fitted: TextTokenizer, tmp_path: Path) -> None:
    fitted.save(tmp_path / "tokenizer.json")
    assert read_tokenizer(tmp_path).digest == fitted.digest
    value = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    value["truncation"] = {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(value), encoding="utf-8")
    read = read_tokenizer(tmp_path)
    assert read.digest == fitted.digest
    assert len(read.encode(["Left pleural effusion. " * 5])[0]) > 8


def test_boundaries_as_clip_names_them(fitted: TextTokenizer, tmp_path: Path) -> None:
    text = (
        fitted.json_text.replace("<begin>", "<|startoftext|>")
        .replace("<end>", "<|endoftext|>")
        .replace("<pad>", "<x>")
    )
    value = json.loads(text) | {"post_processor": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(value), encoding="utf-8")
    read = read_tokenizer(tmp_path)
    (tokens,) = read.encode(["effusion"])
    assert (tokens[0], tokens[-1], read.padding) == (read.begin, read.end, read.end)
    (tmp_path / "tokenizer.json").write_text(
        json.dumps(value).replace("<|startoftext|>", "<?>"), encoding="utf-8"
    )
    with pytest.raises(InputError, match="no tokens for begin and end"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": 3}'])
def test_files_that_are_no_tokenizer(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        read_tokenizer(tmp_path)


def test_nothing_to_fit_on() -> None:
    with pytest.raises(InputError, match="no training report has a text"):
        fit_tokenizer(["", " "], vocabulary=300)


def test_a_cut_text_keeps_its_end() -> None:
    tokens = np.array([1, 5, 6, 7, 2])
    assert cut_tokens(tokens, 3).tolist() == [1, 5, 2]
    assert cut_tokens(tokens, 5).tolist() == tokens.tolist()
