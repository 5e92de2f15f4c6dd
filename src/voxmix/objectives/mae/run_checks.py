"""What must hold before a run of masked reconstruction begins."""

from pathlib import Path

from voxmix._io import read_json
from voxmix.design import RunSpec
from voxmix.errors import InputError
from voxmix.grid import edges_in_words
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.runs.files import SPEC_FILE
from voxmix.volumes.preparing.cache import PreparedCache


def check_belongs(spec: RunSpec, *, cache: PreparedCache, evaluation: EvaluationSet, folder: Path) -> None:
    """Check that a run, its volumes, its evaluation set and its folder belong together.

    Raises:
        InputError: names the two that do not.
    """
    unknown = [name for name in spec.mixture.domains if name not in cache.domains]
    if unknown:
        raise InputError(
            f"the mixture names {unknown}, the prepared volumes have {list(cache.domains)}; "
            "correct the name, or prepare volumes of it"
        )
    if spec.cache and spec.cache != cache.digest:
        raise InputError(
            f"the run was planned for prepared volumes {spec.cache}, those given are {cache.digest}; "
            "plan it again for these volumes, or give the folder it was planned for"
        )
    crop = tuple(evaluation.crops.shape[1:])
    if crop != spec.model.grid.crop:
        raise InputError(
            f"the evaluation set has crops of {edges_in_words(crop)} voxels, the run of "
            f"{edges_in_words(spec.model.grid.crop)}; build the evaluation set with the run's model settings"
        )
    path = folder / SPEC_FILE
    if path.exists() and RunSpec.from_dict(read_json(path)).run_id != spec.run_id:
        raise InputError(
            f"{folder} holds another run than the one asked for: its settings were changed after it began; "
            "delete the folder to start again, or restore the settings to continue"
        )
