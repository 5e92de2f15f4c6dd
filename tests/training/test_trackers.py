"""TensorBoard beside every run; MLflow and W&B as plug-ins that may fail without harm."""

import json
import socket
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from voxmix import _optional
from voxmix.compute import ComputeSettings
from voxmix.errors import InputError, MissingDependencyError, VoxmixWarning
from voxmix.objectives.mae import train
from voxmix.runs import read_run
from voxmix.training import trackers
from voxmix.training.trackers import Trackers, flat_settings


def events(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_tensorboard_shows_every_step_and_the_losses_per_target(finished, metrics):
    shown, rows = events(finished), metrics(finished)
    assert [step for step, _ in shown["train/loss"]] == list(range(1, 14))
    for name in ("loss", "gradient_norm", "learning_rate", "draws"):
        assert [v for _, v in shown[f"train/{name}"]] == pytest.approx([row[name] for row in rows], rel=1e-6)
    losses = read_run(finished).losses
    for target in losses:
        ((_, value),) = shown[f"validation/{target}"]
        assert value == pytest.approx(losses[target]["loss"], rel=1e-6)


def test_no_file_of_a_run_names_the_machine(spec, cache, evaluation, tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "ward-7-scanner")
    folder = tmp_path / spec.run_id
    train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name.startswith("events.out.tfevents.") for path in files)
    for path in files:
        assert "ward-7" not in path.name
        assert b"ward-7" not in path.read_bytes()


def test_a_resumed_run_has_every_step_once(spec, cache, evaluation, tmp_path, dies_at):

    often = ComputeSettings(checkpoint_seconds=0.0)
    with pytest.raises(RuntimeError, match="killed"):
        train(
            spec,
            cache=cache,
            evaluation=evaluation,
            folder=tmp_path,
            threads=1,
            compute=often,
            progress=dies_at(56),
        )
    train(spec, cache=cache, evaluation=evaluation, folder=tmp_path, threads=1)
    assert [step for step, _ in events(tmp_path)["train/loss"]] == list(range(1, 14))


def test_settings_are_named_flat_and_hold_no_path(spec):
    flat = flat_settings(spec)
    assert flat["training.learning_rate"] == 2e-3
    assert flat["mixture.CT"] == 0.7
    assert json.loads(json.dumps(flat)) == flat
    assert not [value for value in flat.values() if isinstance(value, str) and "/" in value]


class FakeMlflow:
    """The part of MlflowClient that is used, kept in memory."""

    def __init__(self):
        self.runs, self.params, self.values, self.ended = [], {}, [], []

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id="1") if self.runs else None

    def create_experiment(self, name):
        return "1"

    def search_runs(self, experiments, query):
        return [run for run in self.runs if f"'{run.tag}'" in query]

    def create_run(self, experiment, *, tags, run_name):
        run = SimpleNamespace(info=SimpleNamespace(run_id=f"r{len(self.runs)}"), tag=tags["voxmix_run"])
        self.runs.append(run)
        return run

    def log_param(self, run, name, value):
        self.params[run, name] = value

    def log_metric(self, run, name, value, step=None):
        self.values.append((run, name, value, step))

    def set_terminated(self, run, status="FINISHED"):
        self.ended.append((run, status))


def test_mlflow_goes_on_with_the_same_run(spec, tmp_path, monkeypatch):
    client = FakeMlflow()
    monkeypatch.setattr(trackers, "require", lambda name, extra: SimpleNamespace(MlflowClient=lambda: client))
    first = Trackers.open(["mlflow"], spec=spec, folder=tmp_path, steps_done=0)
    first.log(1, {"loss": 0.5})
    first.close()
    second = Trackers.open(["mlflow"], spec=spec, folder=tmp_path, steps_done=1)
    second.log(2, {"loss": 0.25})
    second.finish({"CT": 0.125})
    second.close()
    assert client.values == [
        ("r0", "loss", 0.5, 1),
        ("r0", "loss", 0.25, 2),
        ("r0", "validation_CT", 0.125, None),
    ]
    assert client.ended == [("r0", "KILLED"), ("r0", "FINISHED")]
    assert client.params["r0", "training.learning_rate"] == 2e-3


