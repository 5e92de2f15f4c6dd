"""FinetuneSpec: one finetuning run by its settings."""

from dataclasses import dataclass
from typing import Any

from voxmix._io import digest
from voxmix.downstream.protocol import Protocol
from voxmix.run_settings import identity
from voxmix.scores.result import Control


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneSpec:
    """One finetuning run. All runs that are compared share ``protocol``.

    ``init`` names the initialization; ``checkpoint`` the pretraining run that its weights come from, None from
    scratch.
    """

    protocol: Protocol
    init: str
    seed: int
    control: Control | None = None
    checkpoint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-like data."""
        return {
            "protocol": self.protocol.as_dict(),
            "init": self.init,
            "control": self.control,
            "seed": self.seed,
            "checkpoint": self.checkpoint,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "FinetuneSpec":
        """Return the spec written by :meth:`as_dict`.

        Raises:
            InputError: of another version, or values that cannot be used.
            KeyError, TypeError, ValueError, AttributeError: another form.
        """
        protocol = Protocol.from_dict(value["protocol"])
        return cls(**{**value, "protocol": protocol})

    @property
    def run_id(self) -> str:
        """Digest of the spec: same spec, same run."""
        return digest(self.as_dict())

    @property
    def former_id(self) -> str:
        """The id that this spec had while settings without effect were part of it; :attr:`run_id` without any."""
        value = self.as_dict()
        return digest(value | {"protocol": value["protocol"] | {"model": identity(self.protocol.model)}})
