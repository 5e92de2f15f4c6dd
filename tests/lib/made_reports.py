"""Features in which findings are written, or not, and reports of these findings."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FINDINGS = {
    "effusion": (
        ("there is a pleural effusion.", "left pleural effusion."),
        ("no pleural effusion.", "costophrenic angles are sharp."),
    ),
    "cardiomegaly": (
        ("the heart is enlarged.", "cardiomegaly."),
        ("heart size is normal.", "the heart is normal in size."),
    ),
}


@dataclass(frozen=True)
class Made:
    """Features (case, token, feature) and reports."""

    features: np.ndarray
    texts: list[str]


def made(count: int, *, seed: int, coin: bool = False) -> Made:
    """Return features that hold the findings of the reports: effusion in one of the patches, cardiomegaly in the class token.

    With ``coin`` they hold findings that have nothing to do with the reports.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (count, 2))
    shown = rng.integers(0, 2, (count, 2)) if coin else truth
    features = 0.3 * rng.standard_normal((count, 7, 16))
    features[np.arange(count), rng.integers(1, 7, count), 0] += 8 * shown[:, 0] - 4
    features[:, 0, 1] += 4 * shown[:, 1] - 2
    texts = [
        " ".join(
            str(rng.choice(words[1 - there])) for there, words in zip(row, FINDINGS.values(), strict=True)
        )
        for row in truth
    ]
    return Made(features.astype(np.float16), texts)


def check_steps_are_the_whole(decoder: Any) -> None:
    """Check that what a decoder finds likely one token after the other is what it finds likely in the whole at once."""
    import torch

    prefix, tokens = torch.randn(2, 4, decoder.width), torch.randint(3, 100, (2, 9))
    with torch.no_grad():
        whole = decoder.logits(prefix, tokens)
        likely, state = decoder.begin(prefix)
        steps = [likely]
        for place in range(tokens.shape[1] - 1):
            likely, state = decoder.step(tokens[:, place], state)
            steps.append(likely)
    torch.testing.assert_close(torch.stack(steps, dim=1), whole, atol=1e-5, rtol=1e-5)


def changed_config(folder: Path, **changes: object) -> None:
    """Write other values into a config.json; None takes one out."""
    path = folder / "config.json"
    value = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in value.items() if v is not None}), encoding="utf-8")
