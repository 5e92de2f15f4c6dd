"""Networks for clinical tasks around the pretrained encoder, and the controls that catch self-deception."""

import hashlib
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from voxmix.downstream.protocol import Protocol
from voxmix.encoders.interchange import load_strict
from voxmix.encoders.mae import Encoder
from voxmix.encoders.patches import patchify
from voxmix.encoders.unetr import Unetr, build_unetr
from voxmix.encoders.weight_names import bare
from voxmix.run_settings import ModelSettings
from voxmix.scores.result import Control


class EncoderClassifier(nn.Module):
    """Mean of the encoder's tokens, LayerNorm, MLP (arXiv 2605.06859, A.5).

    The MLP has one hidden layer of the encoder's width, which the paper does not say.
    """

    def __init__(self, settings: ModelSettings, *, classes: int) -> None:
        super().__init__()
        self.grid = settings.grid
        self.vit = Encoder(settings)
        self.norm = nn.LayerNorm(settings.width)
        self.head = nn.Sequential(
            nn.Linear(settings.width, settings.width), nn.GELU(), nn.Linear(settings.width, classes)
        )

    def forward(self, volume: Float[Tensor, "batch 1 *axis"]) -> Float[Tensor, "batch class"]:
        """Return logits."""
        rows = patchify(volume.squeeze(1), self.grid)
        index = torch.arange(self.grid.patches, device=volume.device).expand(len(volume), -1)
        logits: Tensor = self.head(self.norm(self.vit(rows, index).mean(dim=1)))
        return logits


def build_network(protocol: Protocol, *, classes: int, seed: int) -> Unetr | EncoderClassifier:
    """Return the network with random weights: a pure function of the arguments, on the CPU.

    From-scratch runs use it as it is. With the same seed every initialization starts from the same weights
    outside of the encoder.
    """
    model, settings = protocol.model, protocol.settings
    if protocol.task.kind == "segmentation":
        return build_unetr(model, out_channels=classes, feature_size=settings.feature_size, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EncoderClassifier(model, classes=classes)


def initialize(
    network: Unetr | EncoderClassifier,
    weights: Mapping[str, Tensor] | None,
    *,
    control: Control | None = None,
    seed: int = 0,
) -> None:
    """Load pretrained weights (named ``vit.*``) into the encoder, and nothing else, and make the control's change.

    - ``frozen``: the encoder never learns; the rest must make do with its features.
    - ``permuted``: every weight tensor is shuffled: the pretrained values in places that mean nothing.
    - ``no-tokens``: what the encoder gives on is set to 0, so that a UNETR has its convolutions on the raw image
      alone. One that scores as well did not use its transformer. Nothing reaches the encoder, so it does not learn.

    Raises:
        InputError: the weights do not fit the encoder; names every difference.
    """
    if weights is not None:
        chosen = permuted(weights, seed=seed) if control == "permuted" else weights
        load_strict(network.vit, bare(chosen))
    if control in ("frozen", "no-tokens"):
        network.vit.requires_grad_(False)
    if control == "no-tokens":
        for module in (*network.vit.blocks, network.vit.norm):
            module.register_forward_hook(_silence)


def _silence(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return torch.zeros_like(output)


def permuted(weights: Mapping[str, Tensor], *, seed: int) -> dict[str, Tensor]:
    """Return every tensor with its numbers shuffled."""
    shuffled = {}
    for name, tensor in weights.items():
        key = hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]
        generator = torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
        order = torch.randperm(tensor.numel(), generator=generator)
        shuffled[name] = tensor.flatten()[order].view_as(tensor).contiguous()
    return shuffled


def flops_per_crop(protocol: Protocol, *, classes: int) -> int:
    """Return floating-point operations of one crop, forward and backward, counted as in pretraining.

    The same for every initialization: a frozen encoder would save some, and is not credited for it.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = build_network(protocol, classes=classes, seed=0)
        network(torch.zeros(1, 1, *protocol.model.grid.crop))
    return 3 * int(counter.get_total_flops())
