"""From settings to a network with its starting weights, and what it costs."""

from importlib import import_module

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from voxmix.design import RunSpec
from voxmix.encoders.autoencoder import Autoencoder
from voxmix.encoders.patches import token_count, visible_count
from voxmix.errors import InputError
from voxmix.networks import NETWORKS
from voxmix.run_settings import ModelSettings


def network_of(settings: ModelSettings, *, domains: int) -> Autoencoder:
    """Return the network that settings name, with weights as its layers make them.

    Raises:
        InputError: its row in :mod:`voxmix.networks` names no such class.
    """
    module, _, name = NETWORKS[settings.name].made_by.partition(":")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"network {settings.name!r} should be made by {module}:{name}, which cannot be imported: {error}; install it, or "
            "mend its row"
        ) from None
    made = kind(settings, domains=domains)
    assert isinstance(made, Autoencoder), f"{module}:{name} is no Autoencoder"
    return made


def build_model(settings: ModelSettings, *, domains: int, seed: int) -> Autoencoder:
    """Return the network with its starting weights: a pure function of the arguments, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network_of(settings, domains=domains)
        model.initialize()
    return model


def parameter_count(model: nn.Module) -> int:
    """Return the number of numbers that training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def flops_per_draw(settings: ModelSettings) -> int:
    """Return floating-point operations of one draw, forward and backward.

    Matrix products and convolutions, two operations per multiply-add; backward counts twice the forward
    (Kaplan et al. 2020). The forward pass is counted by torch on a device that computes nothing.
    """
    tokens, seen = token_count(settings), visible_count(settings)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = network_of(settings, domains=1)
        order = torch.zeros(1, tokens, dtype=torch.int64)
        crop = torch.zeros(1, *settings.grid.crop)
        model(crop, order[:, :seen], order[:, seen:], torch.zeros(1, dtype=torch.int64))
    return 3 * int(counter.get_total_flops())


def budget_in_draws(spec: RunSpec) -> int | None:
    """Return the budget of a run in volume draws; None for a time, which its trunk turns into draws.

    Raises:
        InputError: the operations do not pay for one draw.
    """
    if spec.budget_unit == "seconds":
        return None
    if spec.budget_unit == "draws":
        return spec.budget
    each = flops_per_draw(spec.model)
    if spec.budget < each:
        raise InputError(
            f"a budget of {spec.budget:.3g} floating-point operations does not pay for one draw, which takes "
            f"{each:.3g}; raise the budget, or set budget_unit to draws"
        )
    return spec.budget // each
