"""What only a CUDA device can show: make test-gpu. Nobody has run these yet."""

from dataclasses import replace

import pytest
import torch

from voxmix.compute import ComputeSettings
from voxmix.objectives.mae import train
from voxmix.runs import read_run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
GPU = ComputeSettings(device="cuda")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_gpu_trains_near_what_a_cpu_does(precision, spec, cache, evaluation, finished, tmp_path):
    other = replace(spec, training=replace(spec.training, precision=precision))
    folder = tmp_path / other.run_id
    train(other, cache=cache, evaluation=evaluation, folder=folder, compute=GPU)
    assert read_run(folder).details["computed"]["device"] == "cuda"
    for name, loss in read_run(finished).losses.items():
        assert read_run(folder).losses[name]["loss"] == pytest.approx(loss["loss"], rel=0.05)


@pytest.mark.parametrize("options", [{"loaders": 2}, {"compile": True}, {"micro_batch": 3}])
def test_how_a_run_is_computed_on_a_gpu_changes_it_by_rounding_alone(
    options, spec, cache, evaluation, finished, tmp_path
):
    folder = tmp_path / spec.run_id
    train(spec, cache=cache, evaluation=evaluation, folder=folder, compute=replace(GPU, **options))
    for name, loss in read_run(finished).losses.items():
        assert read_run(folder).losses[name]["loss"] == pytest.approx(loss["loss"], rel=0.02)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_gpus_train_what_one_cpu_does(strategy, spec, finished, tmp_path, train_together):
    folder = tmp_path / spec.run_id
    train_together(spec, folder, devices=2, strategy=strategy, device="cuda")
    for name, loss in read_run(finished).losses.items():
        assert read_run(folder).losses[name]["loss"] == pytest.approx(loss["loss"], rel=0.02)


def test_out_of_memory_on_a_gpu_names_the_setting(spec, cache, evaluation, tmp_path):
    from voxmix.errors import VoxmixError

    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with pytest.raises(VoxmixError, match=r"out of memory with 8 draws at once.*micro_batch to 4"):
            train(spec, cache=cache, evaluation=evaluation, folder=tmp_path, compute=GPU)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
