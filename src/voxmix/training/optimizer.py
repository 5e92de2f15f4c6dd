"""AdamW with decay groups, and the learning rate of every step."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from voxmix.run_settings import TrainingSettings
from voxmix.training.objective import Pace
from voxmix.training.transfer import copied

_MOMENTS = ("exp_avg", "exp_avg_sq")
Decays = Callable[[str, nn.Parameter], bool]
GroupOf = Callable[[str], str]


def one_group(name: str) -> str:
    """Return the group of every parameter where all go at one pace."""
    return ""


def decays_usually(name: str, parameter: nn.Parameter) -> bool:
    """Return whether weight decay acts on a parameter: on matrices and kernels only.

    Biases, norms, position embeddings, mask tokens and the domain adapters (which decay would pull away from
    the identity) are left alone, as is usual for masked autoencoders (He et al. 2022).
    """
    return not (parameter.ndim < 2 or "position_embeddings" in name or name.startswith("adapter."))


def build_optimizer(
    model: nn.Module,
    settings: TrainingSettings,
    *,
    decays: Decays = decays_usually,
    group_of: GroupOf = one_group,
) -> torch.optim.AdamW:
    """Return AdamW of what learns in a network; ``decays`` says what weight decay acts on, ``group_of`` who share a pace."""
    parts = _parts(model, decays, group_of)
    return torch.optim.AdamW(
        [_group(part.values(), key, settings.weight_decay) for key, part in parts.items()],
        **_options(settings),
    )


def set_pace(
    optimizer: torch.optim.Optimizer, *, rate: float, pace: Callable[[str], Pace] | None = None
) -> None:
    """Give every group of parameters the learning rate of a step, and its own pace where there is one."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        if pace is not None:
            own = pace(group["group"])
            group["lr"] = rate * own.rate
            if group["decays"] and own.weight_decay is not None:
                group["weight_decay"] = own.weight_decay


