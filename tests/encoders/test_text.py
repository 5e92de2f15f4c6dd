"""The text transformer: equal to open_clip's, and blind to what follows a report's end."""

from types import ModuleType

import pytest
import torch

from voxmix.encoder_runs import TextSettings
from voxmix.encoders.checkpoint_names import open_text_names, read_by
from voxmix.encoders.text import build_text_encoder
from voxmix.errors import InputError

SMALL = TextSettings(width=24, depth=2, heads=3, context=8, vocabulary=300)
TOKENS = torch.tensor([[298, 5, 9, 299, 0, 0], [298, 7, 8, 9, 10, 299]])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("style", ["clip", "clip-gelu"])
def test_texts_are_those_of_open_clip(open_clip_transformer: ModuleType, causal: bool, style: str) -> None:
    settings = TextSettings(
        width=24,
        depth=2,
        heads=3,
        context=6,
        vocabulary=300,
        causal=causal,
        style=style,  # type: ignore[arg-type]
    )
    theirs = open_clip_transformer.TextTransformer(
        context_length=6,
        vocab_size=300,
        width=24,
        heads=3,
        layers=2,
        output_dim=None,
        no_causal_mask=not causal,
        act_layer=open_clip_transformer.QuickGELU if style == "clip" else torch.nn.GELU,
    ).eval()
    with torch.no_grad():
        for index, parameter in enumerate(theirs.parameters()):
            generator = torch.Generator().manual_seed(index)
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    state = {name: tensor for name, tensor in theirs.state_dict().items() if name != "text_projection"}
    ours = build_text_encoder(settings, 0).eval()
    reading, misfit = read_by(open_text_names(2), state, ours.state_dict())
    assert misfit == ([], [])
    assert reading.used == state.keys()
    ours.load_state_dict(reading.state)
    whole = torch.full((2,), 6)  # without a causal mask open_clip attends to padding; all are read here
    tokens = TOKENS if causal else TOKENS[1:].repeat(2, 1)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=0, atol=1e-5)
        if not causal:
            torch.testing.assert_close(ours(tokens, whole), theirs(tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pooled", ["end", "first"])
def test_nothing_after_the_end_is_seen(causal: bool, pooled: str) -> None:
    settings = TextSettings(
        width=24,
        depth=2,
        heads=3,
        context=8,
        vocabulary=300,
        causal=causal,
        pooled=pooled,  # type: ignore[arg-type]
    )
    encoder = build_text_encoder(settings, 0).eval()
    alone = encoder(TOKENS[:1, :4])
    torch.testing.assert_close(encoder(TOKENS)[:1], alone, rtol=0, atol=1e-6)
    changed = TOKENS.clone()
    changed[0, 4:] = 299
    torch.testing.assert_close(encoder(changed, torch.tensor([4, 6]))[:1], alone, rtol=0, atol=1e-6)
    changed[0, 1] = 6
    differs = not torch.allclose(encoder(changed, torch.tensor([4, 6]))[:1], alone, atol=1e-4)
    assert differs == (not (causal and pooled == "first"))


def test_starting_weights_follow_from_the_seed_and_all_learn() -> None:
    one, again, other = (build_text_encoder(SMALL, seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.position_embeddings, other.position_embeddings)
    one(TOKENS).square().sum().backward()
    assert [name for name, p in one.named_parameters() if p.grad is None] == []
    assert len(one.blocks) == 2
    assert [one.level(n) for n in ("token_embedding.weight", "layer.1.qkv.bias", "norm.bias")] == [0, 2, 3]


def test_a_report_longer_than_the_context_is_refused() -> None:
    encoder = build_text_encoder(SMALL, 0)
    with pytest.raises(InputError, match="9 tokens is longer than the text transformer's context of 8"):
        encoder(torch.zeros(1, 9, dtype=torch.int64))
