"""The fast proxy: an asymmetric masked autoencoder whose encoder sees only the visible patches.

The patch embedding is MONAI's and the transformer blocks compute what MONAI's do, so that the encoder's weights carry
MONAI's names (``patch_embedding.*``, ``blocks.N.*``, ``norm.*``) and load into a MONAI ``ViT`` or a UNETR's ``vit``.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu, scaled_dot_product_attention

from voxmix._optional import require
from voxmix.encoders.attention import kernel_pays
from voxmix.encoders.autoencoder import Autoencoder
from voxmix.encoders.patches import patchify, take
from voxmix.grid import Grid
from voxmix.run_settings import ModelSettings

_POSITION_SCALE = 0.2  # of a sine-cosine table: near the size of a patch's embedding at the start


class TransformerBlock(nn.Module):
    """A transformer block with the names, the order and the arithmetic of MONAI's, and nothing without a gradient.

    Small proxies spend much of their time on calls instead of arithmetic. This forward makes fewer than
    MONAI's: the rows of all samples are one matrix, and queries, keys and values are copied once, together.
    """

    def __init__(self, width: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.mlp = nn.ModuleDict(
            {"linear1": nn.Linear(width, mlp_width), "linear2": nn.Linear(mlp_width, width)}
        )
        self.norm1 = nn.LayerNorm(width)
        self.attn = nn.ModuleDict(
            {"out_proj": nn.Linear(width, width), "qkv": nn.Linear(width, 3 * width, bias=False)}
        )
        self.norm2 = nn.LayerNorm(width)

    def forward(self, tokens: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        rows = tokens.reshape(-1, tokens.shape[2])
        parts = self.attn["qkv"](self.norm1(rows)).view(*tokens.shape[:2], 3, self.heads, -1)
        rows = rows + self.attn["out_proj"](self._attend(parts))
        rows = rows + self.mlp["linear2"](gelu(self.mlp["linear1"](self.norm2(rows))))
        result: Tensor = rows.view(tokens.shape)
        return result

    def _attend(self, parts: Float[Tensor, "batch token 3 head feature"]) -> Float[Tensor, "row width"]:
        """Return every row's mixture of values, from queries, keys and values."""
        batch, count, _, heads, each = parts.shape
        if kernel_pays(count, parts.device):
            query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()
            mixed = scaled_dot_product_attention(query, key, value)
            return mixed.transpose(1, 2).reshape(batch * count, heads * each)
        query, key, value = parts.permute(2, 0, 3, 1, 4).reshape(3, batch * heads, count, each).unbind()
        near = torch.softmax(torch.bmm(query, key.transpose(1, 2)) * each**-0.5, dim=-1)
        mixed = torch.bmm(near, value).view(batch, heads, count, each)
        return mixed.transpose(1, 2).reshape(batch * count, heads * each)


def sincos_positions(grid: Grid, width: int) -> Float[Tensor, "token width"]:
    """Return sine-cosine position codes of the patches of a crop (He et al. 2022, in 2D or 3D).

    Each axis gets an equal part of the width; columns left over are 0.
    """
    pairs = width // (2 * grid.axes)
    codes = torch.zeros(grid.patches, width)
    if pairs == 0:
        return codes
    rate = 1.0 / 10000 ** (torch.arange(pairs, dtype=torch.float64) / pairs)
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in grid.cells], indexing="ij")
    columns = [f(axis.reshape(-1, 1) * rate) for axis in axes for f in (torch.sin, torch.cos)]
    codes[:, : 2 * grid.axes * pairs] = torch.cat(columns, dim=1).float()
    return codes


