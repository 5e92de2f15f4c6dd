"""Where a run begins: at its beginning, where its last state stands, or where its trunk has come."""

import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxmix.errors import InputError, VoxmixWarning
from voxmix.runs.files import METRICS_FILE, STATE_FILE
from voxmix.training.checkpoint import load_state
from voxmix.training.objective import Course
from voxmix.training.trunk import take_trunk

_WORDS = {"evaluation": "evaluation set"}  # of inputs, where the name in a state is shorter


@dataclass(frozen=True, kw_only=True, slots=True)
class Beginning:
    """How far a run is when it begins.

    Attributes:
        state: network, optimizer and objective; None at the beginning of the run.
        draws: budget in draws; None for a time.
        steps, seconds: that it has behind it.
        shared_draws, shared_seconds: those of them that another run of its trunk has made.
        ways: how these steps were computed, see :func:`ways_of`.
    """

    state: dict[str, Any] | None
    draws: int | None
    steps: int = 0
    seconds: float = 0.0
    shared_draws: int = 0
    shared_seconds: float = 0.0
    ways: tuple[dict[str, Any], ...] = ()


def ways_of(
    before: Sequence[Mapping[str, Any]], how: Mapping[str, Any], *, steps: int
) -> list[dict[str, Any]]:
    """Return how the steps of a run were computed, in order: each way with the number of steps after which it ended.

    A run may go on with other devices, processes or threads. Its draws are the same; sums are rounded in another order.
    """
    earlier = [dict(way) for way in before]
    if earlier and {**earlier[-1], "steps": 0} == {**how, "steps": 0}:
        earlier.pop()
    return [*earlier, {"steps": steps, **how}]


def taken_up(
    folder: Path, course: Course, *, trunk: Path | None, how: dict[str, Any], writes: bool
) -> Beginning:
    """Return where a run begins; from a trunk, with its metrics, which the process that ``writes`` copies.

    Raises:
        InputError: the state in the folder is of another run or of other inputs, or damaged.
    """
    draws, state = course.draws, _own_state(folder, course)
    if state is not None:
        ways = tuple(state.get("ways", ()))
        if writes and ways:
            _tell_of_change(ways[-1], how, steps=state["steps"])
        return Beginning(
            state=state,
            ways=ways,
            **{name: state[name] for name in ("draws", "steps", "seconds", "shared_draws", "shared_seconds")},
        )
    if trunk is not None and draws is not None:
        most = course.training.branch_step(draws)
        state = take_trunk(trunk, trunk_id=course.trunk_id, most=most, how=how)
    if trunk is None or state is None:
        return Beginning(state=None, draws=draws)
    if writes:
        shutil.copyfile(trunk / METRICS_FILE, folder / METRICS_FILE)
    steps, seconds = state["steps"], state["seconds"]
    return Beginning(
        state=state,
        draws=draws,
        steps=steps,
        seconds=seconds,
        shared_draws=steps * course.training.batch_size,
        shared_seconds=seconds,
    )


def _tell_of_change(before: Mapping[str, Any], how: Mapping[str, Any], *, steps: int) -> None:
    changed = [
        f"{name} {before.get(name)} before, {value} now"
        for name, value in how.items()
        if before.get(name) != value
    ]
    if changed:
        warnings.warn(
            f"the run goes on after {steps} steps in another way ({', '.join(changed)}): the same draws, sums rounded in "
            "another order; its result says so",
            VoxmixWarning,
            stacklevel=3,
        )


def _own_state(folder: Path, course: Course) -> dict[str, Any] | None:
    state = load_state(folder)
    if state is None:
        return None
    wanted = {"run_id": course.spec.run_id, **course.inputs}
    if any(state.get(name) != value for name, value in wanted.items()):
        *most, last = ("run", *(_WORDS.get(name, name) for name in course.inputs))
        kinds = f"{', '.join(most)} or {last}" if most else last
        raise InputError(
            f"{folder / STATE_FILE} belongs to another {kinds}; delete {folder} and the run starts again"
        )
    if "model" not in state:
        warnings.warn(
            f"{folder / STATE_FILE} was written by an older voxmix; the run starts again from its beginning",
            VoxmixWarning,
            stacklevel=2,
        )
        return None
    return state
