"""The card next to a run's or an exported encoder's weights: what they are, opened without torch."""

from pathlib import Path
from typing import Any

from voxmix._io import file_digest, read_json
from voxmix.errors import InputError
from voxmix.runs.files import CARD_FILE, CARD_FORMAT, CARD_KINDS

_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".tar")


def read_card(path: Path) -> dict[str, Any]:
    """Return the card of a run's folder, of an exported folder, or of the weights file in one.

    Raises:
        InputError: no card there, another kind of file, or another format version.
    """
    folder = _folder_of(path)
    if not (folder / CARD_FILE).is_file():
        raise InputError(
            f"no {CARD_FILE} in {folder}; give the folder of a finished run or one that voxmix export wrote. "
            "Weights without a card do not say how volumes must be prepared for them"
        )
    card: Any = read_json(folder / CARD_FILE)
    kind = card.get("kind") if isinstance(card, dict) else type(card).__name__
    if kind not in CARD_KINDS:
        raise InputError(
            f"{folder / CARD_FILE} should be the card of a checkpoint or an encoder, found {kind!r}; give the "
            f"{CARD_FILE} that voxmix wrote"
        )
    if card.get("format") != CARD_FORMAT:
        raise InputError(
            f"{folder / CARD_FILE} has format version {card.get('format')!r}, this voxmix reads {CARD_FORMAT}; "
            "export it again with this version"
        )
    lacking = [key for key in ("weights", "weights_sha256", "encoder", "recipe") if key not in card]
    if lacking:
        raise InputError(f"{folder / CARD_FILE} lacks {lacking}; copy the card again, or export it again")
    return dict(card)


def checked_weights(path: Path, card: dict[str, Any]) -> Path:
    """Return the weights file that a card names, after comparing its SHA-256 with the card's.

    Raises:
        InputError: the card names a file outside its folder, or the file is gone or was changed.
    """
    folder, name = _folder_of(path), str(card["weights"])
    if Path(name).name != name or not name.endswith(".safetensors"):
        raise InputError(
            f"the card in {folder} names {name!r} as its weights; expected a .safetensors file in the same folder"
        )
    file = folder / name
    if not file.is_file():
        raise InputError(f"no such file: {file}; the card {folder / CARD_FILE} names it, copy both together")
    found = file_digest(file)
    if found != card["weights_sha256"]:
        raise InputError(
            f"{file} has SHA-256 {found[:16]}..., its card expects {str(card['weights_sha256'])[:16]}...; "
            "the file was changed or damaged, copy it again together with its card"
        )
    return file


def _folder_of(path: Path) -> Path:
    if path.is_dir():
        return path
    if not path.exists():
        raise InputError(f"no such folder: {path}; give the folder of a finished run or an exported encoder")
    if path.suffix in _PICKLES:
        raise InputError(
            f"{path} looks like a PyTorch pickle, which can run code when it is opened; voxmix never opens one. "
            f"Give the folder of a run or an export (safetensors and {CARD_FILE})"
        )
    return path.parent
