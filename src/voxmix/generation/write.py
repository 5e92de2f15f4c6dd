"""write_reports(): from features and training reports to the reports of other images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float16

from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError
from voxmix.generation.adapter import Adapter, build_adapter
from voxmix.generation.decoder import Decoder, OwnDecoder
from voxmix.generation.decoding import write_greedily
from voxmix.generation.training import Learned, learn
from voxmix.probe_tasks import ReportSettings
from voxmix.texts.privacy import deidentify
from voxmix.texts.tokenizer import TextTokenizer

_DEFAULT = ReportSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """Reports that a model wrote.

    Attributes:
        texts: one per image; names, dates and numbers that the model made up or remembered are replaced.
        learned: what training came to.
        replaced: how often each kind was replaced.
        cut: training reports of which only the first tokens were read.
        unfinished: texts that reached the cap before their end.
        weights: numbers that were trained.
    """

    texts: tuple[str, ...]
    learned: Learned
    replaced: Mapping[str, int]
    cut: int
    unfinished: int
    weights: int


def write_reports(
    features: Float16[np.ndarray, "case token feature"],
    texts: Sequence[str],
    chooses: Bool[np.ndarray, " case"],
    asked: Float16[np.ndarray, "asked token feature"],
    *,
    tokenizer: TextTokenizer | None,
    settings: ReportSettings = _DEFAULT,
    seed: int = 0,
    progress: ProgressCallback = silent,
) -> Written:
    """Train on the reports of training images, and write those of others: a pure function of the arguments, on the CPU.

    Args:
        features: Of training images, the class token first, then the patches.
        texts: Their reports; none is empty.
        chooses: Training images of the persons that choose the epoch.
        asked: Features of the images whose reports are written.
        tokenizer: Of the own decoder; a language model has its own.

    Raises:
        InputError: no training report, or a language model that cannot be used.
        MissingDependencyError: a library that the language model needs is not installed.
        VoxmixError: training diverged.
    """
    if chooses.all() or not chooses.any():
        raise InputError(
            f"report generation learns from {int((~chooses).sum())} reports and chooses its epoch on {int(chooses.sum())}; give "
            "reports of more persons"
        )
    decoder = _decoder(settings, tokenizer, seed)
    adapter = build_adapter(
        features.shape[2], width=decoder.width, prefix=settings.prefix, scale=decoder.scale, seed=seed
    )
    whole = decoder.encode(texts)
    learned = learn(
        adapter,
        decoder,
        features,
        [tokens[: settings.tokens] for tokens in whole],
        chooses,
        epochs=settings.epochs,
        patience=settings.patience,
        batch=settings.batch,
        rate=settings.rate,
        seed=seed,
        progress=progress,
    )
    found = _write(adapter, decoder, asked, settings)
    cleaned = [deidentify(decoder.decode(tokens)) for tokens in found]
    return Written(
        texts=tuple(one.text for one in cleaned),
        learned=learned,
        replaced=dict(sum((Counter(one.counts) for one in cleaned), Counter())),
        cut=sum(len(tokens) > settings.tokens for tokens in whole),
        unfinished=sum(len(tokens) == settings.tokens for tokens in found),
        weights=sum(
            one.numel()
            for part in (adapter, decoder.network)
            for one in part.parameters()
            if one.requires_grad
        ),
    )


_ROWS = 64


def _write(
    adapter: Adapter,
    decoder: Decoder,
    asked: Float16[np.ndarray, "asked token feature"],
    settings: ReportSettings,
) -> list[list[int]]:
    found: list[list[int]] = []
    for first in range(0, len(asked), _ROWS):
        with torch.no_grad():
            prefix = adapter(torch.from_numpy(asked[first : first + _ROWS]).float())
        found += write_greedily(decoder, prefix, tokens=settings.tokens, repeat=settings.repeat)
    return found


def _decoder(settings: ReportSettings, tokenizer: TextTokenizer | None, seed: int) -> Decoder:
    positions = settings.prefix + settings.tokens
    if settings.decoder != "own":
        from voxmix.generation.language_model import LanguageModel

        return LanguageModel(Path(settings.decoder), positions=positions, lora=settings.lora, seed=seed)
    if tokenizer is None:
        raise InputError(
            "the own decoder writes with the tokenizer of prepared images, and they have none; give reports"
        )
    return OwnDecoder(
        tokenizer,
        width=settings.width,
        depth=settings.depth,
        heads=settings.heads,
        positions=positions,
        seed=seed,
    )