class FlatAdamW(torch.optim.AdamW):
    """:func:`build_optimizer`'s AdamW with the parameters of each decay group in one piece of memory.

    A small network has sixty parameters, and sixty updates, norms and scalings take nearly three times as long as
    their arithmetic. The model's parameters become views of the pieces, so it must be on its device already and stay there.
    After the backward pass, :meth:`gather` hands the gradients over; clipping, unscaling and updating then meet two
    parameters. A parameter without a gradient keeps its value and its moments in that step.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TrainingSettings,
        *,
        decays: Decays = decays_usually,
        group_of: GroupOf = one_group,
    ) -> None:
        parts = _parts(model, decays, group_of)
        self._parts = tuple(parts.values())
        self._idle: list[tuple[nn.Parameter, slice]] = []
        pieces = [nn.Parameter(_joined(part.values()).detach()) for part in self._parts]
        for part, piece in zip(self._parts, pieces, strict=True):
            for parameter, view in zip(part.values(), _views(piece.detach(), part.values()), strict=True):
                parameter.data = view
        super().__init__(
            [_group([piece], key, settings.weight_decay) for piece, key in zip(pieces, parts, strict=True)],
            **_options(settings),
        )

    @torch.no_grad()
    def gather(self) -> None:
        """Take the gradients of the model's parameters, which have none afterwards."""
        self._idle = []
        for group, part in zip(self.param_groups, self._parts, strict=True):
            (piece,) = group["params"]
            gradients, end = [], 0
            for parameter in part.values():
                begin, end = end, end + parameter.numel()
                if parameter.grad is None:
                    self._idle.append((piece, slice(begin, end)))
                gradients.append(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
                parameter.grad = None
            piece.grad = _joined(gradients)

    @torch.no_grad()
    def step(self, *arguments: Any, **options: Any) -> Any:
        """Update everything that :meth:`gather` found a gradient for."""
        held = [
            (tensor[part], tensor[part].clone())
            for piece, part in self._idle
            for tensor in (
                piece.detach(),
                *(self.state[piece][name] for name in _MOMENTS if self.state[piece]),
            )
        ]
        result = super().step(*arguments, **options)
        for place, value in held:
            place.copy_(value)
        return result

    def named_state(self) -> dict[str, Any]:
        """Return what ``state_dict`` does, with the moments of every parameter by its name, on the CPU."""
        state: dict[str, dict[str, Tensor]] = {}
        for group, part in zip(self.param_groups, self._parts, strict=True):
            kept = self.state.get(group["params"][0], {})
            step = kept["step"].cpu() if kept else None
            for name in part:
                state[name] = {} if step is None else {"step": step.clone()}
            for moment in _MOMENTS if kept else ():
                views = dict(zip(part, _views(kept[moment], part.values()), strict=True))
                for name, value in copied(views).items():
                    state[name][moment] = value
        groups = [
            {**group, "params": list(part)}
            for group, part in zip(self.param_groups, self._parts, strict=True)
        ]
        return {"state": state, "param_groups": groups}

    def load_named_state(self, named: Mapping[str, Any]) -> None:
        """Take up the moments of a :meth:`named_state`."""
        pieces: dict[int, dict[str, Tensor]] = {}
        for number, part in enumerate(self._parts):
            rows = [named["state"].get(name, {}) for name in part]
            known = next((row for row in rows if row), None)
            if known is not None:  # none before the first step
                blank = {name: torch.zeros_like(value) for name, value in part.items()}
                moments = {
                    moment: _joined(
                        row.get(moment, blank[name]).cpu() for row, name in zip(rows, part, strict=True)
                    )
                    for moment in _MOMENTS
                }
                pieces[number] = {"step": known["step"].clone(), **moments}
        self.load_state_dict({"state": pieces, "param_groups": self.state_dict()["param_groups"]})


def named_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return an optimizer's state by the names of the parameters, on the CPU; nothing for one that had no gradient yet."""
    if isinstance(optimizer, FlatAdamW):
        return optimizer.named_state()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [
        {**group, "params": [names[id(parameter)] for parameter in group["params"]]}
        for group in optimizer.param_groups
    ]
    state = {
        names[id(parameter)]: copied(optimizer.state.get(parameter, {}))
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    return {"state": state, "param_groups": groups}


def load_named_state(model: nn.Module, optimizer: torch.optim.Optimizer, named: Mapping[str, Any]) -> None:
    """Take up a :func:`named_state`."""
    if isinstance(optimizer, FlatAdamW):
        optimizer.load_named_state(named)
        return
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    learning = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
    state = {n: row for n, name in enumerate(learning) if (row := named["state"].get(name))}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _parts(
    model: nn.Module, decays: Decays, group_of: GroupOf
) -> dict[tuple[str, bool], dict[str, nn.Parameter]]:
    """Return the parameters that learn by (group, whether weight decay acts on them), those that it acts on first."""
    parts: dict[tuple[str, bool], dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts.setdefault((group_of(name), decays(name, parameter)), {})[name] = parameter
    return dict(sorted(parts.items(), key=lambda item: not item[0][1]))


def _group(parameters: Iterable[nn.Parameter], key: tuple[str, bool], weight_decay: float) -> dict[str, Any]:
    group, decays = key
    return {
        "params": list(parameters),
        "weight_decay": weight_decay if decays else 0.0,
        "group": group,
        "decays": decays,
    }


def _options(settings: TrainingSettings) -> dict[str, Any]:
    return {
        "lr": settings.learning_rate,
        "betas": (settings.beta1, settings.beta2),
        # The fused one unscales by itself, too late for clipping.
        "fused": settings.precision != "16-mixed",
    }


def _joined(tensors: Iterable[Tensor]) -> Float[Tensor, " number"]:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _views(piece: Float[Tensor, " number"], parameters: Collection[Tensor]) -> list[Tensor]:
    parts = torch.split(piece, [p.numel() for p in parameters])
    return [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]


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
