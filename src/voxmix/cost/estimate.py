"""What the runs of a study will cost: draws, floating-point operations, memory, disk and time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from voxmix.compute import ComputeSettings
from voxmix.cost.footprint import footprint
from voxmix.cost.probe import Probe
from voxmix.design import RunSpec
from voxmix.encoders.networks import budget_in_draws, flops_per_draw
from voxmix.errors import InputError
from voxmix.training.pieces import rows_at_once

_FORWARD = 1 / 3
"""Share of a draw's operations and time that its forward pass takes (Kaplan et al. 2020); all that evaluation does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KindCost:
    """Runs of one kind: how many, and what they compute together.

    ``draws`` are those to be made, what runs share on a trunk counted once; ``evaluated`` are held-out crops, and
    ``seconds`` the time of one run after the other, None where it is not known.
    """

    kind: str
    runs: int
    draws: int
    evaluated: int
    flops: int
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CostEstimate:
    """What runs will cost.

    Attributes:
        work: one entry per kind of runs.
        parameters: of one network.
        flops_per_draw: forward and backward.
        state_bytes: weights, gradients and optimizer of one run in memory.
        draw_bytes: further memory per draw that is computed at once, 32-bit.
        rows: draws computed at once.
        at_once: runs at the same time.
        disk_bytes: weights of all runs, and two states of those under way.
        seconds: all of it with ``at_once`` runs at a time; None where it is not known.
    """

    work: tuple[KindCost, ...]
    parameters: int
    flops_per_draw: int
    state_bytes: int
    draw_bytes: int
    rows: int
    at_once: int
    disk_bytes: int
    seconds: float | None

    @property
    def run_bytes(self) -> int:
        """Memory of one run, as a lower bound."""
        return self.state_bytes + self.rows * self.draw_bytes


def estimate(
    kinds: Mapping[str, Sequence[RunSpec]],
    *,
    targets: int,
    compute: ComputeSettings,
    at_once: int,
    measured: Probe | None = None,
    rate: float | None = None,
) -> CostEstimate:
    """Return what runs will cost; kinds of runs by name, all of one network.

    Time comes from a :class:`~voxmix.cost.probe.Probe` of one run, or from a ``rate`` in floating-point operations
    a second that a device which is not here is expected to sustain. ``at_once`` runs are taken to go on side by
    side at that speed.

    Raises:
        InputError: no runs, or a rate that is not above 0.
    """
    if rate is not None and not rate > 0:
        raise InputError(f"the rate must be above 0 operations a second, got {rate}")
    specs = [spec for some in kinds.values() for spec in some]
    if not specs:
        raise InputError(
            "no runs are planned, so there is nothing to estimate; raise seeds in the study file"
        )
    model = specs[0].model
    found, each = footprint(model), flops_per_draw(model)
    per_draw = measured.seconds_per_draw if measured else each / rate if rate else None
    work = tuple(
        _work(kind, some, targets=targets, flops=each, seconds=per_draw)
        for kind, some in kinds.items()
        if some
    )
    known = [item.seconds for item in work if item.seconds is not None]
    return CostEstimate(
        work=work,
        parameters=found.parameters,
        flops_per_draw=each,
        state_bytes=found.state_bytes,
        draw_bytes=found.draw_bytes,
        rows=rows_at_once(specs[0].training, compute),
        at_once=at_once,
        disk_bytes=len(specs) * found.weights_bytes + 2 * at_once * 3 * found.weights_bytes,
        seconds=sum(known) / at_once if len(known) == len(work) else None,
    )


def _work(
    kind: str, specs: Sequence[RunSpec], *, targets: int, flops: int, seconds: float | None
) -> KindCost:
    timed = [spec for spec in specs if spec.budget_unit == "seconds"]
    counted = [spec for spec in specs if spec.budget_unit != "seconds"]
    draws = draws_to_make(counted)
    if timed and seconds:
        draws += round(sum(spec.budget for spec in timed) / seconds)
    # a pure run is measured once more with its source's adapter, but for the source itself
    again = sum(targets - 1 for spec in specs if spec.mixture.source is not None)
    evaluated = (targets * len(specs) + again) * specs[0].evaluation.crops_per_domain
    worth = draws + _FORWARD * evaluated
    return KindCost(
        kind=kind,
        runs=len(specs),
        draws=draws,
        evaluated=evaluated,
        flops=round(worth * flops),
        seconds=None if seconds is None else worth * seconds,
    )


def draws_to_make(specs: Sequence[RunSpec]) -> int:
    """Return the draws of all runs, those that runs share on a trunk counted once."""
    by_trunk: dict[str, list[tuple[int, int]]] = {}
    for spec in specs:
        draws = budget_in_draws(spec)
        assert draws is not None, "a budget in seconds has no draws yet"
        shared = spec.training.branch_step(draws) * spec.training.batch_size
        by_trunk.setdefault(spec.trunk_id if shared else spec.run_id, []).append((draws, shared))
    total = 0
    for runs in by_trunk.values():
        runs.sort()
        total += runs[0][0] + sum(longer - shared for (_, shared), (longer, _) in pairwise(runs))
    return total
