"""Worker processes do what they are told and are gone when their parent is, even by kill -9."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from voxmix._parallel import WorkerKilledError, work_through, worker_pool
from voxmix.errors import VoxmixError


def test_work_is_done_in_other_processes() -> None:
    with worker_pool(2) as pool:
        assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]
        assert pool.submit(os.getpid).result() != os.getpid()


def test_a_killed_worker_is_named() -> None:
    with pytest.raises(VoxmixError, match="lack of memory"), worker_pool(1) as pool:
        pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL).result()


LATER = [f"sleep {number / 20}; echo {number}" for number in (5, 3, 1, 4, 0)]


@pytest.mark.parametrize(("workers", "chunk"), [(1, 1), (2, 1), (2, 3), (4, 100)])
def test_results_come_in_the_order_of_the_items(workers: int, chunk: int) -> None:
    seen: list[tuple[int, int]] = []
    found = work_through(
        subprocess.getoutput, LATER, workers=workers, chunk=chunk, progress=lambda *step: seen.append(step)
    )
    assert found == ["5", "3", "1", "4", "0"]
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == ((0, 5), (5, 5))
    assert work_through(abs, [], workers=workers, chunk=chunk) == []


def test_what_a_killed_worker_leaves_is_an_error_or_made_one_by_one() -> None:
    items = ["echo 1", "kill -9 $PPID", "echo 3"]
    with pytest.raises(WorkerKilledError, match="lack of memory"):
        work_through(subprocess.getoutput, items, workers=2)
    seen: list[tuple[int, int]] = []
    found = work_through(
        subprocess.getoutput,
        items,
        workers=2,
        progress=lambda *step: seen.append(step),
        after_a_death=lambda item: item[-1] if item.startswith("echo") else "dead",
    )
    assert found == ["1", "dead", "3"]
    assert seen[-1] == (3, 3)


def test_an_error_ends_the_work_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), worker_pool(1) as pool:  # noqa: PT012
        pool.submit(os.getpid).result()
        pool.submit(time.sleep, 60)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 30


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\nfrom voxmix._parallel import worker_pool\n"
        "if __name__ == '__main__':\n"
        "    with worker_pool(1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 120).result()\n",
        encoding="utf-8",
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    _wait_until_gone(worker)


def test_workers_end_when_their_parent_is_killed_while_they_start(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    begun = tmp_path / "begun"
    script.write_text(
        "import os, signal, sys, time\nfrom voxmix._parallel import worker_pool\n"
        "if __name__ == '__main__':\n"
        "    with worker_pool(2, initializer=open, arguments=(sys.argv[1], 'w')) as pool:\n"
        "        work = [pool.submit(time.sleep, 120) for _ in range(2)]\n"
        "        print(*pool._processes, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"  # long before a worker has started Python
        "time.sleep(0.5)\n",  # what a worker does first: it imports this script
        encoding="utf-8",
    )
    command = [sys.executable, str(script), str(begun)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.wait()
    assert all(_runs(worker) for worker in workers), "they died for another reason"
    for worker in workers:
        _wait_until_gone(worker)
    assert not begun.exists()
    parent.stdout.close()


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while _runs(pid):
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
