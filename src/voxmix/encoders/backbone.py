"""Backbone: the network whose features are kept, whatever it learns by; from settings to its starting weights."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from voxmix.backbone_rows import BACKBONES, BackboneSettings
from voxmix.encoders.patches import take
from voxmix.errors import InputError

_MEAN, _DEVIATION = 0.5, 0.25


class Features(NamedTuple):
    """What a backbone says of images: one vector for each, and one for each of its patches."""

    cls: Float[Tensor, "batch width"]
    patches: Float[Tensor, "batch token width"]


class Backbone(nn.Module, ABC):
    """A network from pixels to features; made by (settings).

    Pixels are intensities in [0, 1], as a :class:`~voxmix.encoder_runs.Source` gives them. The backbone subtracts
    ``pixel_mean`` and divides by ``pixel_std`` itself, and takes a gray image once for each of its channels, so that no
    caller can forget what its weights were made with. Edges may be any whole number of patches.

    Attributes:
        settings: its size.
        pixel_mean: of intensities in [0, 1], per channel.
        pixel_std: the same.
    """

    settings: BackboneSettings
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("pixel_mean", torch.full((settings.channels,), _MEAN))
        self.register_buffer("pixel_std", torch.full((settings.channels,), _DEVIATION))
        self._keys: Tensor | None = None

    @property
    @abstractmethod
    def width(self) -> int:
        """Width of the features."""

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks from the input up: what FSDP shares out, and layers of a decayed learning rate."""

    @abstractmethod
    def cells(self, edges: tuple[int, ...]) -> tuple[int, ...]:
        """Return the patches along each axis of an image of these edges.

        Raises:
            InputError: no whole number of patches.
        """

    @abstractmethod
    def forward(
        self, pixels: Float[Tensor, "batch channel *edge"], hidden: Bool[Tensor, "batch token"] | None = None
    ) -> Features:
        """Return features; a ``hidden`` patch is replaced by the mask token before it is seen."""

    def forward_at(
        self,
        pixels: Float[Tensor, "batch channel *edge"],
        index: Int[Tensor, "batch few"] | None = None,
        hidden: Bool[Tensor, "batch token"] | None = None,
    ) -> Features:
        """Return :meth:`forward`'s features with those of the patches at ``index`` alone, of none by default.

        A backbone may leave out what no returned feature depends on.
        """
        found = self(pixels, hidden)
        if index is None:
            index = torch.zeros(len(pixels), 0, dtype=torch.int64, device=pixels.device)
        return Features(cls=found.cls, patches=take(found.patches, index))

    def forward_visible(
        self, pixels: Float[Tensor, "batch channel *edge"], index: Int[Tensor, "batch visible"]
    ) -> Features:
        """Return features of the patches at ``index``; the others are left out and cost nothing.

        Raises:
            InputError: this backbone cannot leave patches out.
        """
        raise InputError(
            f"backbone {self.settings.name} cannot leave patches out, as masked reconstruction needs; use vit"
        )

    @abstractmethod
    def layers(self, pixels: Float[Tensor, "batch channel *edge"], last: int = 1) -> list[Features]:
        """Return the normed features of the ``last`` blocks, the topmost last.

        Raises:
            InputError: there are not so many.
        """

    @abstractmethod
    def map(self, pixels: Float[Tensor, "batch channel *edge"]) -> list[Float[Tensor, "batch width *cell"]]:
        """Return features as images, the finest first: one per stage."""

    @abstractmethod
    def level(self, name: str) -> int:
        """Return how far from the input a parameter is: 0 for what is below the blocks, then 1 for the first block, and
        one more than the number of blocks for what is above them."""

    @abstractmethod
    def initialize(self) -> None:
        """Draw starting weights from torch's global generator."""

    @contextmanager
    def keyed(self, keys: Int[Tensor, " batch"]) -> Iterator[None]:
        """Within the block, what drop path leaves out of a draw follows from its key alone.

        So micro-batches, processes and second passes leave out the same. Without keys torch's generator decides.
        """
        self._keys = keys
        try:
            yield
        finally:
            self._keys = None

    def prepared(self, pixels: Float[Tensor, "batch channel *edge"]) -> Float[Tensor, "batch channels *edge"]:
        """Return pixels as the weights know them: one channel for each of theirs, normalised.

        Raises:
            InputError: another number of channels that is not 1, or of axes.
        """
        settings = self.settings
        if pixels.ndim != settings.axes + 2:
            raise InputError(
                f"backbone {settings.name} with axes {settings.axes} takes (batch, channel, {settings.axes} edges), got "
                f"the shape {list(pixels.shape)}"
            )
        if pixels.shape[1] not in (1, settings.channels):
            raise InputError(
                f"backbone {settings.name} takes images of {settings.channels} channels or of 1, got {pixels.shape[1]}"
            )
        each = (-1, *(1,) * settings.axes)
        return (pixels - self.pixel_mean.view(each)) / self.pixel_std.view(each)

    def extra_repr(self) -> str:
        return f"{self.settings.name}, width={self.width}"


