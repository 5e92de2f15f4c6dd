"""The paper's proxy: a UNETR that reconstructs masked crops (Hatamizadeh et al. 2022; arXiv 2605.06859, A.3).

MONAI's ``UNETR`` fixes 12 layers and patches of 16 and carries weights that nothing calls; this one is
composed of MONAI's blocks, with depth, width, patch and size as settings, and nothing unused. At depth 12 and
patch 16 its state keys are those of MONAI's ``UNETR``.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv3d

from voxmix._optional import require
from voxmix.encoders.autoencoder import Autoencoder
from voxmix.encoders.interchange import for_channels, load_strict
from voxmix.encoders.mae import Encoder
from voxmix.encoders.patches import patchify, take, unpatchify
from voxmix.encoders.weight_names import bare
from voxmix.errors import InputError
from voxmix.run_settings import ModelSettings

FEATURE_SIZE = 16
"""Channels of the finest level (MONAI's default, and what gives the paper's parameter count)."""


class Unetr(nn.Module):
    """UNETR over crops of ``settings.grid``; patches are a power of two, at least 4, wide.

    With patches of 2**n there are n levels. Skips come from the outputs of the blocks at i * depth // n,
    i = 1 ... n - 1, which at depth 12 and patch 16 are MONAI's 3, 6 and 9.

    Raises:
        InputError: the patch is not a power of two, or there are fewer blocks than levels.
    """

    def __init__(
        self,
        settings: ModelSettings,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        feature_size: int = FEATURE_SIZE,
    ) -> None:
        super().__init__()
        levels = settings.patch.bit_length() - 1
        if settings.patch != 2**levels or levels < 2:
            raise InputError(f"a UNETR needs a patch of 4, 8, 16 or 32 voxels, got {settings.patch}")
        if settings.depth < levels:
            raise InputError(
                f"a UNETR with patches of {settings.patch} has {levels} levels and needs as many blocks, got "
                f"depth {settings.depth}; raise depth or halve patch"
            )
        blocks = require("monai.networks.blocks", extra="train")
        self.levels = levels
        self.skips = tuple(i * settings.depth // levels for i in range(1, levels))
        self.cells = settings.grid.cells
        self.vit = Encoder(settings, in_channels=in_channels)
        width = settings.width

        def common(channels_in: int, channels_out: int) -> dict[str, object]:
            return {
                "spatial_dims": settings.axes,
                "in_channels": channels_in,
                "out_channels": channels_out,
                "kernel_size": 3,
                "norm_name": "instance",
                "res_block": True,
            }

        self.encoder1 = blocks.UnetrBasicBlock(**common(in_channels, feature_size), stride=1)
        for level in range(2, levels + 1):
            block = blocks.UnetrPrUpBlock(
                **common(width, feature_size * 2 ** (level - 1)),
                num_layer=levels - level,
                stride=1,
                upsample_kernel_size=2,
                conv_block=True,
            )
            self.add_module(f"encoder{level}", block)
        for level in range(levels + 1, 1, -1):
            channels = width if level > levels else feature_size * 2 ** (level - 1)
            block = blocks.UnetrUpBlock(
                **common(channels, feature_size * 2 ** (level - 2)), upsample_kernel_size=2
            )
            self.add_module(f"decoder{level}", block)
        self.out = blocks.UnetOutBlock(
            spatial_dims=settings.axes, in_channels=feature_size, out_channels=out_channels
        )

    def forward(self, volume: Float[Tensor, "batch channel *axis"]) -> Float[Tensor, "batch out *axis"]:
        """Return the output channels at full resolution."""
        tokens = self.vit.patch_embedding(volume)
        states = []
        for block in self.vit.blocks:
            tokens = block(tokens)
            states.append(tokens)
        fine = self._cube(self.vit.norm(tokens))
        for level in range(self.levels + 1, 2, -1):
            skip = self.get_submodule(f"encoder{level - 1}")(self._cube(states[self.skips[level - 3]]))
            fine = self.get_submodule(f"decoder{level}")(fine, skip)
        fine = self.get_submodule("decoder2")(fine, self.encoder1(volume))
        result: Tensor = self.out(fine)
        return result

    def _cube(self, tokens: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch width *cell"]:
        batch, _, width = tokens.shape
        return tokens.transpose(1, 2).reshape(batch, width, *self.cells)


def build_unetr(
    settings: ModelSettings,
    *,
    out_channels: int,
    in_channels: int = 1,
    feature_size: int = FEATURE_SIZE,
    encoder: Mapping[str, Tensor] | None = None,
    seed: int = 0,
) -> Unetr:
    """Return a UNETR for segmentation: ``encoder`` (or random weights) in its ViT, everything else random.

    ``network(volume)`` takes (batch, in_channels, x, y, z), crops of ``settings.grid``, and gives logits
    (batch, out_channels, x, y, z). ``encoder`` holds weights under ``vit.*``, as
    :func:`voxmix.encoders.interchange.load_encoder` gives them, of ``mae`` or ``unetr`` alike;
    ``settings`` are those of its card (:func:`~voxmix.encoders.interchange.encoder_settings`). With several
    channels its patch kernel is spread over them. The random part depends on ``seed`` alone.

    Raises:
        InputError: settings that no UNETR can have, or weights that do not fit, each named.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Unetr(
            settings, in_channels=in_channels, out_channels=out_channels, feature_size=feature_size
        )
    if encoder is not None:
        load_strict(network.vit, bare(for_channels(encoder, in_channels)))
    return network


