"""Where an encoder starts from, and whether it fits the task: its preprocessing and its network."""

from dataclasses import asdict
from pathlib import Path

from voxmix.encoders.interchange import PretrainedEncoder, encoder_settings, load_encoder
from voxmix.errors import InputError
from voxmix.run_settings import ModelSettings
from voxmix.runs.files import CARD_FILE
from voxmix.volumes.preparing.same_preprocessing import check_preprocessing
from voxmix.volumes.recipe import Recipe

_ENCODER = ("axes", "crop", "patch", "width", "depth", "heads", "mlp_ratio")


def is_checkpoint(init: str) -> bool:
    """Return whether an initialization is the folder of a checkpoint, or its weights file."""
    path = Path(init)
    return (path / CARD_FILE).is_file() or (path.is_file() and (path.parent / CARD_FILE).is_file())


def read_checkpoint(path: Path, *, recipe: Recipe, domain: str, model: ModelSettings) -> PretrainedEncoder:
    """Return a checkpoint's encoder, once it is sure that its volumes were prepared as the task's are.

    Raises:
        InputError: damaged, prepared otherwise, or another network than the study's: every difference is named.
    """
    encoder = load_encoder(path)
    check_preprocessing(encoder.card, recipe, domains=(domain,))
    theirs, ours = asdict(encoder_settings(encoder.card)), asdict(model)
    different = [f"{n} {theirs[n]}, the study's {ours[n]}" for n in _ENCODER if theirs[n] != ours[n]]
    if different:
        raise InputError(
            f"the encoder in {path} is another network than the study's: {'; '.join(different)}. Initializations "
            "are compared on one network: set `model` in the study file, or make a study for this encoder"
        )
    return encoder


def checkpoint_id(encoder: PretrainedEncoder) -> str:
    """Return the id of the pretraining run, or the weights' digest where the card has none."""
    return str(encoder.card.get("run_id") or encoder.card["weights_sha256"][:16])


def init_name(init: str, encoder: PretrainedEncoder | None) -> str:
    """Return the name of an initialization in folders, results and reports: of a checkpoint never its path.

    A checkpoint is named by the digest of its weights, so that two of them stand apart wherever they lie.
    """
    if encoder is None or not is_checkpoint(init):
        return init
    return f"checkpoint-{encoder.card['weights_sha256'][:8]}"
