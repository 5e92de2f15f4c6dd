"""What looks along a run saw (:mod:`voxmix.objectives.images.watch`), read from its metrics; and the alarm where it fell."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from voxmix.encoder_runs import EncoderSpec
from voxmix.objectives.images.alarms import Alarm

_BEYOND = 3.0
"""Standard errors that a fall must exceed. They leave out that the probe is fitted anew: in simulated features that did not
change in worth (64 and 128 images), 1 to 3% of the looks fell farther, where a normal distribution has 0.13%."""


def watched(metrics: Path) -> list[dict[str, float]]:
    """Return what the looks along a run saw, from its metrics: step and figures; the start is step 0."""
    found: list[dict[str, float]] = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "probe_at_start" in row:
            found.append({"step": 0, "probe": row["probe_at_start"], "probe_se": row["probe_at_start_se"]})
        if "probe" in row:
            found.append({"step": row["step"], **{name: row[name] for name in row if name.startswith("probe") and "start" not in name}})  # fmt: skip
    return found


def watch_alarms(looks: Sequence[Mapping[str, float]], spec: EncoderSpec) -> tuple[Alarm, ...]:
    """Return what is wrong with a run by its last look."""
    alarm = fallen(looks[-1], spec) if len(looks) > 1 else ""
    return (alarm,) if alarm else ()


def fallen(seen: Mapping[str, float], spec: EncoderSpec) -> Alarm:
    """Return a sentence where a look is below the start by more than chance, else ""."""
    change = seen.get("probe_change", 0.0)
    if not change < -_BEYOND * seen.get("probe_change_se", math.inf):
        return ""
    fell = f"a probe of its frozen features fell from {seen['probe'] - change:.3f} at the start to {seen['probe']:.3f} (AUROC)"
    if spec.start is None:
        return f"{fell}: the run is worse than a network that learned nothing; a lower learning rate may help"
    return (
        f"{fell}: going on from the weights {spec.start.name!r} ruins them; a lower rate, a longer warm-up, or a head that is warmed "
        "first (starts: rate, warm) may help"
    )
