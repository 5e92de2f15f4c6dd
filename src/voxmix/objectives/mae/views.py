"""Which draws a run of masked reconstruction makes, and the tensors they become on the device."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.functional import mse_loss

from voxmix.compute import Resident
from voxmix.design import RunSpec
from voxmix.objectives.intensities import change, noise_bank, plan_changes
from voxmix.objectives.mae.crop_loader import CropsFromHost, CropsOfResident, CropsOnDevice
from voxmix.objectives.mae.padding import existing_in_patches, mean_square_of_existing, settled_masks
from voxmix.objectives.mae.parameters import DrawParameters, draw_parameters
from voxmix.run_settings import ModelSettings
from voxmix.training.crops import CropReader
from voxmix.training.draws import DrawPlan, plan_draws, plan_trunk
from voxmix.training.pieces import Piece
from voxmix.training.resident import stay_resident
from voxmix.training.transfer import send
from voxmix.volumes.preparing.cache import PreparedCache

_BATCHES_AHEAD = 8
_OPEN_DRAWS = 1 << 14  # trunk draws planned at a time while the budget is a time


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """Some draws on the device: augmented crops, seen and masked patches, adapter indices.

    ``exists`` is 1 for the voxels of the masked patches that come from a file, 0 for padding; None where all do.
    """

    crops: Float[Tensor, "draw *edge"]
    visible: Int[Tensor, "draw visible"]
    masked: Int[Tensor, "draw masked"]
    domain: Int[Tensor, " draw"]
    exists: Float[Tensor, "draw masked voxel"] | None = None

    def loss(
        self, predicted: Float[Tensor, "draw masked voxel"], truth: Float[Tensor, "draw masked voxel"]
    ) -> Float[Tensor, ""]:
        """Return the mean over draws of the mean squared error over masked voxels that exist."""
        if self.exists is None:
            return mse_loss(predicted, truth)
        return mean_square_of_existing(predicted, truth, self.exists).mean()


class Batches:
    """Reads the draws of a plan; what is small goes to the device in one copy, crops in another or not at all.

    Attributes:
        planned: draws of the plan.
    """

    def __init__(
        self,
        spec: RunSpec,
        plan: DrawPlan,
        *,
        cache: PreparedCache,
        fabric: Fabric,
        rows: int,
        loaders: int = 0,
        resident: Resident = "off",
    ) -> None:
        self._device = fabric.device
        self.planned = len(plan.domain)
        self._model = spec.model
        self._reader = CropReader(cache, plan, crop=spec.model.grid.crop)
        parameters = ParametersAhead(spec, rows=_BATCHES_AHEAD * rows)
        self._crops: CropsOnDevice
        if stay_resident(self._reader, resident=resident, device=self._device):
            self._crops = CropsOfResident(self._reader, parameters, device=self._device)
        else:
            self._crops = CropsFromHost(
                self._reader, parameters, device=self._device, rows=rows, loaders=loaders
            )
        self._bank = noise_bank(voxels=spec.model.grid.crop_voxels, device=self._device)

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Let the loaders read these pieces ahead, in the order in which they will be asked for."""
        self._crops.expect((piece.first, piece.last) for piece in pieces)

    def read(self, piece: Piece) -> Batch:
        """Return the draws of a piece; valid until the next call."""
        drawn, places = self._crops.ask(piece.first, piece.last)
        span = self._reader.span(piece.first, drawn.corner)
        if span is not None:
            drawn = _settled(drawn, span, self._model)
        sent = send(
            {
                "visible": drawn.visible,
                "masked": drawn.masked,
                "domain": self._reader.domains(piece.first, piece.last),
                **({} if span is None else {"span": span}),
                **plan_changes(drawn),
                **places,
            },
            self._device,
        )
        crops = change(self._crops.given(sent), sent, self._bank)
        exists = None if span is None else existing_in_patches(sent["span"], sent["masked"], self._model.grid)
        return Batch(
            crops=crops, visible=sent["visible"], masked=sent["masked"], domain=sent["domain"], exists=exists
        )

    def close(self) -> None:
        """Let go of what reads ahead."""
        self._crops.close()


def _settled(
    drawn: DrawParameters, span: Int[np.ndarray, "draw 2 axis"], model: ModelSettings
) -> DrawParameters:
    """Return the draws with masks that hide something that exists."""
    seen = drawn.visible.shape[1]
    order = np.concatenate([drawn.visible, drawn.masked], axis=1)
    order = settled_masks(order, seen, span, model.grid)
    return replace(drawn, visible=order[:, :seen], masked=order[:, seen:])


class ParametersAhead:
    """Makes the parameters of some batches at once: eight cost little more than one."""

    def __init__(self, spec: RunSpec, *, rows: int) -> None:
        self._spec, self._rows = spec, rows
        self._made = (0, self._make(0, 0))  # first draw; replaced as one, because several threads ask

    def __call__(self, start: int, stop: int) -> DrawParameters:
        """Return the parameters of the draws ``start`` to ``stop``."""
        first, made = self._made
        if start < first or stop > first + len(made):
            first, made = start, self._make(start, max(stop, start + self._rows))
            self._made = (first, made)
        return made.part(start - first, stop - first)

    def _make(self, start: int, stop: int) -> DrawParameters:
        spec = self._spec
        return draw_parameters(start, stop, seed=spec.seed, model=spec.model, training=spec.training)


def plan_run(spec: RunSpec, draws: int | None, *, cache: PreparedCache, least: int = 0) -> DrawPlan:
    """Return the plan of a run of so many draws; of an open trunk, the draws it needs after ``least``.

    Raises:
        InputError: a domain with weight has no training volume; the budget is too short for its trunk.
    """
    volumes = [len(cache.select(name, "train")) for name in spec.mixture.domains]
    if draws is None:
        further = (least // _OPEN_DRAWS + 1) * _OPEN_DRAWS
        whole = spec.training.steps(further) * spec.training.batch_size
        return plan_trunk(spec.mixture, draws=whole, seed=spec.seed, volumes=volumes)
    shared = spec.training.branch_step(draws) * spec.training.batch_size
    return plan_draws(spec.mixture, budget=draws, seed=spec.seed, volumes=volumes, shared=shared)
