"""Where else the losses go: TensorBoard in the run's folder, MLflow, Weights & Biases, or a plug-in.

The run's own metrics file is the record; a tracker only watches, and one that fails is dropped with a
warning. None needs a network: W&B writes offline files for ``wandb sync``, MLflow goes where its own configuration
(``MLFLOW_TRACKING_URI``) says, local files by default.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

from voxmix._optional import require
from voxmix._table import Table
from voxmix.errors import InputError, MissingDependencyError, VoxmixWarning
from voxmix.runs.files import METRICS_FILE
from voxmix.training.objective import Spec

_DEFAULT = "tensorboard"  # what study files name by themselves: without its library runs go on
_told: set[str] = set()  # what this process has said is not installed
_NAMELESS = "voxmix"  # where a library wants the name of the machine

_WANDB_SAYS = {
    "host": _NAMELESS,
    "username": _NAMELESS,
    "x_disable_meta": True,  # host, user, program and its path
    "x_disable_machine_info": True,
    "disable_git": True,
    "disable_code": True,
}
"""What W&B would write of the machine and its user by itself, left out."""


@runtime_checkable
class Tracker(Protocol):
    """Follows one run. Steps count from 1; a resumed run goes on after ``steps_done``."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the figures of one step."""

    def finish(self, summary: Mapping[str, float]) -> None:
        """Take the losses per target of the finished run and close."""

    def close(self) -> None:
        """Close without a result: the run was stopped."""


@contextmanager
def _without_host_name() -> Iterator[None]:
    """Let TensorBoard, which names its files by the machine, see a name that says nothing."""
    event_file_writer: Any = require("tensorboard.summary.writer.event_file_writer", extra="tensorboard")
    plain = event_file_writer.socket
    event_file_writer.socket = SimpleNamespace(gethostname=lambda: _NAMELESS)
    try:
        yield
    finally:
        event_file_writer.socket = plain


