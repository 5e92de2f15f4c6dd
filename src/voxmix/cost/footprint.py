"""Memory that a network needs, counted without computing anything: parameters, optimizer, activations per draw."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from voxmix.encoders.networks import network_of, parameter_count
from voxmix.encoders.patches import token_count, visible_count
from voxmix.run_settings import ModelSettings

_FLOAT = 4  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """Bytes of one network in 32-bit floats.

    Attributes:
        parameters: numbers that training changes.
        state_bytes: weights, gradients and AdamW's two moments: 16 bytes a parameter.
        draw_bytes: what autograd keeps of one draw between forward and backward, and the draw itself.
        weights_bytes: the weights as a finished run keeps them.
    """

    parameters: int
    state_bytes: int
    draw_bytes: int
    weights_bytes: int


def footprint(settings: ModelSettings) -> Footprint:
    """Return what a network of these settings needs.

    Activations are the distinct storages that a forward pass of torch's meta device hands to autograd, parameters left
    out: 2 draws less 1, so that what does not grow with the batch is not counted.
    """
    with torch.device("meta"):
        model = network_of(settings, domains=1)
    parameters = parameter_count(model)
    draw = _kept_bytes(model, settings, rows=2) - _kept_bytes(model, settings, rows=1)
    return Footprint(
        parameters=parameters,
        state_bytes=4 * _FLOAT * parameters,
        draw_bytes=draw + _FLOAT * settings.grid.crop_voxels,
        weights_bytes=_FLOAT * parameters,
    )


def _kept_bytes(model: torch.nn.Module, settings: ModelSettings, *, rows: int) -> int:
    """Return the bytes of all storages that autograd keeps of one forward pass."""
    own = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # holds the tensors, so that no storage's address is used twice

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    tokens, seen = token_count(settings), visible_count(settings)
    with torch.device("meta"), saved_tensors_hooks(keep, lambda tensor: tensor):
        order = torch.zeros(rows, tokens, dtype=torch.int64)
        crops = torch.zeros(rows, *settings.grid.crop)
        predicted, truth = model(
            crops, order[:, :seen], order[:, seen:], torch.zeros(rows, dtype=torch.int64)
        )
        loss = (predicted - truth).square().mean()
        total = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)
    del loss
    return total
