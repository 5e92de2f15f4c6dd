"""Several processes, precisions and the compiler: the same run, but for rounding."""

import importlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from voxmix.compute import ComputeSettings
from voxmix.errors import InputError
from voxmix.objectives.mae import train
from voxmix.runs import read_run
from voxmix.training import checkpoint
from voxmix.training.devices import launch_fabric
from voxmix.training.launchers import cluster_environment
from voxmix.training.pieces import pieces_of
from voxmix.training.run_checks import naming_failed_compiler


def near(first, second, rel=1e-3):
    a, b = read_run(first).losses, read_run(second).losses
    return all(a[name]["loss"] == pytest.approx(b[name]["loss"], rel=rel) for name in b)


@pytest.mark.parametrize("sharing", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp"])
def test_two_processes_train_what_one_does(
    sharing, spec, cache, evaluation, tmp_path, metrics, train_together
):
    odd = replace(spec, budget=97)  # the last batch has one draw: one of the processes has none
    alone = tmp_path / "one" / odd.run_id
    train(odd, cache=cache, evaluation=evaluation, folder=alone, threads=1)
    folder = tmp_path / "two" / odd.run_id
    train_together(odd, folder, devices=2, sharing=sharing, micro_batch=3)
    one, two = metrics(alone), metrics(folder)
    assert [row["step"] for row in two] == list(range(1, 14))
    assert all(b["loss"] == pytest.approx(a["loss"], rel=1e-3) for a, b in zip(one, two, strict=True))
    assert two[0]["gradient_norm"] == pytest.approx(one[0]["gradient_norm"], rel=1e-5)
    assert read_run(folder).details["computed"]["devices"] == 2
    assert read_run(folder).details["computed"]["strategy"] == sharing
    assert near(folder, alone)


@pytest.mark.slow
def test_a_state_of_one_process_is_taken_up_by_two_that_share_the_network(
    spec, cache, evaluation, tmp_path, dies_at, train_together, finished
):

    folder = tmp_path / spec.run_id
    often = ComputeSettings(checkpoint_seconds=0.0)
    with pytest.raises(RuntimeError, match="killed"):
        train(
            spec,
            cache=cache,
            evaluation=evaluation,
            folder=folder,
            threads=1,
            compute=often,
            progress=dies_at(48),
        )
    assert checkpoint.load_state(folder)["steps"] == 6
    train_together(spec, folder, devices=2, sharing="fsdp")
    assert near(folder, finished)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [1, 2, 3, 8])
@pytest.mark.parametrize("total", [1, 4, 7, 8])
def test_processes_share_a_batch_without_gap_or_overlap_in_as_many_pieces(world, rows, total):
    shares = [pieces_of(10, 10 + total, rank=rank, world=world, rows=rows) for rank in range(world)]
    assert len({len(pieces) for pieces in shares}) == 1
    counted = [p for pieces in shares for p in pieces if p.weight]
    drawn = [n for p in counted for n in range(p.first, p.last)]
    assert drawn == list(range(10, 10 + total))
    assert all(0 < p.last - p.first <= rows for pieces in shares for p in pieces)
    assert sum(p.weight for p in counted) == pytest.approx(world)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true"])
