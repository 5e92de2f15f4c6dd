"""What a finished run publishes: losses on every target, weights and card, pictures; the result last."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from voxmix import __version__
from voxmix._io import write_json
from voxmix.design import RunSpec
from voxmix.encoders.autoencoder import Autoencoder
from voxmix.encoders.networks import flops_per_draw, parameter_count
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.objectives.mae.held_out_losses import measure
from voxmix.objectives.mae.reconstructions import save_reconstructions
from voxmix.run_settings import identity
from voxmix.runs.files import PRETRAINING_FORMAT, PRETRAINING_KIND, RESULT_FILE
from voxmix.runs.provenance import provenance
from voxmix.training.checkpoint import save_weights
from voxmix.training.draws import DrawPlan
from voxmix.training.objective import Running
from voxmix.volumes.preparing.cache import PreparedCache


def publish(
    spec: RunSpec,
    model: Autoencoder,
    run: Running,
    *,
    plan: DrawPlan,
    cache: PreparedCache,
    evaluation: EvaluationSet,
) -> dict[str, float]:
    """Measure the model on every target, write everything that a finished run holds, and return the losses."""
    folder = run.folder
    sources = spec.mixture.domains
    draws = plan.draws()
    losses = measure(model, evaluation, adapters=sources, drawn=draws, source=spec.mixture.source)
    if run.compute.pictures:
        save_reconstructions(model, evaluation, folder, adapters=sources, drawn=draws)
    save_weights(folder, model, run_card(spec, model, cache, draws))
    each, environment = flops_per_draw(spec.model), provenance()
    result = {
        "kind": PRETRAINING_KIND,
        "format": PRETRAINING_FORMAT,
        "run_id": spec.run_id,
        "spec": spec.as_dict(),
        "losses": {target: asdict(loss) for target, loss in losses.items()},
        "draws": draws,
        "unique_volumes": plan.unique_volumes(),
        "repeats": plan.repeats(),
        "volumes": {name: len(cache.select(name, "train")) for name in cache.domains},
        "parameters": parameter_count(model),
        "flops": sum(draws.values()) * each,
        "seconds": round(run.seconds(), 3),
        "shared": {
            "draws": run.shared_draws,
            "flops": run.shared_draws * each,
            "seconds": round(run.shared_seconds, 3),
        },
        "adapter": f"{model.adapter_kind} per source domain, identity at the start",
        "evaluation": evaluation.digest,
        "computed": run.computed,
        "versions": environment["versions"],
        "machine": environment["machine"],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": __version__,
    }
    write_json(folder / RESULT_FILE, result)
    return {target: loss.loss for target, loss in losses.items()}


def run_card(
    spec: RunSpec, model: Autoencoder, cache: PreparedCache, draws: dict[str, int]
) -> dict[str, Any]:
    return {
        "run_id": spec.run_id,
        "encoder": identity(spec.model),
        "encoder_prefix": model.encoder_prefix,
        "adapters": list(spec.mixture.domains),
        "mixture": spec.mixture.as_dict(),
        "budget": sum(draws.values()),
        "draws": draws,
        "seed": spec.seed,
        "cache": cache.digest,
        "recipe": cache.recipe.as_dict(),
        "code": __version__,
    }
