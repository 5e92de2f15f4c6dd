"""A study of another kind: its view is all that the steps and the settings of compute ask."""

import json
import re
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from voxmix.compute import ComputeSettings
from voxmix.errors import InputError, VoxmixError
from voxmix.study import Listener, Progress, Step, StudyView, next_step, run_steps, study_status, with_compute
from voxmix.study.making import FailedRun, tell_failures
from voxmix.study.step import Steps, StepView


@dataclass(frozen=True)
class OtherConfig:
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    workers: int | None = None


@dataclass(frozen=True)
class OtherView:
    """A study whose steps write a word each; what it says of itself is in one list that all views share."""

    root: Path
    steps: Steps
    said: list[str]
    config: OtherConfig = field(default_factory=OtherConfig)
    moment: int = 0

    @property
    def lease_seconds(self) -> float:
        return self.config.compute.lease_seconds

    def lock(self) -> Any:
        return nullcontext()

    def check(self) -> None:
        self.said.append(f"check {self.moment}")
        if (self.root / "broken").exists():
            raise InputError("it cannot work")

    def after(self, name: str) -> "OtherView":
        self.said.append(f"after {name}")
        return replace(self, moment=self.moment + 1)

    def configured(self, config: OtherConfig) -> "OtherView":
        return replace(self, config=config)

    def inputs(self, name: str) -> str:
        return json.dumps(self.steps[name].inputs(self))  # type: ignore[misc]

    def is_made(self, name: str) -> bool:
        path = self.root / f"{name}.made"
        return path.exists() and path.read_text(encoding="utf-8") == self.inputs(name)

    def mark_made(self, name: str) -> None:
        self.said.append(f"made {name}")
        self.mark(name, self.inputs(name))

    def mark(self, name: str, inputs: str) -> None:
        (self.root / f"{name}.made").write_text(inputs, encoding="utf-8")

    def made(self) -> dict[str, str]:
        return {path.stem: path.read_text(encoding="utf-8") for path in self.root.glob("*.made")}


def _step(name: str, needs: tuple[str, ...] = (), breaks: bool = False) -> Step:
    def work(view: OtherView, hear: Listener) -> str:
        if breaks:
            (view.root / "broken").touch()
        return f"{name} at {view.moment}"

    return Step(
        name=name,
        sentence="writes a word",
        work=work,
        progress=lambda view: Progress(done=view.is_made(name), detail=name),
        missing=f"{name} is not done",
        needs=needs,
        inputs=lambda view: name,
    )


def test_steps_of_another_kind_run_in_order_and_ask_the_view_between(tmp_path: Path) -> None:
    rows = {"one": _step("one"), "two": _step("two", needs=("one",))}
    view = OtherView(root=tmp_path, steps=Steps("other steps", rows), said=[])
    assert isinstance(view, StepView)
    assert dict(run_steps(view)) == {"one": "one at 0", "two": "two at 1"}
    assert view.said == ["after one", "made one", "check 1", "after two", "made two"]
    states = study_status(view)
    assert [state.done for state in states] == [True, True]
    assert next_step(states) is None


def test_what_cannot_work_after_a_step_stops_the_others(tmp_path: Path) -> None:
    rows = {"one": _step("one", breaks=True), "two": _step("two")}
    view = OtherView(root=tmp_path, steps=Steps("other steps", rows), said=[])
    with pytest.raises(InputError, match="it cannot work"):
        dict(run_steps(view))
    assert [state.done for state in study_status(view)] == [True, False]


def test_compute_is_set_for_a_command_alone(tmp_path: Path) -> None:
    view = OtherView(root=tmp_path, steps=Steps("other steps", {}), said=[], config=OtherConfig(workers=2))
    found = with_compute(view, {"device": "cpu", "micro_batch": 4}, where="the command line")
    assert isinstance(found, OtherView)
    assert (found.config.compute.device, found.config.compute.micro_batch, found.config.workers) == (
        "cpu",
        4,
        2,
    )
    assert with_compute(view, {}, workers=3, where="the command line").config.workers == 3
    assert view.config == OtherConfig(workers=2)
    with pytest.raises(
        InputError, match="the command line cannot be used:\n  - settings: micro_batch must be"
    ):
        with_compute(view, {"micro_batch": 0}, where="the command line")


@dataclass(frozen=True)
class Planned:
    run_id: str

    def as_dict(self) -> dict[str, Any]:
        return {"run_id": self.run_id}


def test_failures_of_one_reason_are_told_together() -> None:
    told: list[str] = []
    hear = Listener(tell=told.append)
    failed = [FailedRun(spec=Planned(f"r{n}"), reason="no such device") for n in range(5)]
    failed.append(FailedRun(spec=Planned("r9"), reason="the loss diverges"))
    with pytest.raises(VoxmixError, match=re.escape("6 of 8 runs failed (see above); the others are kept")):
        tell_failures(failed, of=8, words=lambda spec: f"spec {spec.run_id}", hear=hear)
    assert told == [
        "run r0 (spec r0), r1 (spec r1), r2 (spec r2) and 2 more failed: no such device",
        "run r9 (spec r9) failed: the loss diverges",
    ]
    tell_failures([], of=8, words=str, hear=hear)
    assert len(told) == 2


def test_a_mixture_study_is_such_a_view() -> None:
    assert all(
        hasattr(StudyView, name) for name in ("lock", "check", "after", "is_made", "mark_made", "configured")
    )
