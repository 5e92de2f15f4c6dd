"""An objective from outside, a regression with a teacher, is trained by the one loop: resumed to the same bits."""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from voxmix._io import digest, write_json
from voxmix.compute import ComputeSettings
from voxmix.errors import InputError, VoxmixWarning
from voxmix.run_settings import TrainingSettings
from voxmix.training.checkpoint import load_state, save_state
from voxmix.training.draws import counted_uniforms
from voxmix.training.loop import run
from voxmix.training.objective import Course, Objective, Running
from voxmix.training.pieces import Piece
from voxmix.training.trackers import TRACKERS, flat_settings

DRAWS = 100  # 13 steps of 8, the last of 4


@dataclass(frozen=True)
class Spec:
    seed: int = 5
    width: int = 6

    @property
    def run_id(self) -> str:
        return digest(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "size": {"width": self.width}}


class Points:
    """Three numbers per draw, and what a plane makes of them: a pure function of (seed, draw)."""

    planned = DRAWS

    def __init__(self, seed: int) -> None:
        self.seed, self.closed = seed, False

    def expect(self, pieces: Iterable[Piece]) -> None:
        pass

    def read(self, piece: Piece) -> tuple[Tensor, Tensor]:
        u = counted_uniforms(self.seed, piece.first, piece.last, columns=3)
        return torch.from_numpy(u).float(), torch.from_numpy(u @ np.array([1.0, -2.0, 3.0])).float()

    def close(self) -> None:
        self.closed = True


