"""The crops of a task's cases as batches on the device, read ahead where loaders are asked for."""

from collections.abc import Iterable
from dataclasses import dataclass

from jaxtyping import Float, Shaped
from lightning_fabric import Fabric
from torch import Tensor

from voxmix.datasets.task import IGNORED
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.protocol import Protocol
from voxmix.downstream.transforms import CropSource, change
from voxmix.training.loader import ReadAhead
from voxmix.training.pieces import Piece


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CaseBatch:
    """Some draws on the device, shifted, rotated and scaled: images, and labels or classes.

    ``known`` are the voxels of a draw whose label is known, the mean over all draws of the whole batch; None where this
    is the whole batch, or where every label is known.
    """

    images: Float[Tensor, "draw 1 x y z"]
    labels: Shaped[Tensor, "draw ..."]
    known: float | None = None


class CaseViews:
    """Reads the draws of a protocol.

    Attributes:
        planned: draws of the protocol.
    """

    def __init__(
        self, cases: CaseSet, protocol: Protocol, *, seed: int, fabric: Fabric, loaders: int = 0
    ) -> None:
        self.planned = protocol.settings.draws
        self._protocol, self._fabric = protocol, fabric
        self._source = CropSource(cases, protocol, seed=seed)
        self._ahead = ReadAhead(self._locked, memory=[None] * (loaders + 1))

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Let the loaders read these pieces ahead, in the order in which they will be asked for."""
        self._ahead.expect((piece.first, piece.last) for piece in pieces)

    def read(self, piece: Piece) -> CaseBatch:
        """Return the draws of a piece."""
        images, labels = self._changed(*self._ahead.read(piece.first, piece.last), piece.first, piece.last)
        return CaseBatch(images=images, labels=labels, known=self._known(piece))

    def close(self) -> None:
        """Let go of what reads ahead."""
        self._ahead.close()

    def _locked(
        self, start: int, stop: int, memory: None
    ) -> tuple[Float[Tensor, "draw 1 x y z"], Shaped[Tensor, "draw ..."]]:
        """Return images and labels, for a GPU in PyTorch's locked memory, which is not used again before they are copied."""
        images, labels = self._source.batch(start, stop)
        if self._fabric.device.type != "cuda":
            return images, labels
        return images.pin_memory(), labels.pin_memory()

    def _changed(
        self, images: Float[Tensor, "draw 1 x y z"], labels: Shaped[Tensor, "draw ..."], start: int, stop: int
    ) -> tuple[Float[Tensor, "draw 1 x y z"], Shaped[Tensor, "draw ..."]]:
        images, labels = (self._fabric.to_device(part) for part in (images, labels))  # does not wait
        return change(images, labels, self._source.numbers(start, stop), self._protocol)

    def _known(self, piece: Piece) -> float | None:
        """Return the known voxels per draw of the whole batch: a piece's own mean would count its draws otherwise."""
        if not self._protocol.task.ignore or (piece.first, piece.last) == (piece.start, piece.stop):
            return None
        _, labels = self._changed(*self._source.batch(piece.start, piece.stop), piece.start, piece.stop)
        return max(float((labels != IGNORED).sum()), 1.0) / (piece.stop - piece.start)
