"""Every file that a run leaves in its folder, under the one name and format number that writers and readers share.

====================  =========================================================================================
a pretraining run     ``spec.json``, ``metrics.jsonl``, the states while it runs; weights, card, pictures; the result
a finetuning run      ``spec.json``, ``metrics.jsonl``, the states while it runs; montage, predictions; the result
a trunk               ``metrics.jsonl`` and the states
====================  =========================================================================================

``result.json`` is written last: where it lies, the run is finished. A spec's own format is
:data:`voxmix.design.RUN_FORMAT`.
"""

from typing import Literal, get_args

RESULT_FILE = "result.json"
PRETRAINING_KIND = "run"
"""What ``kind`` says in the result of a pretraining run."""
PRETRAINING_FORMAT = 1
ENCODER_RUN_KIND = "encoder run"
"""What ``kind`` says in the result of an encoder run; its format is :data:`voxmix.encoder_runs.ENCODER_RUN_FORMAT`."""
FinetuningKind = Literal["segmentation", "classification"]
FINETUNING_KINDS: tuple[FinetuningKind, ...] = get_args(FinetuningKind)
"""What ``kind`` says in the result of a finetuning run: the kind of its task."""
ResultKind = Literal["segmentation", "classification", "labels", "values"]
RESULT_KINDS: tuple[ResultKind, ...] = get_args(ResultKind)
"""What ``kind`` says in a result with scores per case: of finetuning, or of a probe. labels: several findings, each present or
not. values: numbers per case, such as the place of its report among others."""
FINETUNING_FORMAT = 1

SPEC_FILE = "spec.json"
METRICS_FILE = "metrics.jsonl"
"""One line per step."""

STATE_FILE, PREVIOUS_STATE_FILE = "state.pt", "state.previous.pt"
STATE_FORMAT = 2

CARD_FILE = "card.json"
"""Next to weights, also to exported ones."""
CARD_FORMAT = 1
CARD_KINDS = CHECKPOINT, ENCODER = ("checkpoint", "encoder")
"""A run's weights as they were trained, and an encoder that was exported."""
WEIGHTS_FILE = "weights.safetensors"

SLICES_FILE = "pictures.npz"
"""Slices of what a pretraining run reconstructed, for the report."""
MONTAGE_FILE = "montage.npz"
"""Slices of what a finetuning run predicted, for the report."""
PREDICTIONS_FOLDER = "predictions"


def picture_file(domain: str) -> str:
    """Return the name of the picture of what a pretraining run reconstructed of a domain."""
    return f"picture-{domain}.png"


JOB_FILE = "job.json"
"""What a run needs while an engine has it, see :mod:`voxmix.engines`. Gone when the run has a result."""
JOB_FORMAT = 1
PROGRESS_FILE = "progress.json"
"""How far a job is, and its heartbeat."""
FAILURE_FILE = "failed.json"
NOTES_FILE = "notes.json"
"""What a job warned of."""
