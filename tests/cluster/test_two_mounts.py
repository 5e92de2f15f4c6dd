"""Workers that see one study through mounts of their own, each with its cache of names and sizes: every run is made once.

Two sshfs mounts of one folder stand for two machines on a network disk: what one writes the other sees up to 20 s later, in
listings even longer. Each worker lives in a room of process numbers of its own, so that neither can ask whether the other is alive.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_study import finished_runs, make_study, outcome, until, voxmix
from watched import Watched

SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
BUDGETS = (1000, 3000)
LEASE = 45.0
"""Longer than a mount shows what is old, as docs/how-to/cluster.md asks for."""


def lacking():
    """Return what this machine has not and this test needs."""
    found = [name for name in ("sshfs", "fusermount3", "unshare") if shutil.which(name) is None]
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        found.append("/dev/fuse")
    if not any(Path(path).exists() for path in SERVERS):
        found.append("sftp-server")
    if not found and subprocess.run([*ROOM, "true"], capture_output=True, check=False).returncode:
        found.append("right to unshare process numbers")
    return found


ROOM = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts")


@pytest.fixture
def mounts(tmp_path):
    """Return two places at which the same folder is mounted, and the folder itself."""
    if missing := lacking():
        pytest.skip(f"this machine has no {', '.join(missing)} (Debian: sshfs, openssh-sftp-server)")
    server = next(path for path in SERVERS if Path(path).exists())
    shared, started = tmp_path / "shared", []
    shared.mkdir()
    places = [tmp_path / "first", tmp_path / "second"]
    try:
        for place in places:
            place.mkdir()
            serving = subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            seeing = subprocess.Popen(
                ["sshfs", f":{shared}", str(place), "-f", "-o", "passive"],
                stdin=serving.stdout, stdout=serving.stdin,
            )  # fmt: skip
            for pipe in (serving.stdin, serving.stdout):  # theirs now
                assert pipe is not None
                pipe.close()
            started += [seeing, serving]
            until(
                lambda place=place: f" {place} fuse.sshfs " in Path("/proc/mounts").read_text("utf-8"),
                seconds=20,
            )
        yield places, shared
    finally:
        for place in places:
            subprocess.run(["fusermount3", "-u", "-z", str(place)], capture_output=True, check=False)
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=20)


def worker(root, log, watched):
    """Start a worker on a study, as on a machine of its own."""
    with log.open("w", encoding="utf-8") as file:
        return subprocess.Popen(
            [*ROOM, sys.executable, "-m", "voxmix", "work", str(root), "--step", "run", "--threads", "1"],
            env=os.environ | {"PYTHONPATH": watched.path, "OMP_NUM_THREADS": "1"}, stdout=file, stderr=file,
        )  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process with one thread makes of the study."""
    study = make_study(tmp_path_factory.mktemp("alone") / "study", budgets=BUDGETS)
    done = voxmix("run", study.root, "--workers", 1)
    assert done.returncode == 0, done.stderr
    return outcome(study)


def test_workers_on_two_mounts_make_every_run_once(mounts, alone, tmp_path):
    places, shared = mounts
    study = make_study(shared / "study", budgets=BUDGETS, lease=LEASE)
    watched = Watched(tmp_path / "watched", word="/attempts/")
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    workers = [worker(place / "study", log, watched) for place, log in zip(places, logs, strict=True)]
    codes = [process.wait(timeout=600) for process in workers]
    assert codes == [0, 0], [log.read_text(encoding="utf-8") for log in logs]
    assert outcome(study) == alone
    assert watched.attempts() == dict.fromkeys([run.name for run in finished_runs(study)], 1)


def test_a_worker_that_is_lost_on_one_mount_is_replaced_on_the_other(mounts, alone, tmp_path):
    places, shared = mounts
    study = make_study(shared / "study", budgets=BUDGETS, lease=LEASE)
    watched = Watched(tmp_path / "watched", word="/attempts/")
    first = worker(places[0] / "study", tmp_path / "first.log", watched)
    until(lambda: any(study.runs_dir.glob(".work/*/attempts/*/state.pt")))
    second = worker(places[1] / "study", tmp_path / "second.log", watched)
    first.kill()
    killed = time.monotonic()
    assert first.wait(timeout=20) == -signal.SIGKILL
    assert second.wait(timeout=600) == 0, (tmp_path / "second.log").read_text(encoding="utf-8")
    assert time.monotonic() - killed > LEASE, "nobody knew that it had ended"
    assert outcome(study) == alone
    assert set(watched.attempts()) == {run.name for run in finished_runs(study)}
