"""What a finished encoder run publishes: held-out losses, weights and card, alarms; the result last."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from voxmix import __version__
from voxmix._io import write_json
from voxmix.encoder_runs import ENCODER_RUN_FORMAT, EncoderSpec, Source
from voxmix.encoders.networks import parameter_count
from voxmix.objectives.images.alarms import Alarm, last_steps, warn_of
from voxmix.objectives.images.looks import watch_alarms, watched
from voxmix.objectives.images.subset import StartingWeights, items_of
from voxmix.run_settings import identity
from voxmix.runs.files import ENCODER_RUN_KIND, METRICS_FILE, RESULT_FILE
from voxmix.runs.provenance import provenance
from voxmix.texts.tokenizer import FILE as TOKENIZER_FILE
from voxmix.training.checkpoint import save_weights
from voxmix.training.objective import Running, Views
from voxmix.training.pieces import Piece


@runtime_checkable
class Measured(Protocol):
    """An objective of encoders, as far as measuring and publishing it goes."""

    @property
    def spec(self) -> EncoderSpec: ...
    @property
    def source(self) -> Source: ...
    @property
    def start(self) -> StartingWeights | None: ...
    @property
    def encoder_prefix(self) -> str: ...

    def losses(self, network: nn.Module, batch: Any) -> dict[str, Tensor]: ...
    def flops_per_draw(self) -> int: ...
    def held_out_items(self) -> int: ...
    def held_out_views(self, *, draws: int, fabric: Fabric, rows: int) -> Views: ...
    def alarms(self, final: Mapping[str, float], batch: int) -> tuple[Alarm, ...]: ...


@torch.no_grad()
def held_out(objective: Measured, model: nn.Module, fabric: Fabric) -> dict[str, Any] | None:
    """Return the mean losses on fixed views of validation persons' images, in batches of the run's size.

    Each image once, in whole batches; one smaller batch where there are fewer images than a batch has. None where there are
    fewer than two images. ``loss_se`` is the standard error of the mean over batches, None of one batch.
    """
    items = objective.held_out_items()
    rows = min(objective.spec.training.batch_size, items)
    if items < 2:
        return None
    draws = items // rows * rows
    views = objective.held_out_views(draws=draws, fabric=fabric, rows=rows)
    found: list[dict[str, float]] = []
    try:
        for first in range(0, draws, rows):
            piece = Piece(first=first, last=first + rows, weight=1.0, start=first, stop=first + rows)
            losses = objective.losses(model, views.read(piece))
            found.append({name: float(value) for name, value in losses.items()})
    finally:
        views.close()
    mean = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
    spread = [each["loss"] for each in found]
    error = float(np.std(spread, ddof=1) / len(spread) ** 0.5) if len(spread) > 1 else None
    return {**mean, "loss_se": error, "images": draws, "batches": len(found), "batch_size": rows}


def publish(
    objective: Measured,
    run: Running,
    model: nn.Module,
    *,
    weights: nn.Module | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Measure a run, write everything that it holds when it is finished, and return the figures for trackers.

    Args:
        weights: what is measured and published of the network; all of it by default.
        more: further parts of the result.
    """
    spec, items = objective.spec, items_of(objective.source, "train")
    assert run.draws is not None
    kept = model if weights is None else weights
    measured = held_out(objective, kept, run.fabric)
    final = last_steps(run.folder / METRICS_FILE)
    looks = watched(run.folder / METRICS_FILE)
    alarms = (*objective.alarms(final, min(spec.training.batch_size, run.draws)), *watch_alarms(looks, spec))
    environment, each = provenance(), objective.flops_per_draw()
    persons = len({item.person for item in items})
    _save_tokenizer(objective, run.folder)
    save_weights(run.folder, kept, _card(objective, run.draws))
    result = {
        "kind": ENCODER_RUN_KIND,
        "format": ENCODER_RUN_FORMAT,
        "run_id": spec.run_id,
        "spec": spec.as_dict(),
        "held_out": measured,
        "final": final,
        "alarms": list(alarms),
        "watched": looks,
        "draws": run.draws,
        "images": len(items),
        "persons": persons,
        "epochs": run.draws / len(items),
        "repeats": max(run.draws - len(items), 0),
        "parameters": parameter_count(model),
        "flops": run.draws * each,
        "flops_per_draw": each,
        "seconds": round(run.seconds(), 3),
        "shared": {
            "draws": run.shared_draws,
            "flops": run.shared_draws * each,
            "seconds": round(run.shared_seconds, 3),
        },
        "computed": run.computed,
        "versions": environment["versions"],
        "machine": environment["machine"],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": __version__,
        **(more or {}),
    }
    warn_of(alarms, run_id=spec.run_id)
    write_json(run.folder / RESULT_FILE, result)
    figures = {"alarms": float(len(alarms))}
    if measured is not None:
        figures["held_out_loss"] = measured["loss"]
    return figures


def _save_tokenizer(objective: Measured, folder: Path) -> None:
    """Write the tokenizer beside a text tower, which means nothing without it: a later study may begin from the run."""
    source = objective.source
    if objective.spec.tokenizer:
        tokenizer = getattr(getattr(source, "whole", source), "text_tokenizer", None)
        if tokenizer is not None:
            tokenizer.save(folder / TOKENIZER_FILE)


def _card(objective: Measured, draws: int) -> dict[str, Any]:
    spec, source = objective.spec, objective.source
    recipe = getattr(getattr(source, "whole", source), "recipe", None)
    return {
        "run_id": spec.run_id,
        "encoder": {"name": spec.backbone.name, **identity(spec.backbone)},
        "encoder_prefix": objective.encoder_prefix,
        "objective": spec.objective,
        "objective_settings": identity(spec.objective_settings),
        "text": spec.as_dict()["text"],
        "tokenizer": spec.tokenizer,
        "contract": None if objective.start is None else objective.start.contract.as_dict(),
        "start": spec.as_dict()["start"],
        "samples": spec.samples,
        "subset": spec.subset,
        "budget": draws,
        "seed": spec.seed,
        "cache": spec.cache,
        "recipe": recipe.as_dict() if recipe is not None else {},
        "code": __version__,
    }
