"""Workers of one job: each with its GPU, started again when killed, stopped by one signal, and one exit code for all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from voxmix.engines import crew


def start(tmp_path: Path, script: str, *, workers: int = 1, **variables: str) -> "subprocess.Popen[bytes]":
    """Start a crew whose workers are a shell script, run in ``tmp_path``."""
    text = f"cd {tmp_path}\n{script}\n"
    command = [
        sys.executable,
        "-m",
        "voxmix.engines.crew",
        "--workers",
        str(workers),
        "--",
        "bash",
        "-c",
        text,
    ]
    return subprocess.Popen(command, env={**os.environ, **variables}, stderr=subprocess.DEVNULL)


def until(true) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("codes", "whole"), [((0, 0), 0), ((0, 1), 1), ((1, 75), 75), ((0, 2), 2), ((0, 75), 75)]
)
def test_one_code_for_all(codes, whole, tmp_path):
    first, second = codes
    script = f"mkdir first 2> /dev/null && exit {first}; exit {second}"
    assert start(tmp_path, script, workers=2).wait() == whole


def test_every_worker_has_one_of_the_gpus_in_turn(tmp_path):
    script = "echo $CUDA_VISIBLE_DEVICES >> gpus"
    assert start(tmp_path, script, workers=3, CUDA_VISIBLE_DEVICES="GPU-4,GPU-6").wait() == 0
    assert sorted((tmp_path / "gpus").read_text(encoding="utf-8").split()) == ["GPU-4", "GPU-4", "GPU-6"]


def test_a_worker_that_is_alone_has_all_gpus(tmp_path):
    script = "echo $CUDA_VISIBLE_DEVICES >> gpus"
    assert start(tmp_path, script, CUDA_VISIBLE_DEVICES="GPU-4,GPU-6").wait() == 0
    assert (tmp_path / "gpus").read_text(encoding="utf-8") == "GPU-4,GPU-6\n"


def test_a_killed_worker_is_started_again_but_not_for_ever(tmp_path, monkeypatch):
    said = []
    again = crew.Crew(
        command=["bash", "-c", f"cd {tmp_path}; mktemp s.XXX; kill -9 $$"], workers=1, pause=0.01
    )
    assert again.work(said.append) == 1
    assert len(list(tmp_path.glob("s.*"))) == crew.STARTS == 6
    assert said == ["worker 0 was ended by signal 9; it is started again"] * 5
    once = crew.Crew(
        command=["bash", "-c", f"cd {tmp_path}; [ -e once ] && exit 0; touch once; kill -9 $$"],
        workers=1,
        pause=0.01,
    )
    assert once.work(said.append) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_lets_every_worker_stop_once(number, tmp_path):
    script = "trap 'echo told >> told; exit 143' TERM; mktemp up.XXXXXX; while :; do sleep 0.05; done"
    process = start(tmp_path, script, workers=2)
    until(lambda: len(list(tmp_path.glob("up.*"))) == 2)
    process.send_signal(number)
    process.send_signal(number)
    assert process.wait() == crew.WORK_LEFT
    assert (tmp_path / "told").read_text(encoding="utf-8") == "told\n" * 2
    assert len(list(tmp_path.glob("up.*"))) == 2


def test_nothing_to_do_is_refused(capsys):
    with pytest.raises(SystemExit) as refused:
        crew.main(["--workers", "2"])
    assert refused.value.code == 2
    assert "behind -- the command" in capsys.readouterr().err
