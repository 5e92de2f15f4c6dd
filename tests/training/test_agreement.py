"""Several processes stop and save after the same step, without asking each other at every step."""

import threading
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric import Fabric

from voxmix.training import agreement
from voxmix.training.agreement import Agreement


class FakeFabric(Fabric):
    """As much of Fabric as an agreement looks at."""

    def __init__(self, *, processes, rank=0, all_reduce=None):
        self.processes, self.rank = processes, rank
        self.all_reduce = all_reduce  # type: ignore[method-assign]

    world_size = property(lambda self: self.processes)
    is_global_zero = property(lambda self: self.rank == 0)
    device = property(lambda self: torch.device("cpu"))


def run_together(monkeypatch, *, seconds, stop_at, told, saves_at=None, processes=3):
    """Return (steps made, steps after which it saved) of every process, and how often they asked each other.

    Threads stand for processes; a step takes ``seconds``, unevenly: the last process is twice as slow.
    """
    here, barrier, given, answers = threading.local(), threading.Barrier(processes), {}, []
    monkeypatch.setattr(agreement, "time", SimpleNamespace(monotonic=lambda: here.now))

    def work(rank, found):
        here.now = 0.0

        def all_reduce(own, reduce_op):
            assert reduce_op == "max"
            given[rank] = own
            barrier.wait(timeout=20)
            largest = torch.stack([given[r] for r in range(processes)]).amax(dim=0)
            barrier.wait(timeout=20)
            if rank == 0:
                answers.append(largest.tolist())
            return largest

        agree = Agreement(FakeFabric(processes=processes, rank=rank, all_reduce=all_reduce))
        saved = []
        for step in range(1, 400):
            here.now += seconds * (2 if rank == processes - 1 else 1)
            reason, due = agree(
                15 if rank == told and step >= stop_at else 0,
                saves_at is not None and rank == 0 and step >= saves_at and not saved,
            )
            if due:
                saved.append(step)
            if reason:
                assert reason == 15
                break
        found[rank] = (step, saved)

    found = {}
    threads = [threading.Thread(target=work, args=(rank, found)) for rank in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return [found[rank] for rank in range(processes)], len(answers)


@pytest.mark.parametrize("told", [0, 2])
@pytest.mark.parametrize(("seconds", "every"), [(0.01, 20), (0.2, 2), (3.0, 1)])
def test_all_stop_after_the_same_step_within_a_second(monkeypatch, seconds, every, told):
    (first, *others), asked = run_together(monkeypatch, seconds=seconds, stop_at=101, told=told, saves_at=53)
    assert all(other == first for other in others)
    steps, saved = first
    assert 101 <= steps < 101 + every
    assert len(saved) == 1
    assert 53 <= saved[0] < 53 + every
    assert asked == 1 + (steps - 1) / every  # after the first step, then about once a second


def test_one_process_asks_nobody():
    agree = Agreement(FakeFabric(processes=1))
    assert agree(15, False) == (15, False)
    assert agree(0, True) == (0, True)
