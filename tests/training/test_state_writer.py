"""States are written beside training: the newest is on the disk in the end, errors are told, and the share of time is kept."""

import threading
from types import SimpleNamespace

import pytest
import torch

from voxmix._stopping import WRITING
from voxmix.compute import ComputeSettings
from voxmix.errors import VoxmixError
from voxmix.objectives.mae import train
from voxmix.training import state_writer
from voxmix.training.checkpoint import load_state
from voxmix.training.state_writer import StateWriter
from voxmix.training.step_log import MetricsLog
from voxmix.training.transfer import copied


@pytest.fixture
def clock(monkeypatch):
    here = SimpleNamespace(now=100.0)
    monkeypatch.setattr(state_writer, "time", SimpleNamespace(monotonic=lambda: here.now))
    return here


def test_training_goes_on_while_a_state_is_written(tmp_path, monkeypatch):
    written, go = [], threading.Event()

    def slowly(folder, state, ready):
        assert go.wait(10)
        written.append(state["steps"])

    monkeypatch.setattr(state_writer, "save_state", slowly)
    writer = StateWriter(tmp_path, every=0.0, competes=True)
    writer.give({"steps": 1})
    assert not written  # and here we are
    go.set()
    writer.give({"steps": 2})
    assert written[0] == 1  # one after the other
    writer.wait()
    assert written == [1, 2]
    writer.close()


def test_what_is_given_last_is_on_the_disk(tmp_path):
    writer = StateWriter(tmp_path, every=60.0, competes=True)
    for steps in (1, 2, 3):
        writer.give({"steps": steps, "weight": torch.full((1000,), float(steps))})
    writer.close()
    state = load_state(tmp_path)
    assert state["steps"] == 3
    assert float(state["weight"][0]) == 3.0


def test_a_run_that_was_left_publishes_no_state(tmp_path, monkeypatch):
    writer = StateWriter(tmp_path, every=60.0, competes=True)
    writer.give({"steps": 1})
    writer.wait()
    save = state_writer.save_state

    def while_it_is_written(folder, state, ready):
        assert WRITING.locked()  # a second Ctrl-C waits
        writer.leave()
        save(folder, state, ready=ready)

    monkeypatch.setattr(state_writer, "save_state", while_it_is_written)
    writer.give({"steps": 2})
    writer.wait()
    writer.close()
    assert load_state(tmp_path)["steps"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize("ask", ["due", "wait", "give"])
def test_an_error_of_the_thread_is_told_by_the_next_call(ask, tmp_path, monkeypatch):
    def fail(folder, state, ready):
        raise VoxmixError("the disk is full")

    monkeypatch.setattr(state_writer, "save_state", fail)
    writer = StateWriter(tmp_path, every=60.0, competes=True)
    writer.give({"steps": 1})
    while not writer._writing.done():
        pass
    with pytest.raises(VoxmixError, match="disk is full"):
        writer.give({}) if ask == "give" else getattr(writer, ask)()
    writer.close()


@pytest.mark.parametrize(
    ("stall", "wrote", "competes", "interval"),
    [
        (0.1, 0.1, True, 60.0),  # 0.2 s in 60 s
        (1.0, 1.0, True, 100.0),  # 2 s in 100 s
        (1.0, 9.0, False, 60.0),  # a thread of its own core: 1 s in 60 s
        (3.0, 9.0, False, 150.0),
        (30.0, 30.0, True, 600.0),  # no longer than ten times
    ],
)
def test_states_take_a_fiftieth_of_the_time(stall, wrote, competes, interval, tmp_path, monkeypatch, clock):
    def save(folder, state, ready):
        clock.now += wrote

    monkeypatch.setattr(state_writer, "save_state", save)
    writer = StateWriter(tmp_path, every=60.0, competes=competes)
    clock.now += 59.9
    assert not writer.due()
    clock.now += 0.2
    assert writer.due()
    writer.give({})
    writer.wait()
    writer.stalled(stall)
    assert writer.interval == pytest.approx(interval)
    clock.now += interval - 0.1
    assert not writer.due()
    clock.now += 0.2
    assert writer.due()
    writer.close()


def test_a_state_does_not_change_while_it_is_written(
    finished, spec, cache, evaluation, tmp_path, monkeypatch, same_run
):
    """Every state, written when the step after it is over, holds what it held: the run that it resumes is the same."""
    save, late = state_writer.save_state, []

    def save_later(folder, state, ready):
        late.append((folder, state))

    monkeypatch.setattr(state_writer, "save_state", save_later)
    folder = tmp_path / spec.run_id
    often = ComputeSettings(device="cpu", checkpoint_seconds=0.0)
    train(spec, cache=cache, evaluation=evaluation, folder=folder, compute=often, threads=1)
    assert same_run(finished, folder)
    monkeypatch.setattr(state_writer, "save_state", save)
    assert len(late) == 13
    (folder / "result.json").unlink()
    save(*late[4], ready=lambda: None)
    train(spec, cache=cache, evaluation=evaluation, folder=folder, compute=often, threads=1)
    assert same_run(finished, folder)


def test_copies_are_copies():
    given = {"a": torch.arange(4.0), "b": torch.ones(2, 2, dtype=torch.bfloat16)[:, :1]}
    kept = copied(given)
    given["a"].add_(1)
    assert kept["a"].tolist() == [0, 1, 2, 3]
    assert kept["b"].dtype == torch.bfloat16
    assert not kept["a"].requires_grad


def test_lines_of_steps_are_on_the_disk_before_a_state(tmp_path, monkeypatch):
    synced = []
    log = MetricsLog(tmp_path / "metrics.jsonl")
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(_lines(log.path)))
    log.keep(0)

    def add(step):
        one = torch.ones(())
        log.add(step=step, draws=step, losses={"loss": one}, gradient_norm=one, learning_rate=0.1)

    add(1)
    log.flush()
    assert _lines(log.path) == 1  # a process that is killed loses no line
    assert synced == []
    add(2)
    log.flush(durable=True)
    assert synced == [2]
    log.flush(durable=True)  # nothing new
    assert synced == [2]
    add(3)
    log.flush()
    log.flush(durable=True)  # of before, not waited for
    assert synced == [2, 3]
    log._synced -= 6.0
    add(4)
    log.flush()  # some seconds later
    assert synced == [2, 3, 4]


def _lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())