def test_wandb_stays_offline_in_the_run_s_folder(spec, tmp_path, monkeypatch):
    logged, summary, started = [], {}, {}
    run = SimpleNamespace(
        log=lambda values, step: logged.append((step, values)),
        summary=summary,
        finish=lambda: logged.append("end"),
    )

    def init(**options):
        started.update(options)
        return run

    settings = SimpleNamespace(model_fields={"host": 0, "x_disable_meta": 0, "console": 0})
    library = SimpleNamespace(init=init, Settings=settings)
    monkeypatch.setattr(trackers, "require", lambda name, extra: library)
    opened = Trackers.open(["wandb"], spec=spec, folder=tmp_path, steps_done=3)
    opened.log(4, {"loss": 0.5})
    opened.finish({"CT": 0.25})
    opened.close()
    assert (started["mode"], started["id"], started["dir"]) == ("offline", spec.run_id, str(tmp_path))
    assert started["settings"] == {"host": "voxmix", "x_disable_meta": True}
    assert logged == [(4, {"loss": 0.5}), "end"]
    assert summary == {"validation/CT": 0.25}


def test_a_tracker_that_fails_is_dropped_and_training_goes_on(
    spec, cache, evaluation, tmp_path, request, metrics, finished
):
    class Failing:
        def __init__(self, spec, folder, steps_done):
            pass

        def log(self, step, values):
            raise ConnectionError("the server is gone")

        def finish(self, summary):
            raise AssertionError("was dropped")

        close = finish

    trackers.TRACKERS.add("remote", Failing)
    request.addfinalizer(lambda: trackers.TRACKERS.remove("remote"))
    remote = ComputeSettings(trackers=("remote", "tensorboard"))
    folder = tmp_path / spec.run_id
    with pytest.warns(VoxmixWarning, match=r"tracker remote failed and is left out .*server is gone"):
        train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1, compute=remote)
    assert metrics(folder) == metrics(finished)
    assert events(folder)["train/loss"] == events(finished)["train/loss"]


def test_unknown_and_missing_trackers_are_named(spec, cache, evaluation, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"unknown trackers \['tensorbord'\]; choose from \['mlflow', 'tens"):
        Trackers.open(["tensorbord"], spec=spec, folder=tmp_path, steps_done=0)

    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(_optional, "import_module", absent)
    for name in ("mlflow", "wandb"):
        with pytest.raises(MissingDependencyError, match=rf'pip install "voxmix\[{name}\]"'):
            Trackers.open([name], spec=spec, folder=tmp_path, steps_done=0)


def test_the_tracker_of_new_studies_may_be_missing_and_that_is_said_once(spec, tmp_path, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name, name=name)

    monkeypatch.setattr(_optional, "import_module", absent)
    monkeypatch.setattr(trackers, "_told", set())
    with pytest.warns(
        VoxmixWarning, match=r'tracker tensorboard is left out.*pip install "voxmix\[tensorboard\]"'
    ):
        Trackers.open(("tensorboard",), spec=spec, folder=tmp_path, steps_done=0)
    opened = Trackers.open(
        ("tensorboard",), spec=spec, folder=tmp_path, steps_done=0
    )  # a warning would be an error
    opened.log(1, {"loss": 1.0})
    opened.finish({"CT": 1.0})


def test_the_named_extras_exist():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    extras = project["optional-dependencies"]
    for name, library in (("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")):
        assert any(requirement.startswith(library) for requirement in extras[name])


def test_a_tracker_that_cannot_open_its_file_is_left_out(spec, tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "run").write_text("a file where the folder of events should be", encoding="utf-8")
    with pytest.warns(VoxmixWarning, match="tracker tensorboard failed and is left out") as said:
        opened = Trackers.open(
            ("tensorboard", "tensorboard"), spec=spec, folder=tmp_path / "run", steps_done=0
        )
    assert len(said) == 1
    opened.log(1, {"loss": 1.0})
    opened.finish({"CT": 1.0})
