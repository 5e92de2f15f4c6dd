"""Autoencoder: what a network must be to be pretrained by masked reconstruction."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn

from voxmix.run_settings import ModelSettings


class Autoencoder(nn.Module, ABC):
    """A network that reconstructs masked patches; made by (settings, domains=).

    Attributes:
        settings: its size.
        encoder: the part that is kept for clinical tasks.
        encoder_prefix: what the names of the encoder's weights begin with.
        adapter_kind: what adapts the voxels of each domain, in words.
    """

    encoder_prefix: str
    adapter_kind: str
    settings: ModelSettings

    @abstractmethod
    def forward(
        self,
        crops: Float[Tensor, "batch *axis"],
        visible: Int[Tensor, "batch visible"],
        masked: Int[Tensor, "batch masked"],
        domain: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch masked voxel"], Float[Tensor, "batch masked voxel"]]:
        """Return (prediction, truth) of the masked patches; the truth carries no gradient."""

    @abstractmethod
    def initialize(self) -> None:
        """Draw starting weights from torch's global generator."""