def test_mixed_precision_trains_near_full_precision(
    precision, finished, spec, cache, evaluation, tmp_path, metrics
):
    half = replace(spec, training=replace(spec.training, precision=precision))
    assert half.run_id != spec.run_id
    folder = tmp_path / half.run_id
    train(half, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    assert near(folder, finished, rel=0.03)
    assert read_run(folder).losses != read_run(finished).losses
    assert read_run(folder).details["computed"]["precision"] == precision
    pairs = list(zip(metrics(folder), metrics(finished), strict=True))
    assert all(a["loss"] == pytest.approx(b["loss"], rel=0.02) for a, b in pairs)


def test_a_run_in_half_precision_keeps_the_scale_of_its_gradients(
    spec, cache, evaluation, tmp_path, monkeypatch, dies_at, same_run
):
    half = replace(spec, training=replace(spec.training, precision="16-mixed"))
    calm, folder = tmp_path / "calm" / half.run_id, tmp_path / "killed" / half.run_id
    # A scale too large at first: the first steps overflow, are skipped, and the scale halves each time.
    first_scale = 2.0**40
    plain_scaler = torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp,
        "GradScaler",
        lambda device: plain_scaler(device, init_scale=first_scale, growth_interval=4),
    )
    train(half, cache=cache, evaluation=evaluation, folder=calm, threads=1)

    often = ComputeSettings(checkpoint_seconds=0.0)
    with pytest.raises(RuntimeError, match="killed"):
        train(
            half,
            cache=cache,
            evaluation=evaluation,
            folder=folder,
            threads=1,
            compute=often,
            progress=dies_at(72),
        )
    assert checkpoint.load_state(folder)["precision"]["scale"] < first_scale
    train(half, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    assert same_run(calm, folder)


SBATCH = {  # a batch script of four tasks, where nothing was started by srun; salloc's shell has the same
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "pretrain",
    "SLURM_NTASKS": "4",
    "SLURM_NPROCS": "4",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NODELIST": "node[07-08]",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
SRUN = SBATCH | {
    "SLURM_NTASKS": "2",
    "SLURM_NNODES": "1",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
}
STUDY_WORKER = {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2", "NODE_RANK": "0"}
TORCHRUN = STUDY_WORKER | {"TORCHELASTIC_RUN_ID": "x", "GROUP_RANK": "0"}


@pytest.fixture
def fake_srun(tmp_path, monkeypatch):
    """Let ``srun`` stand first on the PATH, and take away what another launcher has set."""
    program = tmp_path / "bin" / "srun"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    for name in {*SRUN, *TORCHRUN, "SLURM_STEP_TASKS_PER_NODE"}:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("variables", [{}, SBATCH, SRUN, {"LT_DEVICES": "3", "LT_PRECISION": "bf16-mixed"}])
def test_a_run_of_one_process_trains_alone_in_every_job(
    variables, fake_srun, finished, spec, cache, evaluation, tmp_path, same_run
):
    for name, value in variables.items():
        fake_srun.setenv(name, value)
    folder = tmp_path / spec.run_id
    train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1)  # warnings are errors here
    assert same_run(folder, finished)
    assert read_run(folder).details["computed"]["devices"] == 1
    assert {name: os.environ[name] for name in variables} == variables


@pytest.mark.parametrize(
    ("variables", "kind", "external"),
    [
        ({}, "LightningEnvironment", False),
        (SBATCH, "LightningEnvironment", False),
        (SRUN, "SLURMEnvironment", True),
        (STUDY_WORKER, "LightningEnvironment", True),
        (SRUN | STUDY_WORKER, "LightningEnvironment", True),
        (SBATCH | TORCHRUN, "TorchElasticEnvironment", True),
    ],
)
def test_ranks_come_from_whoever_has_started_the_processes(variables, kind, external, fake_srun):
    for name, value in variables.items():
        fake_srun.setenv(name, value)
    environment = cluster_environment(ComputeSettings(devices=2, device="cpu"))
    assert type(environment).__name__ == kind
    assert environment.creates_processes_externally is external
    if external:
        assert environment.local_rank() == 1
    if kind in ("SLURMEnvironment", "TorchElasticEnvironment"):
        assert (environment.global_rank(), environment.world_size()) == (1, 2)
    if not external:
        with pytest.raises(InputError, match="only one was started"):
            launch_fabric(ComputeSettings(devices=2, device="cpu"), precision="32-true")


@pytest.mark.parametrize("variables", [SRUN, TORCHRUN])
def test_another_number_of_processes_than_was_started_is_refused(variables, fake_srun):
    for name, value in variables.items():
        fake_srun.setenv(name, value)
    with pytest.raises(InputError, match="device cpu with 3 process"):
        launch_fabric(ComputeSettings(devices=3, device="cpu"), precision="32-true")
    if variables is TORCHRUN:
        with pytest.raises(InputError, match=r"devices=1.*does not match the world size"):
            launch_fabric(ComputeSettings(device="cpu"), precision="32-true")


@pytest.mark.parametrize(
    ("placed", "settings", "words"),
    [
        ("2", {"nodes": 2}, r"2 task\(s\) on 1 machine\(s\), and .* are 1 on each of 2; give srun --nodes 2 --ntasks-per-node 1"),
        ("1(x2)", {"devices": 2}, r"1 task\(s\) on 2 machine\(s\), and .* are 2 on each of 1"),
        ("3,1", {"nodes": 2, "devices": 2}, r"3, 1 task\(s\) on 2 machine\(s\), and .* are 2 on each of 2"),
        ("2", {"devices": 2}, None),
        ("2(x2)", {"nodes": 2, "devices": 2}, None),
    ],
)  # fmt: skip
def test_where_srun_has_put_its_tasks_counts_and_not_how_it_was_asked(placed, settings, words, fake_srun):
    """``srun -n 2`` says nothing of tasks per machine."""
    for name, value in {**SRUN, "SLURM_STEP_TASKS_PER_NODE": placed}.items():
        if name != "SLURM_NTASKS_PER_NODE":
            fake_srun.setenv(name, value)
    if words is None:
        assert cluster_environment(ComputeSettings(device="cpu", **settings)).global_rank() == 1
    else:
        with pytest.raises(InputError, match=words):
            launch_fabric(ComputeSettings(device="cpu", **settings), precision="32-true")
    assert "SLURM_NTASKS_PER_NODE" not in os.environ


def test_pairs_of_settings_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match="16-mixed does not go with sharing fsdp"):
        launch_fabric(ComputeSettings(devices=2, sharing="fsdp"), precision="16-mixed")
    with pytest.raises(InputError, match=r"only one was started; start it with torchrun --nproc-per-node 2"):
        launch_fabric(ComputeSettings(devices=2, device="cpu"), precision="32-true")
    with pytest.raises(InputError, match="16-mixed needs CUDA or a CPU"):
        launch_fabric(ComputeSettings(device="mps"), precision="16-mixed")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"device cuda .* cannot be used here"):
            launch_fabric(ComputeSettings(device="cuda"), precision="32-true")


