"""doctor says what the system says, leaves nothing behind, and gives a reason for what would be slow."""

import json
import os
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxmix import machine
from voxmix.cli import app
from voxmix.machine import Device, Disk, Machine

GOOD = Machine(
    versions={"voxmix": "1", "torch": "2.6"},
    system="Linux",
    devices=(
        Device(kind="cuda", name="H200", memory_bytes=10**11, bfloat16=True),
        Device(kind="cpu", name="CPU"),
    ),
    cores=16,
    machine_cores=16,
    threads={},
    memory_bytes=10**11,
    disk=Disk(
        free_bytes=10**12,
        total_bytes=10**13,
        file_system="ext4",
        write_bytes_per_second=1e9,
        seconds_per_small_file=1e-4,
    ),
    extras={"train": ()},
)


def test_it_says_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        machine, "_devices", lambda: (Device(kind="cpu", name="CPU"),)
    )  # torch takes seconds to load
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    done = CliRunner().invoke(app, ["doctor", str(tmp_path), "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["machine_cores"] == os.cpu_count()
    assert 1 <= found["cores"] <= found["machine_cores"]
    assert found["threads"]["OMP_NUM_THREADS"] == "3"
    assert found["disk"]["total_bytes"] == shutil.disk_usage(tmp_path).total
    assert found["disk"]["write_bytes_per_second"] > 0
    assert list(tmp_path.iterdir()) == []
    assert all(one["installed"] == (not one["missing"]) for one in found["extras"].values())
    for private in (socket.gethostname(), str(tmp_path), str(Path.home())):
        assert private not in done.stdout
    told = CliRunner().invoke(app, ["doctor", str(tmp_path)]).stdout
    assert all(sentence in told for sentence in found["slow"])


def test_nothing_is_slow_on_a_good_machine() -> None:
    assert GOOD.slow() == ()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"versions": {"voxmix": "1"}}, 'pip install "voxmix[train]"'),
        ({"devices": GOOD.devices[1:]}, "training is slow"),
        ({"devices": (replace(GOOD.devices[0], bfloat16=False),)}, "set training.precision to 16-mixed"),
        ({"cores": 4}, "4 of 16 cores"),
        ({"cores": 2, "machine_cores": 2}, "2 cores"),
        ({"threads": {"OMP_NUM_THREADS": "1"}}, "OMP_NUM_THREADS is 1"),
        ({"memory_bytes": 4 * 10**9}, "4.0 GB of memory"),
        (
            {"disk": replace(GOOD.disk, write_bytes_per_second=None, seconds_per_small_file=None)},
            "cannot be written",
        ),
        ({"disk": replace(GOOD.disk, write_bytes_per_second=1e7)}, "10.0 MB/s"),
        ({"disk": replace(GOOD.disk, file_system="nfs4")}, "another machine or a slow disk (nfs4"),
        ({"disk": replace(GOOD.disk, seconds_per_small_file=0.1)}, "100 ms for a small file"),
        ({"disk": replace(GOOD.disk, free_bytes=10**9)}, "1.0 GB are free"),
    ],
)
def test_what_is_slow_is_said_with_the_reason(changed: dict, says: str) -> None:
    (sentence,) = replace(GOOD, **changed).slow()
    assert says in sentence


def test_the_mount_that_holds_the_folder_is_the_deepest(tmp_path: Path) -> None:
    inner = tmp_path / "my data" / "study"
    inner.mkdir(parents=True)
    mounts = tmp_path / "mounts"
    home = str(tmp_path / "my data").replace(" ", "\\040")
    mounts.write_text(f"a / ext4 rw 0 0\nb {home} nfs4 rw 0 0\nc /elsewhere xfs rw 0 0\n", encoding="utf-8")
    assert machine._file_system(inner, mounts) == "nfs4"
    assert machine._file_system(tmp_path, mounts) == "ext4"
    assert machine._file_system(tmp_path, tmp_path / "none") == ""


def test_no_folder_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "is no folder" in done.stderr


def test_devices_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightning_fabric")
    found = machine._devices()
    assert [one.kind for one in found].count("cuda") == torch.cuda.device_count()
    assert found[-1].kind == "cpu"
