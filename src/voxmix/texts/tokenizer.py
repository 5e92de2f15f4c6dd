"""TextTokenizer: byte-pair encoding fitted on the training side, or one from a local folder, known by its digest."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from voxmix._io import canonical_json, read_mapping, write_text
from voxmix._optional import require
from voxmix.errors import InputError
from voxmix.texts.privacy import MARKERS

FILE = "tokenizer.json"
PADDING, BEGIN, END = "<pad>", "<begin>", "<end>"
_BOUNDARIES = (("<|startoftext|>", "<|endoftext|>"), ("[CLS]", "[SEP]"), ("<s>", "</s>"), (BEGIN, END))
_PADDINGS = (PADDING, "[PAD]", "<|pad|>")
_LEAST_COUNT = 2
"""A pair of tokens seen once is no pattern, and may be part of a name that slipped through."""


@dataclass(frozen=True, kw_only=True)  # no slots: what is computed is kept
class TextTokenizer:
    """A tokenizer of the library ``tokenizers``, as the JSON text that is its whole description.

    Its tokens of a text begin with ``begin`` and end with ``end``.
    """

    json_text: str

    @cached_property
    def digest(self) -> str:
        """Digest (16 hex digits) of everything that decides its tokens."""
        value = json.loads(self.json_text)
        plain = {name: item for name, item in value.items() if name not in ("truncation", "padding")}
        return hashlib.sha256(canonical_json(plain).encode()).hexdigest()[:16]

    @cached_property
    def _library(self) -> Any:
        tokenizers = require("tokenizers", extra="text")
        try:
            found = tokenizers.Tokenizer.from_str(self.json_text)
        except Exception as error:  # The library raises Exception itself.
            raise InputError(
                f"the tokenizer cannot be read by the library tokenizers ({type(error).__name__}); give a tokenizer.json that "
                "it wrote"
            ) from None
        found.no_truncation()
        found.no_padding()
        return found

    @cached_property
    def _ends(self) -> tuple[int, int]:
        """Return begin and end, which its own rules put around a text, or which are known by their names."""
        around = self._library.encode("").ids
        if len(around) == 2:
            return int(around[0]), int(around[1])
        for names in _BOUNDARIES:
            begin, end = (self._library.token_to_id(name) for name in names)
            if begin is not None and end is not None and not around:
                return begin, end
        raise InputError(
            "the tokenizer has no tokens for begin and end of a text; give one with a post-processor that adds them, or with "
            "<|startoftext|> and <|endoftext|>"
        )

    @property
    def begin(self) -> int:
        """The first token of every text."""
        return self._ends[0]

    @property
    def end(self) -> int:
        """The last token of every text."""
        return self._ends[1]

    @cached_property
    def padding(self) -> int:
        """The token that fills up short texts: its own, or else the end."""
        found = (self._library.token_to_id(name) for name in _PADDINGS)
        return int(next((token for token in found if token is not None), self.end))

    @cached_property
    def vocabulary(self) -> int:
        """How many tokens it has."""
        return int(self._library.get_vocab_size(with_added_tokens=True))

    def encode(self, texts: Sequence[str]) -> list[Int[np.ndarray, " token"]]:
        """Return the tokens of each text as int64, begin and end included; none at all for an empty text."""
        found = self._library.encode_batch(list(texts), add_special_tokens=False)
        return [
            np.array([self.begin, *one.ids, self.end] if text.strip() else [], dtype=np.int64)
            for text, one in zip(texts, found, strict=True)
        ]

    def decode(self, tokens: Int[np.ndarray, " token"]) -> str:
        """Return the text of tokens, begin, end and padding left out."""
        left_out = {self.begin, self.end, self.padding}
        text: str = self._library.decode(
            [int(t) for t in tokens if int(t) not in left_out], skip_special_tokens=False
        )
        return text.strip()

    def save(self, path: Path) -> None:
        """Write its description."""
        write_text(path, self.json_text)


def fit_tokenizer(texts: Iterable[str], *, vocabulary: int) -> TextTokenizer:
    """Return a byte-level BPE of lower-case text (Sennrich et al. 2016), fitted on ``texts``: those of training alone.

    Bytes are tokens of their own, so that no text is out of reach; what :mod:`voxmix.texts.privacy` writes in place of
    names is one token each. Fewer entries than ``vocabulary`` come out where the texts do not have more pairs that
    occur twice.

    Raises:
        InputError: no text.
    """
    tokenizers = require("tokenizers", extra="text")
    words = [text for text in texts if text.strip()]
    if not words:
        raise InputError(
            "no training report has a text, so that no tokenizer can be fitted; give reports, or train without"
        )
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.NFC(), tokenizers.normalizers.Lowercase()]
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = tokenizers.decoders.ByteLevel()
    markers = [tokenizers.AddedToken(marker, normalized=False, special=True) for marker in MARKERS]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=_LEAST_COUNT,
        special_tokens=[PADDING, BEGIN, END, *markers],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(sorted(words), trainer=trainer)
    ends = [(BEGIN, made.token_to_id(BEGIN)), (END, made.token_to_id(END))]
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=ends
    )
    return TextTokenizer(json_text=made.to_str())


def read_tokenizer(path: Path) -> TextTokenizer:
    """Return the tokenizer of a ``tokenizer.json``, or of a local folder that holds one (such as CLIP's).

    Raises:
        InputError: there is none, or one that cannot be used.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"no {FILE} at {path}; give a folder that holds one, or the file itself")
    value = read_mapping(file)
    if "model" not in value:
        raise InputError(f"{file} is no tokenizer of the library tokenizers; give a {FILE} that it wrote")
    found = TextTokenizer(json_text=file.read_text(encoding="utf-8-sig"))
    _ = found.end, found.padding  # says now what is wrong with it
    return found


def cut_tokens(tokens: Int[np.ndarray, " token"], context: int) -> Int[np.ndarray, " kept"]:
    """Return the first ``context`` tokens of a text; the last of a text that is cut is its end, as in CLIP."""
    return tokens if len(tokens) <= context else np.append(tokens[: context - 1], tokens[-1])
