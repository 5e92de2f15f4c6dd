"""AdamW with decay groups, and the learning rate of every step."""

import math

import torch
from torch import nn

from voxmix.design import TrainingSettings


def build_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """Return AdamW; weight decay acts on matrices and kernels only.

    Biases, norms, position embeddings, mask tokens and the domain adapters (which decay would pull away from
    the identity) are left alone, as is usual for masked autoencoders (He et al. 2022).
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        free = parameter.ndim < 2 or "position_embeddings" in name or name.startswith("adapter.")
        (kept if free else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), fused=True
    )


def learning_rate(step: int, *, steps: int, settings: TrainingSettings) -> float:
    """Return the rate of step 0, 1, ... ``steps - 1``: linear warm-up, then half a cosine to near 0.

    Warm-up is fixed in steps whatever the budget, but never more than a quarter of the run.
    """
    warmup = min(settings.warmup_steps, steps // 4)
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(steps - warmup, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