def backbone_of(settings: BackboneSettings) -> Backbone:
    """Return the backbone that settings name, with weights as its layers make them.

    Raises:
        InputError: its row in :mod:`voxmix.backbone_rows` names no such class.
    """
    module, _, name = BACKBONES[settings.name].made_by.partition(":")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"backbone {settings.name!r} should be made by {module}:{name}, which cannot be imported: {error}; install it, "
            "or mend its row"
        ) from None
    made = kind(settings)
    assert isinstance(made, Backbone), f"{module}:{name} is no Backbone"
    return made


def build_backbone(settings: BackboneSettings, seed: int) -> Backbone:
    """Return the backbone with its starting weights: a pure function of the arguments, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = backbone_of(settings)
        backbone.initialize()
    return backbone


def flops_per_image(
    settings: BackboneSettings, *, edge: int | None = None, visible: int | None = None
) -> int:
    """Return floating-point operations of one image, forward and backward.

    Counted as :func:`voxmix.encoders.networks.flops_per_draw` counts them: matrix products and convolutions, two
    operations per multiply-add, backward twice the forward.

    Args:
        edge: of the image, in pixels; ``settings.image`` by default.
        visible: patches that are seen, where the others are left out; all by default.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        backbone = backbone_of(settings).eval()
        pixels = torch.zeros(1, settings.channels, *(edge or settings.image,) * settings.axes)
        if visible is None:
            backbone(pixels)
        else:
            backbone.forward_visible(pixels, torch.zeros(1, visible, dtype=torch.int64))
    return 3 * int(counter.get_total_flops())


def kept_bytes_per_image(settings: BackboneSettings, *, edge: int | None = None) -> int:
    """Return what autograd keeps of one image between forward and backward, in bytes of 32-bit floats.

    The distinct storages that a forward pass hands to autograd on a device that computes nothing, of two images less one, so
    that what does not grow with the batch is not counted (as :mod:`voxmix.cost.footprint`). On a CPU a tenth more is kept
    where attention is written out (up to 512 tokens), and up to a seventh less elsewhere: its rows lie more tightly.

    Args:
        edge: of the image, in pixels; ``settings.image`` by default.
    """
    with torch.device("meta"):
        backbone = backbone_of(settings).train()
    shape = (settings.channels, *(edge or settings.image,) * settings.axes)
    return _kept(backbone, torch.zeros(2, *shape, device="meta")) - _kept(
        backbone, torch.zeros(1, *shape, device="meta")
    )


def _kept(backbone: Backbone, pixels: Float[Tensor, "batch channel *edge"]) -> int:
    own = {tensor.untyped_storage()._cdata for tensor in (*backbone.parameters(), *backbone.buffers())}
    kept: dict[int, Tensor] = {}  # holds the tensors, so that no storage's address is used twice

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        features = backbone(pixels)
        total = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)
    del features
    return total
