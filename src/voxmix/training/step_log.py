"""One JSON line per training step, and the watch over the loss."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxmix.errors import InputError, VoxmixError

FLUSH_STEPS = 20
"""Losses stay on the device for so many steps: one synchronization for all of them."""
_SYNC_SECONDS = 5.0
_DIVERGED = 10.0  # times the loss of the first step
_SKIPPED = (
    30  # steps in a row that fp16 may skip while it looks for its scale (it halves: 2**16 to below 1 in 17)
)


class MetricsLog:
    """Collects steps on the device and writes them in groups; a resumed run goes on from its state.

    Of several processes one ``writes``; all watch the loss, whose ``mean`` over them they take together in
    :meth:`flush`, and so stop together. With ``scaled`` gradients (fp16) a step whose norm is not finite was skipped
    and is no failure. ``follow`` is a callback for each written row.
    """

    def __init__(
        self,
        path: Path,
        *,
        writes: bool = True,
        scaled: bool = False,
        mean: Callable[[Tensor], Tensor] | None = None,
        follow: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> None:
        self.path = path
        self._writes = writes
        self._skips = _SKIPPED if scaled else 0
        self._skipped = 0
        self._mean = mean
        self.follow = follow
        self._waiting: list[tuple[int, int, float]] = []
        self._values: list[Tensor] = []
        self._names: tuple[str, ...] = ()
        self._first: float | None = None
        self._loose, self._synced = False, time.monotonic()  # whether lines are not on the disk for sure
        self._notes: list[tuple[int | None, Mapping[str, float]]] = []

    def keep(self, steps: int) -> None:
        """Drop what was written after the state that the run goes on from.

        Raises:
            InputError: lines are missing.
        """
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.exists() else []
        if len(lines) < steps:
            raise InputError(
                f"{self.path} has {len(lines)} steps, its run's state is at {steps}; the file was "
                "changed, delete the run's folder and the run starts again"
            )
        if steps:
            self._first = float(json.loads(lines[0])["loss"])
        if self._writes:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("w", encoding="utf-8") as file:
                file.writelines(lines[:steps])

    def add(
        self,
        *,
        step: int,
        draws: int,
        losses: Mapping[str, Tensor],
        gradient_norm: Tensor,
        learning_rate: float,
    ) -> None:
        """Take one step; nothing is computed or written until :meth:`flush`.

        ``losses`` have the same names at every step; ``loss`` is their sum, and the one that is watched.
        """
        self._waiting.append((step, draws, learning_rate))
        self._names = tuple(losses)
        self._values.append(torch.stack([*losses.values(), gradient_norm.to(losses["loss"].dtype)]))

    def note(self, figures: Mapping[str, float]) -> None:
        """Write further figures beside the losses of the last step taken; before the first one, beside those of that."""
        self._notes.append((self._waiting[-1][0] if self._waiting else None, figures))

    def flush(self, *, durable: bool = False) -> None:
        """Write the steps taken since the last time; of several processes, all call this after the same step.

        ``durable``: what was written survives a loss of power when this returns, as it must before a state. Else it does
        after some seconds: on a network disk, waiting takes as long as several steps.

        Raises:
            VoxmixError: a loss is not finite, or more than ten times that of the first step.
        """
        if self._waiting:
            self._flush()
        if self._writes and self._loose and (durable or time.monotonic() - self._synced >= _SYNC_SECONDS):
            with self.path.open("a", encoding="utf-8") as file:
                os.fsync(file.fileno())
            self._loose, self._synced = False, time.monotonic()

    def _flush(self) -> None:
        values = torch.stack(self._values)
        if self._mean is not None:
            values[:, :-1] = self._mean(values[:, :-1].contiguous())
        rows = values.double().cpu().tolist()
        waiting, self._waiting, self._values = self._waiting, [], []
        rows_kept: list[dict[str, Any]] = []
        for (step, draws, rate), (*each, norm) in zip(waiting, rows, strict=True):
            losses = dict(zip(self._names, each, strict=True))
            loss = losses["loss"]
            self._first = loss if self._first is None else self._first
            self._skipped = 0 if norm < float("inf") else self._skipped + 1
            if not loss <= _DIVERGED * self._first or self._skipped > self._skips:
                self._write(rows_kept)
                raise VoxmixError(
                    f"the loss is {loss:.4g} at step {step} (draw {draws}, gradient norm {norm:.4g}, learning "
                    f"rate {rate:.2e}; it began at {self._first:.4g}): training diverged and was stopped, the "
                    "state before is kept; lower learning_rate or clip_norm, or raise warmup_steps"
                )
            finite = norm if norm < float("inf") else None
            row = {"step": step, "draws": draws, **losses, "gradient_norm": finite, "learning_rate": rate}
            rows_kept.append(row)
        for of, figures in self._notes:
            next(row for row in rows_kept if of in (None, row["step"])).update(figures)
        self._notes = []
        self._write(rows_kept)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        if not self._writes:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        self._loose = True
        if self.follow is not None:
            for row in rows:
                figures = {name: value for name, value in row.items() if name != "step" and value is not None}
                self.follow(row["step"], figures)
