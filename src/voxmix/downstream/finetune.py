"""One finetuning run: the training loop with a clinical task as its objective."""

from pathlib import Path

from voxmix._progress import ProgressCallback, silent
from voxmix.compute import ComputeSettings
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.inference import SavePrediction
from voxmix.downstream.objective import Finetuning
from voxmix.downstream.spec import FinetuneSpec
from voxmix.encoders.interchange import PretrainedEncoder
from voxmix.training.loop import run
from voxmix.training.run_checks import naming_lost_memory

_DEFAULT = ComputeSettings()


def finetune(
    spec: FinetuneSpec,
    *,
    cases: CaseSet,
    encoder: PretrainedEncoder | None,
    folder: Path,
    compute: ComputeSettings = _DEFAULT,
    threads: int | None = None,
    device_index: int | None = None,
    surface: bool = False,
    save_prediction: SavePrediction | None = None,
    progress: ProgressCallback = silent,
) -> None:
    """Finetune into ``folder``, as :func:`voxmix.training.loop.run` says, and score the test cases.

    On a CPU the result depends on ``spec``, ``cases``, ``encoder`` and ``threads`` alone: a run that was killed
    and resumed ends with the same weights, bit for bit. ``progress`` counts draws. ``save_prediction`` gets
    every test case's prediction.

    Raises:
        InputError: spec, cases, encoder and folder do not belong together; an image is smaller than the crop; a setting
            that cannot be used here.
        VoxmixError: the loss is not finite or diverges, the disk is full, memory runs out.
    """
    objective = Finetuning(
        spec=spec, cases=cases, encoder=encoder, surface=surface, save_prediction=save_prediction
    )
    model, settings = spec.protocol.model, spec.protocol.settings
    with naming_lost_memory(model, batch=settings.batch_size, compute=compute):
        run(
            objective,
            folder=folder,
            compute=compute,
            threads=threads,
            device_index=device_index,
            progress=progress,
        )
