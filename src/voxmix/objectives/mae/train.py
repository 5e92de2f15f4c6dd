"""One pretraining run: the training loop with masked reconstruction as its objective."""

from pathlib import Path

from voxmix._progress import ProgressCallback, silent
from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.objectives.mae.objective import MaskedReconstruction
from voxmix.training.loop import run
from voxmix.training.run_checks import naming_lost_memory
from voxmix.volumes.preparing.cache import PreparedCache

_DEFAULT = ComputeSettings()


def train(
    spec: RunSpec,
    *,
    cache: PreparedCache,
    evaluation: EvaluationSet,
    folder: Path,
    trunk: Path | None = None,
    compute: ComputeSettings = _DEFAULT,
    threads: int | None = None,
    device_index: int | None = None,
    progress: ProgressCallback = silent,
) -> None:
    """Train one run into ``folder``, as :func:`voxmix.training.loop.run` says, and measure it on ``evaluation``.

    On a CPU the result depends on ``spec``, ``cache`` and ``threads`` alone. ``progress`` counts draws, or seconds where
    the budget is a time.

    Raises:
        InputError: spec, cache, evaluation set and folder do not belong together; a domain with weight has
            no training volume; the crop is larger than a volume; a setting that cannot be used here.
        VoxmixError: the loss is not finite or diverges, the disk is full, memory runs out.
    """
    objective = MaskedReconstruction(spec=spec, cache=cache, evaluation=evaluation)
    with naming_lost_memory(spec.model, batch=spec.training.batch_size, compute=compute):
        run(
            objective,
            folder=folder,
            trunk=trunk,
            compute=compute,
            threads=threads,
            device_index=device_index,
            progress=progress,
        )