@pytest.mark.slow
def test_the_compiled_network_trains_the_same_run(finished, spec, tmp_path, metrics, child_arguments):
    folder = tmp_path / spec.run_id  # in a process of its own: the tests' shape checks cannot be compiled
    command = [sys.executable, *child_arguments(spec, folder, compile=True)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_run(folder).details["computed"]["compile"] is True
    assert near(folder, finished)
    pairs = list(zip(metrics(folder), metrics(finished), strict=True))
    assert all(a["loss"] == pytest.approx(b["loss"], rel=1e-3) for a, b in pairs)


def test_what_a_compiler_lacks_is_told_in_its_own_words():
    said = "CppCompileError: C++ compile error\n\nOutput:\n/tmp/x.cpp:45:10: fatal error: Python.h: No such file or directory\n"
    error = importlib.import_module("torch._dynamo.exc").TorchDynamoException(said)
    lacks = pytest.raises(InputError, match=r"here \(Python.h: No such file or directory\); .*python3-dev")
    with lacks, naming_failed_compiler(ComputeSettings(compile=True)):
        raise error


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_named(spec, tmp_path, child_arguments):
    command = [sys.executable, *child_arguments(spec, tmp_path / spec.run_id, compile=True)]
    bare = {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=False, env=os.environ | bare
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "torch.compile cannot build the network here" in last
    assert "install g++" in last
    assert "--no-compile" in last
