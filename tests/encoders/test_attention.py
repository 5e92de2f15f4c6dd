"""Attention written out equals PyTorch's, with and without masks, values and gradients alike."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from voxmix.encoders.attention import attend
from voxmix.encoders.block import Block, BlockShape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["all", "seen", "causal"])
def test_attention_is_that_of_torch(case, dtype):
    torch.manual_seed(0)
    ours = [torch.randn(3, 2, 7, 5, dtype=dtype, requires_grad=True) for _ in range(3)]
    theirs = [part.detach().clone().requires_grad_() for part in ours]
    lengths = torch.tensor([7, 3, 1])
    seen = (torch.arange(7) < lengths.unsqueeze(1)).view(3, 1, 1, 7) if case == "seen" else None
    found = attend(*ours, seen=seen, causal=case == "causal")
    expected = scaled_dot_product_attention(*theirs, attn_mask=seen, is_causal=case == "causal")
    close = {torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
    assert (found - expected).abs().max() < close
    pull = torch.randn_like(found)
    for mine, other in zip(
        torch.autograd.grad(found, ours, pull), torch.autograd.grad(expected, theirs, pull), strict=True
    ):
        assert (mine - other).abs().max() < 10 * close


def test_many_tokens_are_left_to_torch_whose_memory_does_not_grow_with_their_square():
    parts = [torch.randn(1, 1, 513, 2, requires_grad=True) for _ in range(3)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        attend(*parts)
    assert 0 < max(kept) < 513 * 513


@pytest.mark.parametrize("causal", [False, True])
def test_a_block_of_few_tokens_is_that_of_all(causal):
    torch.manual_seed(1)
    block = Block(BlockShape(width=12, heads=3, hidden=20, layer_scale=0.5), place=0).double()
    tokens = torch.randn(4, 6, 12, dtype=torch.float64)
    lengths = torch.tensor([6, 4, 2, 1])
    seen = (torch.arange(6) < lengths.unsqueeze(1)).view(4, 1, 1, 6)
    few = torch.stack([lengths - 1, torch.zeros_like(lengths)], dim=1)
    whole = block(tokens, seen=seen, causal=causal)
    found = block(tokens, seen=seen, causal=causal, few=few)
    assert (found - whole.gather(1, few.unsqueeze(2).expand(-1, -1, 12))).abs().max() < 1e-13
