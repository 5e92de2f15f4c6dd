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
        groups,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        fused=settings.precision != "16-mixed",  # the fused one unscales by itself, too late for clipping
    )


def learning_rate(step: int, *, steps: int | None, settings: TrainingSettings) -> float:
    """Return the rate of step 0, 1, ... ``steps - 1``: linear warm-up, then the schedule.

    ``steps`` is None on a trunk whose length is not decided yet.

    Warm-up is fixed in steps whatever the budget. ``cosine``: half a cosine to near 0; warm-up never takes more
    than a quarter of the run. ``trunk``: constant up to the branch, then ``1 - sqrt(x)`` of it over the
    cooldown, x from 0 to 1 (Hägele et al. 2024, arXiv 2405.18392, section 4).
    """
    if settings.schedule == "trunk":
        if step < settings.warmup_steps:
            return settings.learning_rate * (step + 1) / (settings.warmup_steps + 1)
        if steps is None:
            return settings.learning_rate
        branch = settings.branch_step(steps * settings.batch_size)
        past = max(step - branch, 0) / (steps - branch)
        return settings.learning_rate * (1 - math.sqrt(past))
    assert steps is not None
    warmup = min(settings.warmup_steps, steps // 4)
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(steps - warmup, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
