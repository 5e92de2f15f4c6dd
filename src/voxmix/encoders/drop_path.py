"""Drop path (Huang et al. 2016): which draws leave a branch out, by torch's generator or by the key of each draw."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ODD = (
    -0x61C8864680B583EB,
    -0x40A7B892E31B1A47,
    -0x6B2FB644ECCEEE15,
)  # SplitMix64 (Steele et al. 2014), signed


def uniform(keys: Int[Tensor, " batch"], place: int) -> Float[Tensor, " batch"]:
    """Return a number in [0, 1) for each key: the same on every device, in any batch; ``place`` makes them independent."""
    offset = (place + 1) * _ODD[0] % 2**64
    mixed = keys.to(torch.int64) + (offset - 2**64 if offset >= 2**63 else offset)
    for shift, factor in ((30, _ODD[1]), (27, _ODD[2])):
        mixed = (mixed ^ _down(mixed, shift)) * factor
    mixed = mixed ^ _down(mixed, 31)
    return (_down(mixed, 11).double() * 2.0**-53).float().clamp(max=1 - 2.0**-24)


def _down(value: Int[Tensor, " batch"], shift: int) -> Int[Tensor, " batch"]:
    """Shift right as if there were no sign."""
    return (value >> shift) & ((1 << (64 - shift)) - 1)


def branch(
    rows: Float[Tensor, "batch *rest"], *, rate: float, keys: Int[Tensor, " batch"] | None, place: int
) -> Float[Tensor, "batch *rest"]:
    """Return a branch that a share ``rate`` of the draws goes without; the others are scaled up to the same mean."""
    chance = torch.rand(len(rows), device=rows.device) if keys is None else uniform(keys, place)
    kept = (chance >= rate).to(rows.dtype) / (1 - rate)
    return rows * kept.view(-1, *(1,) * (rows.ndim - 1))
