"""A tokenizer, and tiny language models."""

from pathlib import Path
from typing import Any

import pytest
from made_reports import made

from voxmix.texts.tokenizer import TextTokenizer, fit_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return fit_tokenizer(made(100, seed=0).texts, vocabulary=320)


@pytest.fixture(scope="session")
def language_models(tmp_path_factory, tokenizer) -> dict[str, Path]:
    """A GPT-2 and a Llama of two layers that know the words of the reports, as transformers writes them."""
    transformers = pytest.importorskip("transformers")
    import torch

    transformers.utils.logging.disable_progress_bar()
    root, entries, end = tmp_path_factory.mktemp("models"), tokenizer.vocabulary, tokenizer.end
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models = {
            "gpt2": transformers.GPT2LMHeadModel(
                transformers.GPT2Config(
                    vocab_size=entries, n_positions=64, n_embd=32, n_layer=2, n_head=2, eos_token_id=end, bos_token_id=end
                )
            ),
            "llama": transformers.LlamaForCausalLM(
                transformers.LlamaConfig(
                    vocab_size=entries, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                    max_position_embeddings=64, eos_token_id=end, bos_token_id=end,
                )
            ),
        }  # fmt: skip
    for name, model in models.items():
        _teach(model, tokenizer)
        model.save_pretrained(root / name)
        tokenizer.save(root / name / "tokenizer.json")
    return {name: root / name for name in models}


def _teach(model: Any, tokenizer: TextTokenizer) -> None:
    """Let a model learn reports without images, one after the other."""
    import torch

    texts = [tokens[1:] for tokens in tokenizer.encode(made(64, seed=9).texts)]
    most = max(len(tokens) for tokens in texts)
    rows = torch.tensor(
        [[tokenizer.end, *tokens.tolist(), *[-100] * (most - len(tokens))] for tokens in texts]
    )
    model.eval()  # without dropout: the same model each time
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(60):
        few = rows[step % 4 :: 4]
        optimizer.zero_grad()
        model(input_ids=few.clamp(min=0), labels=few).loss.backward()
        optimizer.step()
