"""What a job can be: pretraining, finetuning or an encoder run, each a row of :data:`WORKS`; packages may add rows.

A work is data: a spec, the paths of what it reads, and how it is computed. It goes through a file, so that a process
that knows nothing but a job's folder, on this machine or another, makes the same run to the bit.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from voxmix._progress import ProgressCallback
from voxmix._table import Table
from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.downstream.cases import open_cases
from voxmix.downstream.finetune import finetune
from voxmix.downstream.predictions import PredictionKeeper
from voxmix.downstream.spec import FinetuneSpec
from voxmix.encoder_runs import EncoderSpec, SourceSubset
from voxmix.encoders.interchange import load_encoder
from voxmix.encoders.start import LoadedStart, check_start, load_start
from voxmix.errors import InputError
from voxmix.images.sources import open_source
from voxmix.objectives.images.watch import Watch
from voxmix.objectives.made import make_objective
from voxmix.objectives.mae import EvaluationSet, train
from voxmix.subsets import read_keys
from voxmix.training import loop
from voxmix.training.objective import Spec
from voxmix.training.run_checks import naming_lost_memory
from voxmix.volumes.preparing.cache import PreparedCache

T = TypeVar("T")


class Opened:
    """What the works of one process read, opened once; of each kind the last one is kept."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Hashable, Any]] = {}

    def get(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make()`` returned for this ``key`` before, or now."""
        if kind not in self._held or self._held[kind][0] != key:
            self._held[kind] = (key, make())
        found: T = self._held[kind][1]
        return found


@runtime_checkable
class Work(Protocol):
    """What a job does.

    Attributes:
        kind: its row of :data:`WORKS`.
        read_spec: from the spec in a job's file to that of the work.
        size: what its progress counts up to.
        chain: works with the same follow each other, the smallest first.
    """

    kind: ClassVar[str]

    @property
    def spec(self) -> Spec: ...

    @property
    def compute(self) -> ComputeSettings: ...

    @property
    def size(self) -> int: ...

    @property
    def chain(self) -> str: ...

    def run(
        self, folder: Path, *, opened: Opened, device_index: int | None, progress: ProgressCallback
    ) -> None:
        """Make the run in its folder, or go on with it.

        Raises:
            VoxmixError: it cannot be finished; says why.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainingWork:
    """Pretrain an encoder.

    Attributes:
        cache: folder of prepared volumes.
        evaluation: file of held-out crops.
        trunk: folder of the trunk that the run shares with others.
        threads: of a CPU, per process.
    """

    kind: ClassVar[str] = "pretraining"
    read_spec: ClassVar[Callable[[dict[str, Any]], RunSpec]] = RunSpec.from_dict
    spec: RunSpec
    cache: Path
    evaluation: Path
    trunk: Path | None = None
    compute: ComputeSettings
    threads: int

    def __post_init__(self) -> None:
        if self.trunk is not None and self.trunk.name != self.spec.trunk_id:
            raise InputError(f"trunk {self.trunk.name} is of other runs; this one's is {self.spec.trunk_id}")

    @property
    def size(self) -> int:
        """Budget, in its own unit."""
        return self.spec.budget

    @property
    def chain(self) -> str:
        """Runs of one trunk go on where the one before left it."""
        return self.spec.run_id if self.trunk is None else self.spec.trunk_id

    def run(
        self, folder: Path, *, opened: Opened, device_index: int | None, progress: ProgressCallback
    ) -> None:
        """Train, see :func:`voxmix.objectives.mae.train`."""
        train(
            self.spec,
            cache=opened.get("cache", self.cache, lambda: PreparedCache.open(self.cache)),
            evaluation=opened.get("evaluation", self.evaluation, lambda: EvaluationSet.load(self.evaluation)),
            folder=folder,
            trunk=self.trunk,
            compute=self.compute,
            threads=self.threads,
            device_index=device_index,
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuningWork:
    """Finetune an encoder, or a network from scratch, on a task.

    Attributes:
        cases: folder of the task's prepared cases.
        encoder: folder of the encoder's weights and card.
        threads: of a CPU, per process.
        surface: measure surface distances too.
        predictions, pictures: what :class:`voxmix.downstream.predictions.PredictionKeeper` keeps.
    """

    kind: ClassVar[str] = "finetuning"
    read_spec: ClassVar[Callable[[dict[str, Any]], FinetuneSpec]] = FinetuneSpec.from_dict
    spec: FinetuneSpec
    cases: Path
    encoder: Path | None = None
    compute: ComputeSettings
    threads: int
    surface: bool = False
    predictions: bool = False
    pictures: bool = True

    @property
    def size(self) -> int:
        """Draws."""
        return self.spec.protocol.settings.draws

    @property
    def chain(self) -> str:
        """Every run is alone."""
        return self.spec.run_id

    def run(
        self, folder: Path, *, opened: Opened, device_index: int | None, progress: ProgressCallback
    ) -> None:
        """Finetune, see :func:`voxmix.downstream.finetune.finetune`."""
        protocol = self.spec.protocol
        finetune(
            self.spec,
            cases=opened.get(
                "cases", (self.cases, protocol.digest), lambda: open_cases(protocol.task, self.cases)
            ),
            encoder=load_encoder(self.encoder) if self.encoder else None,
            folder=folder,
            threads=self.threads,
            compute=self.compute,
            device_index=device_index,
            surface=self.surface,
            save_prediction=PredictionKeeper(
                folder=folder, protocol=protocol, nifti=self.predictions, pictures=self.pictures
            ),
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderWork:
    """Continue or begin an encoder on a nested subset of images.

    Attributes:
        cache: folder of prepared images or volumes.
        subset: file of the keys of the training images, see :func:`voxmix.subsets.write_keys`.
        start: folder of the weights that the run begins from; None from scratch.
        threads: of a CPU, per process.
        watch_images, watch_times: how the run is watched, see :class:`voxmix.encoder_runs.WatchSettings`.
    """

    kind: ClassVar[str] = "encoder"
    read_spec: ClassVar[Callable[[dict[str, Any]], EncoderSpec]] = EncoderSpec.from_dict
    spec: EncoderSpec
    cache: Path
    subset: Path
    start: Path | None = None
    compute: ComputeSettings
    threads: int
    watch_images: int = 256
    watch_times: int = 4

    def __post_init__(self) -> None:
        planned = self.spec.start
        if planned is not None and self.start is None:
            raise InputError(
                f"the run begins from start {planned.name}, and no folder of weights is given; give one"
            )
        if planned is None and self.start is not None:
            raise InputError(
                f"the run begins from scratch, and the weights in {self.start} are given; leave them out"
            )

    @property
    def size(self) -> int:
        """Budget, in its own unit."""
        return self.spec.budget

    @property
    def chain(self) -> str:
        """Every run is alone."""
        return self.spec.run_id

    def run(
        self, folder: Path, *, opened: Opened, device_index: int | None, progress: ProgressCallback
    ) -> None:
        """Train by the objective of the spec, see :func:`voxmix.training.loop.run`."""
        spec = self.spec
        axes = spec.backbone.axes
        whole = opened.get("images", (self.cache, axes), lambda: open_source(self.cache, axes=axes))
        source = SourceSubset(whole, read_keys(self.subset, subset=spec.subset))
        with naming_lost_memory(spec.backbone, batch=spec.training.batch_size, compute=self.compute):
            objective = make_objective(spec, source=source, start=self._weights(opened))
            loop.run(
                objective,
                folder=folder,
                compute=self.compute,
                threads=self.threads,
                device_index=device_index,
                watch=Watch(objective=objective, images=self.watch_images, times=self.watch_times),
                progress=progress,
            )

    def _weights(self, opened: Opened) -> LoadedStart | None:
        folder, network = self.start, self.spec.backbone
        if folder is None:
            return None
        found = opened.get(
            "start",
            (folder, network.image, network.axes),
            lambda: load_start(folder, image=network.image, axes=network.axes, channels=1),
        )
        check_start(self.spec, found, folder=folder)
        return found


WORKS: Table[Any] = Table(
    "works", {work.kind: work for work in (PretrainingWork, FinetuningWork, EncoderWork)}
)
