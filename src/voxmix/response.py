"""Response: what was measured on a target, which direction is better, and the loss that stands for it in a law."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from voxmix.errors import InputError

DIRECTIONS = ("min", "max")
UNITS = ("draws", "samples")
Values = TypeVar("Values", float, Float[np.ndarray, "*shape"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """The measured quantity of a table.

    A law describes what falls towards a floor with more draws. A response of which less is better (a loss, bits per
    byte) is taken as it is; one of which more is better (an accuracy, AUC or Dice) as ``best - value``.

    Attributes:
        name: the column of the table.
        direction: "min" where less is better, "max" where more is.
        best: the largest value that is possible; for "max" only.
        unit: what the budgets of its table count: "draws", or "samples" where runs differ in how many images of each
            domain there are, and not in how often they draw.

    Raises:
        InputError: another direction or unit, or a best that is not finite, or given where less is better.
    """

    name: str = "loss"
    direction: str = "min"
    best: float = 1.0
    unit: str = "draws"

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise InputError(
                f"direction must be min (less is better) or max (more is better), got {self.direction!r}"
            )
        if self.unit not in UNITS:
            raise InputError(f"budgets count draws or samples, got {self.unit!r}")
        if not np.isfinite(self.best):
            raise InputError(
                f"best must be the largest value that {self.name} can have, got {self.best}; 1 for an AUC, 100 for percent"
            )
        if self.direction == "min" and self.best != 1:
            raise InputError(
                f"best is for responses of which more is better; give direction max with it, or leave best={self.best:g} out"
            )

    @property
    def rises(self) -> bool:
        """Whether more is better."""
        return self.direction == "max"

    @property
    def label(self) -> str:
        """What it is called in words and tables."""
        return "score" if self.rises and self.name == "loss" else self.name

    @property
    def as_loss(self) -> str:
        """The loss that stands for it in a law, in words."""
        return f"{self.best:g} - {self.label}" if self.rises else self.label

    def to_loss(self, value: Values) -> Values:
        """Return the loss of a value."""
        return self.best - value if self.rises else value

    def from_loss(self, loss: Values) -> Values:
        """Return the value of a loss."""
        return self.best - loss if self.rises else loss

    def interval(self, losses: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape 2"]:
        """Return intervals of values, low and high on the last axis, from those of losses."""
        return np.asarray(self.from_loss(losses)[..., ::-1]) if self.rises else losses

    def wrong(self, value: float) -> str:
        """Return what is wrong with a value, in words; "" where it can be."""
        if not np.isfinite(value):
            return f"got {value}, expected a finite number" + ("" if self.rises else " of at least 0")
        if self.rises and value > self.best:
            scale = (
                "if these are percent, give best 100 (--best 100)" if self.best == 1 else "give a larger best"
            )
            return f"got {value:g}, above the best that is possible, {self.best:g}; correct it, or {scale}"
        if not self.rises and value < 0:
            return f"got {value}, expected a finite number of at least 0"
        return ""

    def predicted(self, targets: Sequence[str], losses: Float[np.ndarray, " target"]) -> dict[str, Any]:
        """Return what JSON says beside losses: the response, its predicted values by target, and their errors where it rises.

        Nothing for a loss.
        """
        if self == LOSS:
            return {}
        values, errors = self.from_loss(losses).tolist(), losses.tolist()
        return {
            "response": self.to_dict(),
            "predicted": dict(zip(targets, values, strict=True)),
            **self.named_error(),
            **({"predicted_error": dict(zip(targets, errors, strict=True))} if self.rises else {}),
        }

    def named_error(self) -> dict[str, str]:
        """Return what JSON calls the loss of a score: the error that every number under a key with loss is; nothing else."""
        return {"error": self.as_loss} if self.rises else {}

    def to_dict(self) -> dict[str, Any]:
        """Return the response as JSON-like data; a best only where it counts, a unit where it is not draws."""
        more = ({"best": self.best} if self.rises else {}) | (
            {} if self.unit == "draws" else {"unit": self.unit}
        )
        return {"name": self.name, "direction": self.direction} | more

    @classmethod
    def from_dict(cls, value: Mapping[str, Any] | None) -> "Response":
        """Return the response written by :meth:`to_dict`; a loss where nothing was written, as before 2026-11-28."""
        return cls(**value) if value else LOSS


LOSS = Response()
"""A plain loss."""
