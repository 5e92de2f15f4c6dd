"""Finished encoder runs: read from their folders without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxmix._io import naming_damage, read_versioned
from voxmix.encoder_runs import ENCODER_RUN_FORMAT, EncoderSpec
from voxmix.errors import InputError
from voxmix.runs.files import ENCODER_RUN_KIND, RESULT_FILE


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderResult:
    """What one finished encoder run measured.

    Attributes:
        spec: what was asked for.
        held_out: mean losses on images of held-out persons, by parts; None where there are too few.
        final: mean losses and figures of the last steps.
        alarms: what says that it collapsed or learned nothing; () where nothing does.
        draws: images seen, with repeats.
        images, persons: of its subset.
        epochs: draws per image.
        flops: floating-point operations of its steps.
        seconds: wall-clock time of its steps.
        details: everything else of the result.
    """

    spec: EncoderSpec
    held_out: Mapping[str, float] | None
    final: Mapping[str, float]
    alarms: tuple[str, ...]
    draws: int
    images: int
    persons: int
    epochs: float
    flops: int
    seconds: float
    details: Mapping[str, Any]


def read_encoder_run(folder: Path) -> EncoderResult:
    """Return one finished encoder run.

    Raises:
        InputError: the result is missing, damaged, of another format, or of another run than the folder's name says.
    """
    path = folder / RESULT_FILE
    value = read_versioned(path, kind=ENCODER_RUN_KIND, version=ENCODER_RUN_FORMAT)
    with naming_damage(path, remedy="delete its folder, the run will be made again"):
        spec = EncoderSpec.from_dict(value["spec"])
        held_out = value["held_out"]
        found = EncoderResult(
            spec=spec,
            held_out=None if held_out is None else dict(held_out),
            final={name: float(item) for name, item in value["final"].items()},
            alarms=tuple(str(item) for item in value["alarms"]),
            draws=int(value["draws"]),
            images=int(value["images"]),
            persons=int(value["persons"]),
            epochs=float(value["epochs"]),
            flops=int(value["flops"]),
            seconds=float(value["seconds"]),
            details={key: value[key] for key in value.keys() - {"spec", "held_out", "final", "alarms"}},
        )
    if folder.name != spec.run_id:
        raise InputError(
            f"{path} is of run {spec.run_id}, not {folder.name}; delete the folder, it was edited"
        )
    return found
