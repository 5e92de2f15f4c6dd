"""From the spec of an encoder run to its objective, by the table of objectives."""

from importlib import import_module
from typing import Any

from voxmix.encoder_runs import EncoderSpec, Source
from voxmix.objective_rows import OBJECTIVES
from voxmix.objectives.images.subset import StartingWeights
from voxmix.training.objective import Objective


def make_objective(spec: EncoderSpec, *, source: Source, start: StartingWeights | None = None) -> Objective:
    """Return what the run of a spec learns.

    Args:
        source: images of its subset, and those of validation persons.
        start: the weights that it begins from.

    Raises:
        InputError: no objective of this name.
    """
    module, _, name = OBJECTIVES[spec.objective].made_by.partition(":")
    kind: Any = getattr(import_module(module), name)
    made: Objective = kind(spec=spec, source=source, start=start)
    return made
