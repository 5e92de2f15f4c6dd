"""How long a worker that finds nothing to take waits for others, before it leaves the rest to them."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from voxmix._claims import PATIENCE_LEASES
from voxmix.study.listener import Listener

_LEAST_WAIT, _MOST_WAIT = 0.2, 5.0


@dataclass(kw_only=True, slots=True)
class Patience:
    """What a worker keeps while it finds nothing to take.

    A worker that waits holds a machine, or a GPU, for nothing; one that ends at once may miss that another is gone. So it
    waits until it knows that the others live, and ends: who finishes last goes on to the next step.

    Attributes:
        lease_seconds: of claims.
        wait: as long as it takes.
        hear: where it says so.
        others: to whom the rest was left, in words; "" where it was not.
    """

    lease_seconds: float
    wait: bool
    hear: Listener
    others: str = ""
    _pause: float = _LEAST_WAIT
    _since: float | None = None
    _nobody_since: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it waits at most, if it does not wait as long as it takes."""
        return PATIENCE_LEASES * self.lease_seconds

    def is_new(self) -> None:
        """Something was found to do: from now on the next wait begins anew."""
        self._pause, self._since, self._nobody_since = _LEAST_WAIT, None, time.monotonic()

    def waits(self, step: str, whom: str) -> bool:
        """Wait a little, and return True; False where that was long enough, and the rest is left to others."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            limit = "" if self.wait else f", for {self.seconds:.0f} s at most (--wait: as long as it takes)"
            self.hear.inform(f"{step}: waits for {whom}{limit}")
        elif not self.wait and now - self._since > self.seconds:
            self.leave(step, whom)
            return False
        time.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(1.5 * self._pause, _MOST_WAIT, self.lease_seconds / 8)
        return True

    def leave(self, step: str, whom: str) -> None:
        """Leave the rest to others."""
        self.others = whom
        self.hear.inform(f"{step}: the rest is left to {whom}: who finishes last goes on with the next step")

    def nobody_for(self, *, somebody: bool) -> float:
        """Return for how many seconds nobody was seen to work; ``somebody``: whether one is seen now."""
        if somebody:
            self._nobody_since = time.monotonic()
        return time.monotonic() - self._nobody_since
