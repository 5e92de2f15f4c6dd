"""Encoders from files into networks: every file, name and shape is checked, and nothing is ever unpickled."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from voxmix.encoders.mae import Encoder
from voxmix.encoders.weight_names import ENCODER, UNUSED, from_monai, from_timm, prefixed
from voxmix.errors import InputError
from voxmix.grid import edge_of
from voxmix.run_settings import ModelSettings
from voxmix.runs.cards import checked_weights, read_card
from voxmix.settings import checked

_KERNEL = f"{ENCODER}patch_embedding.patch_embeddings.weight"
_LINEAR = {2: "bilinear", 3: "trilinear"}
_MOST_TIMES = 64
_POSITIONS = f"{ENCODER}patch_embedding.position_embeddings"


class PretrainedEncoder(NamedTuple):
    """An encoder's weights under the names of MONAI's ``UNETR`` (``vit.patch_embedding.*``, ``vit.blocks.N.*``,
    ``vit.norm.*``), and the card that says what it is and how its volumes were prepared."""

    weights: dict[str, Tensor]
    card: dict[str, Any]


def load_encoder(path: Path) -> PretrainedEncoder:
    """Return the encoder of a finished run's folder, or of one that ``voxmix export`` wrote under any names.

    ``weights, card = load_encoder(folder)``. The file must have the card's SHA-256, and the weights the names and
    shapes of the encoder that the card describes. Compare ``card`` with the recipe of your volumes by
    :func:`voxmix.volumes.preparing.same_preprocessing.check_preprocessing`.

    Raises:
        InputError: no card, a file that was changed, a PyTorch pickle, or weights that are missing, unexpected or
            of another shape; each is named.
    """
    card = read_card(path)
    file = checked_weights(path, card)
    settings = encoder_settings(card)
    tensors = read_tensors(file)
    _check_size(settings, tensors)
    weights = _under_our_names(tensors, card, axes=settings.axes)
    with torch.device("meta"):
        expected = prefixed(Encoder(settings).state_dict())
    check_fits(weights, expected)
    return PretrainedEncoder(weights=weights, card=card)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        InputError: the file is damaged, or of another kind.
    """
    try:
        return safetensors.torch.load_file(file)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{file} is not safetensors ({error}); give the file that voxmix wrote, not a renamed pickle"
        ) from None


def _check_size(settings: ModelSettings, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a card whose network is far larger than its weights, before memory is asked for it.

    A network that is nearly as large goes on, so that :func:`check_fits` can name what differs.
    """
    grid, width = settings.grid, settings.width
    layer = width * (4.0 * width + 2.0 * width * settings.mlp_ratio)
    described = grid.patches * width + settings.depth * layer + width * grid.patch_voxels
    held = sum(tensor.numel() for tensor in tensors.values())
    if described > _MOST_TIMES * held:
        raise InputError(
            f"the card describes an encoder of {described:.3g} numbers (crop {settings.crop}, patch {settings.patch}, "
            f"width {width}, depth {settings.depth}), its weights hold {held:,}; the card was edited or is of other "
            "weights, copy both again"
        )


def encoder_settings(card: Mapping[str, Any]) -> ModelSettings:
    """Return the settings of the network that a card's weights belong to.

    Raises:
        InputError: the card's settings are incomplete or cannot be used.
    """
    given = card["encoder"]
    if not isinstance(given, dict):
        raise InputError(
            f"the card's encoder settings cannot be used (found {type(given).__name__}); copy the card again"
        )
    try:
        return checked(ModelSettings, given, where="the card's encoder settings")
    except InputError as error:
        raise InputError(f"{error}\ncopy the card again") from None


def _under_our_names(
    tensors: Mapping[str, Tensor], card: Mapping[str, Any], *, axes: int
) -> dict[str, Tensor]:
    if card.get("names") == "timm":
        return from_timm(tensors)
    prefix = card.get("encoder_prefix", "")
    inside = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    return prefixed(from_monai(inside, axes=axes))


def check_fits(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check that weights have the names and shapes of a network's state.

    What MONAI builds and never calls may be absent from ``weights``.

    Raises:
        InputError: names every missing and unexpected weight, and every shape that differs.
    """
    missing = sorted(n for n in expected.keys() - weights.keys() if not UNUSED.search(n))
    unexpected = sorted(weights.keys() - expected.keys())
    shapes = [
        f"{n} is {tuple(weights[n].shape)}, the network has {tuple(expected[n].shape)}"
        for n in sorted(expected.keys() & weights.keys())
        if expected[n].shape != weights[n].shape
    ]
    if missing or unexpected or shapes:
        raise InputError(
            f"weights do not fit the network. Missing: {missing or 'none'}. Unexpected: {unexpected or 'none'}. "
            f"Shapes: {shapes or 'all agree'}. Build the network with the crop, patch, width, depth and heads of "
            "the card"
        )


def load_strict(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights into a module; nothing is changed unless every name and shape fits.

    Parts of ``module`` that MONAI never calls may be absent from ``weights`` and keep what they hold.

    Raises:
        InputError: names every missing and unexpected weight, and every shape that differs.
    """
    check_fits(weights, module.state_dict())
    module.load_state_dict(dict(weights), strict=False)


def for_channels(weights: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Return an encoder of one channel for volumes of several, e.g. the four contrasts of a brain tumor study.

    Every channel gets the pretrained patch kernel divided by the number of channels, so that equal channels give
    the features of one.
    """
    kernel = weights[_KERNEL]
    if kernel.shape[1] == channels:
        return dict(weights)
    return {**weights, _KERNEL: kernel.expand(-1, channels, *kernel.shape[2:]).contiguous() / channels}


def for_crop(weights: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
    """Return an encoder whose position codes are those of another crop, interpolated linearly along each axis.

    ``settings`` has the crop that is wanted, and the patch and axes that the weights were trained with.

    Raises:
        InputError: the codes are not those of a cube of patches (with axes 2, of a square).
    """
    codes, grid = weights[_POSITIONS], settings.grid
    tokens, width = codes.shape[1:]
    edge = edge_of(tokens, grid.axes)
    if not edge:
        raise InputError(
            f"the position codes are of {tokens} patches, which fill no crop of {grid.axes} equal edges; give "
            "settings with the axes of the weights' card"
        )
    cube = codes.transpose(1, 2).reshape(1, width, *(edge,) * grid.axes)
    resized = interpolate(cube, size=grid.cells, mode=_LINEAR[grid.axes], align_corners=True)
    return {**weights, _POSITIONS: resized.flatten(2).transpose(1, 2).contiguous()}