class VolumeAdapter(nn.Module):
    """A convolution of 3 voxels along each axis per source domain, the identity at the start; domain -1 gets the identity."""

    def __init__(self, domains: int, *, axes: int = 3) -> None:
        super().__init__()
        self.axes = axes
        identity = torch.zeros(1, 1, *(3,) * axes)
        identity.view(-1)[identity.numel() // 2] = 1
        self.weight = nn.Parameter(identity.repeat(domains, 1, *(1,) * axes))
        self.bias = nn.Parameter(torch.zeros(domains))
        self.register_buffer("identity", identity, persistent=False)

    identity: Tensor

    def forward(
        self, crops: Float[Tensor, "batch *axis"], domain: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch *axis"]:
        known, chosen = domain >= 0, domain.clamp(min=0)
        weight = torch.where(known.view(-1, 1, *(1,) * self.axes), self.weight[chosen], self.identity)
        bias = torch.where(known, self.bias[chosen], 0.0)
        # One group per sample: every sample has its own kernel, and a batch is one call.
        convolution = conv2d if self.axes == 2 else conv3d
        return convolution(crops.unsqueeze(0), weight, bias, padding=1, groups=len(crops)).squeeze(0)


class UnetrAutoencoder(Autoencoder):
    """Reconstructs masked patches from a crop in which their voxels are 0, before the adapter sees it."""

    encoder_prefix = "network.vit."

    def __init__(self, settings: ModelSettings, *, domains: int) -> None:
        super().__init__()
        self.settings = settings
        self.adapter_kind = f"{'x'.join('3' * settings.axes)} convolution"
        self.adapter = VolumeAdapter(domains, axes=settings.axes)
        self.network = Unetr(settings)

    @property
    def encoder(self) -> Encoder:
        """The part that is kept for clinical tasks."""
        return self.network.vit

    def forward(
        self,
        crops: Float[Tensor, "batch *axis"],
        visible: Int[Tensor, "batch visible"],
        masked: Int[Tensor, "batch masked"],
        domain: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch masked voxel"], Float[Tensor, "batch masked voxel"]]:
        """Return (prediction, truth) of the masked patches; the truth carries no gradient."""
        grid = self.settings.grid
        rows = patchify(crops, grid)
        hidden = torch.ones_like(rows[:, :, :1]).scatter_(1, masked.unsqueeze(2), 0.0)
        adapted = self.adapter(unpatchify(rows * hidden, grid), domain)
        predicted = self.network(adapted.unsqueeze(1)).squeeze(1)
        return take(patchify(predicted, grid), masked), take(rows, masked)

    def initialize(self) -> None:
        """Keep the starting weights that MONAI's blocks draw, as the paper's network does."""