class Pair(nn.Module):
    """A network of two layers, a teacher that follows it without gradients, and a layer that is never used."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.student = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.unused = nn.Linear(2, 2)
        self.register_buffer("center", torch.zeros(1))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            taught = self.teacher(points)[:, 0]
        return self.student(points)[:, 0], taught - self.center


@dataclass(kw_only=True)
class Regression:
    """As much of a self-distillation as fits on a page."""

    spec: Spec = Spec()
    precision: Any = "32-true"
    flat: bool = True
    seen: list[float] = field(default_factory=list)

    @property
    def course(self) -> Course:
        training = TrainingSettings(
            learning_rate=1e-1, batch_size=8, warmup_steps=2, precision=self.precision
        )
        return Course(spec=self.spec, training=training, draws=DRAWS, inputs={"points": "v1"})

    def check(self, folder: Path) -> None:
        if self.spec.width > 100:
            raise InputError("too wide")

    def build(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.spec.seed)
            return Pair(self.spec.width)

    def blocks(self, model: nn.Module) -> Iterable[nn.Module]:
        return [module for module in model.modules() if isinstance(module, nn.Linear)]

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim > 1

    def views(self, draws: int | None, *, least: int, fabric: Any, compute: ComputeSettings) -> Points:
        assert draws == DRAWS
        return Points(self.spec.seed)

    def losses(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        found, taught = network(batch[0])
        truth, near = (found - batch[1]).square().mean(), 0.1 * (found - taught).square().mean()
        return {"loss": truth + near, "truth": truth, "teacher": near}

    @torch.no_grad()
    def after_step(self, run: Running) -> Mapping[str, float] | None:
        assert isinstance(run.model, Pair)
        pairs = zip(run.model.teacher.parameters(), run.model.student.parameters(), strict=True)
        for taught, learned in pairs:
            taught.lerp_(learned, 0.1)
        run.model.center.add_(0.01)
        if run.steps_done % 5:
            return None
        self.seen.append(float(run.model.teacher[2].bias))
        return {"bias": self.seen[-1]}

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]

    def publish(self, run: Running, model: nn.Module) -> Mapping[str, float]:
        weights = {name: value.tolist() for name, value in model.state_dict().items()}
        write_json(run.folder / "result.json", {"weights": weights, "seen": self.seen})
        return {"bias": self.seen[-1]}


QUIET = ComputeSettings(device="cpu", trackers=())
OFTEN = ComputeSettings(device="cpu", trackers=(), checkpoint_seconds=0)


def read(folder: Path) -> tuple[dict[str, Any], str]:
    return json.loads((folder / "result.json").read_text(encoding="utf-8")), (
        folder / "metrics.jsonl"
    ).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "whole"
    run(Regression(), folder=folder, compute=QUIET, threads=1)
    return folder


def test_it_is_an_objective_and_learns_the_plane(whole: Path) -> None:
    assert isinstance(Regression(), Objective)
    found, lines = read(whole)
    rows = [json.loads(line) for line in lines.splitlines()]
    assert [row["draws"] for row in rows] == [*range(8, 97, 8), 100]
    assert list(rows[0]) == ["step", "draws", "loss", "truth", "teacher", "gradient_norm", "learning_rate"]
    assert all(row["loss"] == pytest.approx(row["truth"] + row["teacher"]) for row in rows)
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert len(found["seen"]) == 2
    assert found["weights"]["center"] == pytest.approx([0.13])
    assert json.loads((whole / "spec.json").read_text(encoding="utf-8")) == Spec().as_dict()


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("draws", [8, 40, 88, 100])
def test_killed_anywhere_it_ends_with_the_same_bits(draws: int, flat: bool, tmp_path: Path, dies_at) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    run(Regression(flat=flat), folder=whole, compute=QUIET, threads=1)
    with pytest.raises(RuntimeError, match="killed"):
        run(Regression(flat=flat), folder=folder, compute=OFTEN, threads=1, progress=dies_at(draws))
    state = load_state(folder)
    assert state is not None
    assert state["steps"] == -(-draws // 8)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "half a li')
    run(Regression(flat=flat), folder=folder, compute=QUIET, threads=1)
    assert read(folder) == read(whole)


def test_one_piece_of_memory_changes_rounding_alone(whole: Path, tmp_path: Path) -> None:
    run(Regression(flat=False), folder=tmp_path, compute=QUIET, threads=1)
    (one, _), (many, _) = read(whole), read(tmp_path)
    for name, value in one["weights"].items():
        np.testing.assert_allclose(np.array(value), np.array(many["weights"][name]), rtol=1e-4, atol=1e-6)


def test_what_gets_no_gradient_stays_as_it_was(whole: Path) -> None:
    start, found = Regression().build(), read(whole)[0]["weights"]
    for name in ("unused.weight", "unused.bias"):
        np.testing.assert_array_equal(np.array(found[name], np.float32), start.state_dict()[name].numpy())
    assert found["teacher.0.bias"] != start.state_dict()["teacher.0.bias"].tolist()


def test_micro_batches_are_the_same_run_but_for_rounding(whole: Path, tmp_path: Path) -> None:
    pieces = ComputeSettings(device="cpu", trackers=(), micro_batch=3)
    run(Regression(), folder=tmp_path, compute=pieces, threads=1)
    rows, others = ([json.loads(line) for line in read(f)[1].splitlines()] for f in (whole, tmp_path))
    for row, other in zip(rows, others, strict=True):
        assert other == pytest.approx(row, rel=1e-4)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true"])
def test_every_precision_learns(precision: str, whole: Path, tmp_path: Path) -> None:
    run(Regression(precision=precision), folder=tmp_path, compute=QUIET, threads=1)
    rows = [json.loads(line) for line in read(tmp_path)[1].splitlines()]
    assert rows[-1]["truth"] < 0.6 * rows[0]["truth"]


def test_what_a_look_sees_goes_to_trackers_and_is_kept(tmp_path: Path) -> None:
    logged: list[tuple[int, dict[str, float]]] = []

    class Listening:
        def log(self, step: int, values: Mapping[str, float]) -> None:
            logged.append((step, dict(values)))

        def finish(self, summary: Mapping[str, float]) -> None:
            logged.append((0, dict(summary)))

        def close(self) -> None:
            pass

    def listen(spec: Spec, folder: Path, steps_done: int) -> Listening:
        assert flat_settings(spec) == {"seed": 5, "size.width": 6}
        return Listening()

    TRACKERS.add("listening", listen)
    listened = ComputeSettings(device="cpu", trackers=("listening",))
    try:
        run(Regression(), folder=tmp_path, compute=listened, threads=1)
    finally:
        TRACKERS.remove("listening")
    looks = [item for item in logged if "bias" in item[1]]
    assert [step for step, _ in looks] == [5, 10, 0]
    assert looks[1][1] == looks[2][1]
    assert {"loss", "truth", "teacher"} < set(logged[-2][1]) | set(logged[0][1])


def test_what_it_refuses_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too wide"):
        run(Regression(spec=Spec(width=101)), folder=tmp_path / "new", compute=QUIET)
    assert not (tmp_path / "new").exists()


def test_a_state_of_other_inputs_is_refused_and_one_of_an_older_voxmix_is_begun_again(
    whole: Path, tmp_path: Path
) -> None:
    save_state(tmp_path, {"run_id": Spec().run_id, "points": "v0"})
    with pytest.raises(InputError, match="belongs to another run or points"):
        run(Regression(), folder=tmp_path, compute=QUIET, threads=1)
    save_state(tmp_path, {"run_id": Spec().run_id, "points": "v1", "network": {}, "steps": 3})
    with pytest.warns(VoxmixWarning, match="written by an older voxmix"):
        run(Regression(), folder=tmp_path, compute=QUIET, threads=1)
    assert read(tmp_path) == read(whole)