class TensorBoard:
    """Event files in the run's folder: ``tensorboard --logdir STUDY/runs``."""

    def __init__(self, spec: Spec, folder: Path, steps_done: int) -> None:
        require("tensorboard", extra="tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        with _without_host_name():
            self._writer = SummaryWriter(str(folder), purge_step=steps_done + 1 if steps_done else None)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point per figure."""
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def finish(self, summary: Mapping[str, float]) -> None:
        """Write one point per target at the last step and close."""
        for name, value in summary.items():
            self._writer.add_scalar(f"validation/{name}", value)
        self.close()

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


class MLflow:
    """A run of the experiment ``voxmix``, where MLflow's own configuration puts it: local files by default."""

    def __init__(self, spec: Spec, folder: Path, steps_done: int) -> None:
        tracking: Any = require("mlflow.tracking", extra="mlflow")
        self._client = tracking.MlflowClient()
        known = self._client.get_experiment_by_name("voxmix")
        experiment = known.experiment_id if known else self._client.create_experiment("voxmix")
        tagged = f"tags.voxmix_run = '{spec.run_id}'"
        found = self._client.search_runs([experiment], tagged) if steps_done else []
        run = (
            found[0]
            if found
            else self._client.create_run(experiment, tags={"voxmix_run": spec.run_id}, run_name=spec.run_id)
        )
        self._run = run.info.run_id
        if not found:
            for name, value in flat_settings(spec).items():
                self._client.log_param(self._run, name, value)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log one value per figure."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def finish(self, summary: Mapping[str, float]) -> None:
        """Log the loss of every target; the run is finished."""
        for name, value in summary.items():
            self._client.log_metric(self._run, f"validation_{name}", value)
        self._client.set_terminated(self._run)

    def close(self) -> None:
        """Mark the run as stopped."""
        self._client.set_terminated(self._run, status="KILLED")


class Wandb:
    """A run of the project ``voxmix``, kept in the run's folder until ``wandb sync``."""

    def __init__(self, spec: Spec, folder: Path, steps_done: int) -> None:
        wandb: Any = require("wandb", extra="wandb")
        known = getattr(getattr(wandb, "Settings", None), "model_fields", {})
        self._run = wandb.init(
            project="voxmix",
            id=spec.run_id,
            resume="allow",
            dir=str(folder),
            config=flat_settings(spec),
            mode="offline",
            reinit="create_new",
            settings={name: value for name, value in _WANDB_SAYS.items() if name in known},
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the figures of one step."""
        self._run.log(dict(values), step=step)

    def finish(self, summary: Mapping[str, float]) -> None:
        """Keep the loss of every target in the run's summary and close."""
        self._run.summary.update({f"validation/{name}": value for name, value in summary.items()})
        self.close()

    def close(self) -> None:
        """Close the run's files."""
        self._run.finish()


TRACKERS: Table[Callable[[Spec, Path, int], Tracker]] = Table(
    "trackers", {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": Wandb}
)
"""Packages add trackers by entry points of the group ``voxmix.trackers``: name = "module:function(spec, folder, steps_done)"."""


def flat_settings(spec: Spec) -> dict[str, Any]:
    """Return a spec as one level of ``part.name`` keys; it holds no path and no name of a subject."""

    def flat(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from flat(value, f"{before}{name}.")
            else:
                yield before + name, value

    return dict(flat(spec.as_dict(), ""))


class Trackers:
    """Every tracker of a run; one that fails is dropped with a warning, training goes on."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = dict(trackers)

    @classmethod
    def open(cls, names: Sequence[str], *, spec: Spec, folder: Path, steps_done: int) -> "Trackers":
        """Start or go on with the named trackers; one that cannot start is left out with a warning.

        TensorBoard, which every new study file names, is left out where it is not installed; a process says so once.

        Raises:
            InputError: no tracker of that name is built in or installed.
            MissingDependencyError: its library is not installed.
        """
        unknown = sorted({name for name in names if name not in TRACKERS})
        if unknown:
            raise InputError(
                f"unknown trackers {unknown}; choose from {sorted(TRACKERS.names())}, or install a package with an "
                f"entry point of group {TRACKERS.group}"
            )
        opened: dict[str, Tracker] = {}
        for name in dict.fromkeys(names):
            try:
                make = TRACKERS[name]
                opened[name] = make(spec, folder, steps_done)
            except MissingDependencyError as error:
                if name != _DEFAULT:
                    raise
                _tell_once(name, error)
            except Exception as error:
                _warn_of_failure(name, error)
        return cls(opened)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass the figures of one step on."""
        self._each(lambda tracker: tracker.log(step, values))

    def finish(self, summary: Mapping[str, float]) -> None:
        """Pass the losses of the finished run on and close."""
        self._each(lambda tracker: tracker.finish(summary))
        self._trackers.clear()

    def close(self) -> None:
        """Close what is still open: the run was stopped."""
        self._each(lambda tracker: tracker.close())
        self._trackers.clear()

    def _each(self, do: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                do(tracker)
            except Exception as error:
                del self._trackers[name]
                _warn_of_failure(name, error)


def _tell_once(name: str, error: MissingDependencyError) -> None:
    """Say that the tracker of new study files is not installed, once in a process."""
    if name not in _told:
        _told.add(name)
        warnings.warn(
            f"tracker {name} is left out: {error}. The run's {METRICS_FILE} is complete; compute.trackers: [] in the study file "
            "asks for none",
            VoxmixWarning,
            stacklevel=4,
        )


def _warn_of_failure(name: str, error: Exception) -> None:
    """Say that a tracker is left out: a library, a disk or a server of others must not end a training."""
    warnings.warn(
        f"tracker {name} failed and is left out from now on ({error!r}); the run's {METRICS_FILE} is complete",
        VoxmixWarning,
        stacklevel=4,
    )
