"""Protocol: everything that finetuning depends on but the initialization and the seed."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from voxmix._io import digest
from voxmix.datasets.task import Task
from voxmix.errors import InputError
from voxmix.run_settings import LATER, ModelSettings, Precision, TrainingSettings, identity

PROTOCOL_VERSION = 1
"""Raised whenever the same settings lead to other weights or scores than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneSettings:
    """Optimization, augmentation and inference of finetuning.

    A draw is one crop of one case (classification: one view of it). The paper's text lacks its learning rate,
    batch size, epochs and the strength of the augmentation; those are defaults of the network's own protocol
    (3D UX-Net, reference 24 of arXiv 2605.06859: AdamW at 1e-4, intensity shift of 0.1 in half of the draws,
    rotation about the long axis by up to 6 degrees and scaling by up to 10% in all). The weights scored are
    those after the last draw: with few validation cases the best of several is a draw of luck, and the number
    of draws would differ between initializations.

    Attributes:
        draws: crops seen in all.
        batch_size: crops per step.
        feature_size: channels of the UNETR's finest level.
        shift: half-width of the intensity shift, in units of [0, 1]; drawn with ``shift_probability``.
        rotation: largest rotation about the long axis of the body, degrees.
        scale: largest change of size, as a share.
        affine_probability: share of draws that are rotated and scaled.
        validations: how often the validation cases are scored on the way.
        training_overlap, final_overlap: of neighboring windows of inference (paper, A.2).
        window_batch: windows per forward pass of inference.
        precision: number format of training, as in pretraining; inference is in float32.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    draws: int = 20_000
    batch_size: int = 4
    learning_rate: float = 1e-4
    weight_decay: float = 1e-2
    beta1: float = 0.9
    beta2: float = 0.999
    warmup_steps: int = 50
    clip_norm: float = 1.0
    feature_size: int = 16
    shift: float = 0.1
    shift_probability: float = 0.5
    rotation: float = 6.0
    scale: float = 0.1
    affine_probability: float = 1.0
    validations: int = 5
    training_overlap: float = 0.25
    final_overlap: float = 0.5
    window_batch: int = 4
    precision: Precision = field(default="32-true", metadata=LATER)

    def __post_init__(self) -> None:
        for name in ("draws", "batch_size", "feature_size", "window_batch", "validations"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, got {value}")
        for name in ("training_overlap", "final_overlap"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must lie from 0 to below 1, got {getattr(self, name)}; e.g. 0.5")
        for name in ("shift_probability", "affine_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("shift", "rotation"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.scale < 1:
            raise InputError(f"scale must lie from 0 to below 1, got {self.scale}; 0.1 is a tenth")
        _ = self.optimization  # checks the rest

    @property
    def optimization(self) -> TrainingSettings:
        """The settings that the optimizer and the learning rate of pretraining read."""
        names = (
            *("learning_rate", "batch_size", "weight_decay", "beta1", "beta2"),
            *("warmup_steps", "clip_norm", "precision"),
        )
        return TrainingSettings(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """One protocol for every initialization: task, cases and their split, preprocessing, network, settings.

    Two results may be compared when their protocols have the same :attr:`digest`.
    """

    task: Task
    model: ModelSettings
    cases: str
    settings: FinetuneSettings = field(default_factory=FinetuneSettings)

    def as_dict(self) -> dict[str, Any]:
        """Return the protocol as JSON-like data; where the data lie, and what has no effect, has no part in it."""
        return {
            "version": PROTOCOL_VERSION,
            "task": self.task.as_dict(),
            "model": identity(self.model.effective),
            "cases": self.cases,
            "settings": identity(self.settings),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Protocol":
        """Return the protocol written by :meth:`as_dict`; where the data lie is not known any more.

        Raises:
            InputError: of another version, or values that cannot be used.
            KeyError, TypeError, ValueError, AttributeError: another form.
        """
        if not isinstance(value, dict) or value.get("version") != PROTOCOL_VERSION:
            found = value.get("version") if isinstance(value, dict) else type(value).__name__
            raise InputError(f"protocol has version {found!r}, this voxmix reads {PROTOCOL_VERSION}")
        return cls(
            task=Task.from_dict(value["task"]),
            model=ModelSettings(**value["model"]),
            cases=value["cases"],
            settings=FinetuneSettings(**value["settings"]),
        )

    @property
    def digest(self) -> str:
        """Digest of everything above."""
        return digest(self.as_dict())