class DomainAdapter(nn.Module):
    """A convolution of one voxel per source domain on the voxels that are seen, the identity at the start.

    It acts voxel by voxel, so applying it to the visible patches alone equals masking the voxels first and
    adapting the whole crop after: no masked voxel passes. Domain -1, which no run has trained, is served by
    the identity.
    """

    def __init__(self, domains: int, *, axes: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(domains, 1, *(1,) * axes))
        self.bias = nn.Parameter(torch.zeros(domains))

    def of(self, domain: Int[Tensor, " batch"]) -> "Adaptation":
        """Return what serves each sample."""
        # The identity stands last, where index -1 finds it.
        weight = torch.cat([self.weight.view(-1), self.weight.new_ones(1)])[domain]
        bias = torch.cat([self.bias, self.bias.new_zeros(1)])[domain]
        return Adaptation(weight.view(-1, 1, 1), bias.view(-1, 1, 1))

    def forward(
        self, rows: Float[Tensor, "batch token voxel"], domain: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch token voxel"]:
        weight, bias = self.of(domain)
        return torch.addcmul(bias, rows, weight)


class Adaptation(NamedTuple):
    """A scale and a shift of the voxels of every sample."""

    weight: Float[Tensor, "batch 1 1"]
    bias: Float[Tensor, "batch 1 1"]


class Encoder(nn.Module):
    """Vision transformer over the visible patches; state keys are those of MONAI's ``ViT``."""

    def __init__(self, settings: ModelSettings, *, in_channels: int = 1) -> None:
        super().__init__()
        blocks = require("monai.networks.blocks.patchembedding", extra="train")
        self.patch_embedding = blocks.PatchEmbeddingBlock(
            in_channels=in_channels,
            img_size=settings.grid.crop,
            patch_size=settings.grid.patch,
            hidden_size=settings.width,
            num_heads=settings.heads,
            proj_type="conv",
            spatial_dims=settings.axes,
        )
        codes = sincos_positions(settings.grid, settings.width)
        with torch.no_grad():
            self.patch_embedding.position_embeddings.copy_(_POSITION_SCALE * codes.unsqueeze(0))
        mlp = round(settings.width * settings.mlp_ratio)
        self.blocks = nn.ModuleList(
            TransformerBlock(settings.width, settings.heads, mlp) for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(settings.width)

    def forward(
        self,
        rows: Float[Tensor, "batch visible voxel"],
        index: Int[Tensor, "batch visible"],
        adaptation: Adaptation | None = None,
    ) -> Float[Tensor, "batch visible width"]:
        """Return features of the patches ``rows``, which stand at positions ``index`` of the crop.

        An ``adaptation`` of the voxels is applied to the embeddings instead: both are linear, so
        ``(a * rows + b) @ W = a * (rows @ W) + b * sum(W)``, and no gradient has to go back to the voxels.
        """
        embed = self.patch_embedding.patch_embeddings
        positions = embedding(index, self.patch_embedding.position_embeddings[0])
        matrix = embed.weight.flatten(1)
        if adaptation is None:
            tokens = nn.functional.linear(rows, matrix, embed.bias) + positions
        else:
            shift = torch.addcmul(embed.bias, adaptation.bias, matrix.sum(dim=1))
            tokens = torch.addcmul(positions + shift, nn.functional.linear(rows, matrix), adaptation.weight)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed


class Decoder(nn.Module):
    """A light transformer that predicts the voxels of the masked patches.

    A masked patch starts from what is seen around it: the token from the mean of the seen features, the
    voxels from the mean of the seen intensities, both weighted by ``softmax(-sharpness * distance ** 2)``
    over the seen patches, with distance in patches. The head predicts the difference in units of the
    standard deviation of the seen voxels. A run then begins at the loss of plain interpolation, where small
    proxies otherwise spend their first thousand draws, and a source's predictions keep the intensity range
    of a far target.
    """

    squared_distance: Tensor

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        width, grid = settings.decoder_width, settings.grid
        self.embed = nn.Linear(settings.width, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.position_embeddings = nn.Parameter(_POSITION_SCALE * sincos_positions(grid, width))
        self.sharpness = nn.Parameter(torch.ones(1))
        mlp = round(width * settings.mlp_ratio)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, settings.decoder_heads, mlp) for _ in range(settings.decoder_depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, grid.patch_voxels)
        places = torch.cartesian_prod(*[torch.arange(n, dtype=torch.float32) for n in grid.cells])
        squared = (places.unsqueeze(0) - places.unsqueeze(1)).square().sum(dim=-1)
        self.register_buffer("squared_distance", squared, persistent=False)

    def forward(
        self,
        features: Float[Tensor, "batch visible width"],
        seen: Float[Tensor, "batch visible voxel"],
        visible: Int[Tensor, "batch visible"],
        masked: Int[Tensor, "batch masked"],
    ) -> Float[Tensor, "batch masked voxel"]:
        """Return voxels of the patches ``masked``, from features and voxels of the seen ones."""
        squared = self.squared_distance[masked.unsqueeze(2), visible.unsqueeze(1)]
        near = torch.softmax(-self.sharpness * squared, dim=-1)
        tokens = self.embed(features)
        # Attention does not mind the order of tokens: seen ones first, masked ones last, never unshuffled.
        positions = embedding(torch.cat([visible, masked], dim=1), self.position_embeddings)
        tokens = torch.cat([tokens, near @ tokens + self.mask_token], dim=1) + positions
        for block in self.blocks:
            tokens = block(tokens)
        predicted: Tensor = self.head(self.norm(tokens[:, visible.shape[1] :]))
        brightness = seen.mean(dim=2, keepdim=True)
        return torch.addcmul(near @ brightness, predicted, deviation(seen, brightness))


def deviation(
    rows: Float[Tensor, "batch token voxel"], means: Float[Tensor, "batch token 1"]
) -> Float[Tensor, "batch 1 1"]:
    """Return the standard deviation of all voxels of each sample, from the rows' means: ten times as fast as ``std``."""
    apart = (rows - means.mean(dim=1, keepdim=True)).flatten(1)
    result: Tensor = torch.linalg.vector_norm(apart, dim=1) / (apart.shape[1] - 1) ** 0.5
    return result.view(-1, 1, 1)


class MaskedAutoencoder(Autoencoder):
    """Adapter, encoder of the visible patches, light decoder. Output: the masked patches' voxels."""

    encoder_prefix = "encoder."

    def __init__(self, settings: ModelSettings, *, domains: int) -> None:
        super().__init__()
        self.settings = settings
        self.adapter_kind = f"{'x'.join('1' * settings.axes)} convolution"
        self.adapter = DomainAdapter(domains, axes=settings.axes)
        self.encoder = Encoder(settings)
        self.decoder = Decoder(settings)

    def forward(
        self,
        crops: Float[Tensor, "batch *axis"],
        visible: Int[Tensor, "batch visible"],
        masked: Int[Tensor, "batch masked"],
        domain: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch masked voxel"], Float[Tensor, "batch masked voxel"]]:
        """Return (prediction, truth) of the masked patches; the truth carries no gradient."""
        rows = patchify(crops, self.settings.grid)
        seen = take(rows, visible)
        features = self.encoder(seen, visible, self.adapter.of(domain))
        return self.decoder(features, seen, visible, masked), take(rows, masked)

    def initialize(self) -> None:
        """Draw starting weights from torch's global generator.

        Xavier-uniform matrices as in He et al. (2022). The patch embedding starts as if intensities were
        ``2 * v - 1``, and the head near 0, so that neither the common brightness nor random voxels have to
        be unlearned first.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        embed = self.encoder.patch_embedding.patch_embeddings
        nn.init.xavier_uniform_(embed.weight.flatten(1))
        with torch.no_grad():
            embed.weight.mul_(2)
            embed.bias.copy_(-embed.weight.flatten(1).sum(dim=1) / 2)
        nn.init.normal_(self.decoder.mask_token, std=0.02)
        nn.init.normal_(self.decoder.head.weight, std=1e-3)
