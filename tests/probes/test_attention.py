"""Attention pooling finds the token that holds a label, learns nothing from a coin, and never from what is not known."""

import numpy as np
import pytest
import torch

from voxmix.errors import InputError
from voxmix.probes.attention import AttentionFit, AttentionHead, AttentionStack, Tokens, fit_attention


def area(truth: np.ndarray, score: np.ndarray) -> float:
    above, below = score[truth == 1][:, None], score[truth == 0][None, :]
    return float(((above > below) + 0.5 * (above == below)).mean())


def cases(count: int = 240, seed: int = 0) -> tuple[Tokens, np.ndarray]:
    """Tokens of two layers; in the lower one, one of twelve (another in every case) says the first label; the second is a coin."""
    rng = np.random.default_rng(seed)
    patches = rng.normal(size=(count, 2, 12, 16))
    labels = rng.integers(0, 2, (count, 2)).astype(np.float64)
    here, sign = np.zeros(16), np.zeros(16)
    here[0], sign[1] = 6.0, 6.0
    patches[np.arange(count), 0, rng.integers(0, 12, count)] += here + np.where(
        labels[:, :1] == 1, sign, -sign
    )
    cls = rng.normal(size=(count, 2, 16)).astype(np.float32)
    return Tokens(cls=cls, patches=patches.astype(np.float16), places=np.arange(count)), labels


def some(tokens: Tokens, first: int, last: int) -> Tokens:
    return Tokens(cls=tokens.cls, patches=tokens.patches, places=np.arange(first, last))


def fit(tokens: Tokens, labels: np.ndarray, **more: object) -> AttentionFit:
    held = np.arange(len(tokens)) % 5 == 0
    grid = {"rates": (1e-3, 3e-3, 1e-2), "epochs": 20, "seed": 0}
    return fit_attention(tokens, labels, held, **{**grid, **more})  # type: ignore[arg-type]


def test_the_token_that_holds_the_label_is_found_and_a_coin_is_not() -> None:
    tokens, labels = cases()
    found = fit(some(tokens, 0, 160), labels[:160])
    said = found.probability(some(tokens, 160, 240))
    assert area(labels[160:, 0], said[:, 0]) > 0.95
    assert abs(area(labels[160:, 1], said[:, 1]) - 0.5) < 0.2  # three standard errors of 80 cases
    share = found.head.attention(some(tokens, 160, 240).normed(torch.arange(80))).detach().numpy()
    assert np.allclose(share.sum(axis=(1, 2)), 1, atol=1e-5)
    assert share[:, 0].sum(axis=1).mean() > 0.6  # the layer that says it; half by chance


def test_classes_are_told_apart() -> None:
    tokens, labels = cases()
    classes = np.eye(2)[labels[:, 0].astype(int)]
    said = fit(some(tokens, 0, 160), classes[:160], exclusive=True).probability(some(tokens, 160, 240))
    assert np.allclose(said.sum(axis=1), 1)
    assert (said.argmax(axis=1) == labels[160:, 0]).mean() > 0.9


def test_what_is_not_known_leaves_every_gradient_at_zero() -> None:
    tokens, labels = cases(20)
    labels[:, 1] = np.nan
    stack = AttentionStack(tokens, labels, exclusive=False, heads=2, seed=0)
    losses, known = stack.losses(torch.arange(20))
    losses.sum().backward()
    assert known == 20
    for head in stack.heads:
        assert isinstance(head, AttentionHead)
        assert head.linear.grad is not None
        assert head.linear.grad[0].abs().max() > 0
        assert head.linear.grad[1].abs().max() == 0
        assert head.bias.grad is not None
        assert head.bias.grad[1] == 0
    nothing = AttentionStack(tokens, np.full((20, 2), np.nan), exclusive=False, heads=1, seed=0)
    losses, known = nothing.losses(torch.arange(20))
    losses.sum().backward()
    assert (known, losses.tolist()) == (0, [0])
    assert all(float(p.grad.abs().max()) == 0 for p in nothing.parameters() if p.grad is not None)


def test_a_few_labels_that_are_not_known_do_no_harm() -> None:
    tokens, labels = cases()
    labels[np.arange(240) % 3 == 0, 0] = np.nan
    said = fit(some(tokens, 0, 160), labels[:160]).probability(some(tokens, 160, 240))
    known = np.isfinite(labels[160:, 0])
    assert area(labels[160:][known, 0], said[known, 0]) > 0.85


def test_heads_side_by_side_learn_as_each_alone() -> None:
    tokens, labels = cases(40)
    both, one = (AttentionStack(tokens, labels, exclusive=False, heads=heads, seed=0) for heads in (2, 1))
    for stack in (both, one):
        stack.losses(torch.arange(40))[0].sum().backward()
    pairs = zip(both.heads[1].parameters(), one.heads[0].parameters(), strict=True)
    assert all(
        mine.grad is not None and other.grad is not None and torch.equal(mine.grad, other.grad)
        for mine, other in pairs
    )


def test_the_head_is_the_formula() -> None:
    draw = torch.Generator().manual_seed(3)
    head = AttentionHead(2, 8, 3, seed=1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    rows = torch.randn(5, 2, 4, 8, generator=draw)
    tokens = Tokens(cls=rows[:, :, 0].numpy(), patches=rows[:, :, 1:].numpy(), places=np.arange(5))
    layers = [
        weight * torch.nn.functional.layer_norm(rows[:, place], (8,), gain, shift, 1e-6)
        for place, (weight, gain, shift) in enumerate(zip(head.weight, head.gain, head.shift, strict=True))
    ]
    every = torch.cat(layers, dim=1)
    share = (every @ head.query / 8**0.5).softmax(dim=1)
    expected = (share[..., None] * every).sum(dim=1) @ head.linear.t() + head.bias
    assert torch.allclose(head(tokens.normed(torch.arange(5))), expected, atol=1e-5)


def test_the_same_seed_gives_the_same_head() -> None:
    tokens, labels = cases(60)
    first, second = (fit(tokens, labels, epochs=4) for _ in range(2))
    assert first.choice == second.choice
    assert np.array_equal(first.probability(tokens), second.probability(tokens))


def test_nothing_known_of_those_who_choose_is_refused() -> None:
    tokens, labels = cases(20)
    labels[np.arange(20) % 5 == 0] = np.nan
    with pytest.raises(InputError, match="nothing is known of the persons that choose"):
        fit(tokens, labels)
