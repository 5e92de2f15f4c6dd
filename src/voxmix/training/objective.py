"""What is learned, as a part of the one training loop: the protocol that every objective meets.

The loop (:mod:`voxmix.training.loop`) knows steps, devices, precision, micro-batches, states and trackers. An objective
knows the rest: which network, which draws, which losses, how the result is measured. It is passed in; nothing is
inherited. Two pretraining objectives differ in their objective alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning_fabric import Fabric
from torch import Tensor, nn

from voxmix.compute import ComputeSettings
from voxmix.run_settings import TrainingSettings
from voxmix.training.pieces import Piece


@runtime_checkable
class Spec(Protocol):
    """The settings of a run, as trackers show them; no path and no name of a subject is among them."""

    @property
    def run_id(self) -> str:
        """Digest of the settings: same settings, same run."""

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-like data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """How far a run goes, in what steps, and what a state on disk must have come from to be its own.

    Attributes:
        spec: the settings of the run.
        training: learning rate, batch, schedule, precision.
        draws: budget in draws; None for a budget of so many ``seconds``, which its trunk turns into draws.
        inputs: digests of what the run is made from, by the word for each.
        trunk_id: the same for runs that share a trunk (:mod:`voxmix.training.trunk`).
        described: what ``spec.json`` says; the spec by default.
    """

    spec: Spec
    training: TrainingSettings
    draws: int | None
    seconds: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    trunk_id: str = ""
    described: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How a group of parameters goes in a step.

    Attributes:
        rate: factor of the step's learning rate; 0 where the group does not move.
        weight_decay: of those parameters of the group that decay; None for that of the settings.
    """

    rate: float = 1.0
    weight_decay: float | None = None


@runtime_checkable
class Paced(Protocol):
    """An objective whose parameters do not all go at one pace."""

    def group(self, name: str) -> str:
        """Return the group of a parameter: those of one group share their pace."""

    def pace(self, group: str, *, step: int, steps: int | None) -> Pace:
        """Return the pace of a group in step 0, 1, ...; of ``steps``, or of None while a budget is a time."""


@runtime_checkable
class Views(Protocol):
    """Reads what the network sees of draws: pure functions of (seed, draw), in any piece, by any process."""

    @property
    def planned(self) -> int:
        """How many draws are planned: the budget, or as far as an open trunk is planned."""

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Read these pieces ahead, if anything reads ahead, in the order in which they will be asked for."""

    def read(self, piece: Piece) -> Any:
        """Return the draws of a piece on the device, as the objective's ``losses`` takes them; valid until the next."""

    def close(self) -> None:
        """Let go of what reads ahead."""


@runtime_checkable
class Running(Protocol):
    """What an objective may look at while a run goes on, and when it ends."""

    folder: Path
    compute: ComputeSettings
    fabric: Fabric
    model: nn.Module
    steps_done: int
    draws: int | None
    shared_draws: int
    shared_seconds: float

    @property
    def steps(self) -> int | None:
        """Steps of the run; None while its budget is a time and its trunk goes on."""

    @property
    def computed(self) -> dict[str, Any]:
        """How the run is computed, for its result: device, processes, precision, threads."""

    def seconds(self) -> float:
        """Return the seconds of training so far, those of a shared trunk included."""

    def whole_model(self) -> nn.Module:
        """Return the network with all of its weights in float32; every process must ask, the first one gets them."""


@runtime_checkable
class Watcher(Protocol):
    """Looks at a run without touching it: nothing that it does changes a weight or a random number of the run."""

    def due(self, steps_done: int, steps: int | None) -> bool:
        """Return whether to look after so many steps, 0 being the start."""

    def look(self, run: Running) -> Mapping[str, float] | None:
        """Return what was seen, for the metrics of that step; None where nothing was."""


@runtime_checkable
class Objective(Protocol):
    """What is learned. Every process of a run has its own, made from the same arguments."""

    @property
    def course(self) -> Course:
        """How far the run goes, and in what steps."""

    @property
    def flat(self) -> bool:
        """Whether the optimizer may hold the parameters in one piece: faster for small networks, the same but for rounding."""

    def check(self, folder: Path) -> None:
        """Refuse what does not belong together, before anything is written.

        Raises:
            InputError: names what does not.
        """

    def build(self) -> nn.Module:
        """Return the network with its starting weights, on the CPU: the same in every process.

        Parameters that never learn (a teacher, a frozen encoder) have ``requires_grad`` off; their values and buffers are
        part of the state.
        """

    def blocks(self, model: nn.Module) -> Iterable[nn.Module]:
        """Return the parts that FSDP shares out one by one, the inner ones first."""

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Return whether weight decay acts on a parameter."""

    def views(self, draws: int | None, *, least: int, fabric: Fabric, compute: ComputeSettings) -> Views:
        """Return the reader of a run of so many draws; of an open trunk (None), with more than ``least`` planned."""

    def losses(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Return the losses of a batch, the same names every time: means over its draws. ``loss``, their sum, is learned."""

    def after_step(self, run: Running) -> Mapping[str, float] | None:
        """Do what follows a step: move a teacher, look at held-out data.

        Returns:
            What was seen, for trackers; the state is then saved. None where nothing should be kept. Of several processes
            all return a mapping, or none does.
        """

    def state(self) -> dict[str, Any]:
        """Return what the objective must have again to go on, beyond the network: plain values and tensors."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a :meth:`state`."""

    def publish(self, run: Running, model: nn.Module) -> Mapping[str, float]:
        """Measure the trained network, write everything that a finished run holds, the result last; first process only.

        Returns:
            The figures that trackers show as the run's result.
        """
