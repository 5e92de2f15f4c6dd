"""What only a CUDA device can show: make test-gpu. Nobody has run these yet."""

from dataclasses import replace

import pytest
import torch

from voxmix.compute import ComputeSettings
from voxmix.encoders.mae import TransformerBlock
from voxmix.objectives.intensities import augment, noise_bank
from voxmix.objectives.mae import train
from voxmix.objectives.mae.crop_loader import CropsFromHost, CropsOfResident
from voxmix.objectives.mae.objective import MaskedReconstruction
from voxmix.objectives.mae.parameters import draw_parameters
from voxmix.objectives.mae.views import Batches, plan_run
from voxmix.run_settings import ModelSettings, TrainingSettings
from voxmix.runs import read_run
from voxmix.training.devices import allow_tf32, launch_fabric
from voxmix.training.loop import make_step
from voxmix.training.pieces import Piece
from voxmix.training.session import Session

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


@pytest.mark.parametrize(
    "options",
    [
        {"loaders": 0, "resident": "off"},
        {"loaders": 2, "resident": "off"},
        {"resident": "on"},
        {"compile": True},
        {"compile": True, "graphs": True},
        {"micro_batch": 3},
        {"tf32": True},
        {"checkpoint_seconds": 0.0},
    ],
    ids=str,
)
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


def session_of(spec, cache, folder, **options):
    compute = replace(GPU, trackers=(), pictures=False, **options)
    fabric = launch_fabric(compute, precision=spec.training.precision)
    objective = MaskedReconstruction(spec=spec, cache=cache)
    return Session.start(objective, fabric, compute=compute, folder=folder)


@pytest.mark.parametrize("name", ["mae", "unetr"])
@pytest.mark.parametrize("resident", ["on", "off"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_nothing_in_a_step_waits_for_the_gpu(name, resident, precision, spec, cache, tmp_path):
    training = replace(spec.training, precision=precision)
    other = replace(spec, model=replace(spec.model, name=name), training=training)
    session = session_of(other, cache, tmp_path, resident=resident, loaders=0)
    try:
        for _ in range(3):  # moments are made, kernels chosen
            make_step(session)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        for _ in range(5):
            make_step(session)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        session.close()


@pytest.mark.parametrize("options", [{"resident": "on"}, {"loaders": 0}, {"loaders": 3}], ids=str)
def test_crops_on_a_gpu_are_those_of_the_files(options, spec, cache):
    """Many batches at once under way: no buffer is written before it was copied, none is cast before it is there."""
    plain = replace(spec.training, scale_probability=0.0, contrast_probability=0.0, noise_probability=0.0)
    spec = replace(spec, training=plain)
    plan, found = plan_run(spec, 100, cache=cache), {}
    where = {"resident": "off", **options}
    for device in ("cpu", "cuda"):
        fabric = launch_fabric(replace(GPU, device=device), precision="32-true")
        batches = Batches(
            spec, plan, cache=cache, fabric=fabric, rows=8, **(where if device == "cuda" else {})
        )
        pieces = [
            Piece(first=n, last=min(n + 8, 100), weight=1.0, start=n, stop=n + 8) for n in range(0, 100, 8)
        ]
        read = []
        for number, piece in enumerate(pieces):
            batches.expect(pieces[number:])
            batch = batches.read(piece)
            read.append((batch.crops.clone(), batch.visible, batch.masked, batch.domain))
        found[device] = [tuple(part.cpu() for part in one) for one in read]
        batches.close()
    for one, other in zip(found["cpu"], found["cuda"], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_augmentation_on_a_gpu_is_that_of_a_cpu():
    model = ModelSettings(crop=16, patch=4)
    training = TrainingSettings(noise_probability=0.7, contrast_probability=0.7)
    drawn = draw_parameters(0, 16, seed=1, model=model, training=training)
    crops = torch.rand(16, 16, 16, 16)
    results = [
        augment(crops.to(device), drawn, noise_bank(voxels=16**3, device=torch.device(device))).cpu()
        for device in ("cpu", "cuda")
    ]
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_volumes_stay_on_a_gpu_by_themselves_where_they_fit(spec, cache, tmp_path, monkeypatch):
    for share, kind in ((0.5, CropsOfResident), (0.0, CropsFromHost)):
        monkeypatch.setattr("voxmix.training.resident._SHARE", share)
        session = session_of(spec, cache, tmp_path / str(share))
        assert isinstance(session.views._crops, kind)
        session.close()


@pytest.mark.parametrize("tokens", [54, 216, 1728])
def test_attention_on_a_gpu_is_that_of_a_cpu(tokens):
    torch.manual_seed(0)
    allow_tf32(False)
    block, rows = TransformerBlock(48, 4, 96), torch.randn(2, tokens, 48)
    torch.testing.assert_close(block.cuda()(rows.cuda()).cpu(), block.cpu()(rows), rtol=1e-3, atol=1e-4)


def test_a_run_stopped_on_a_gpu_goes_on(spec, cache, evaluation, finished, tmp_path):
    """The state is that of the step after which it was taken, though the steps after it were under way at once."""
    session = session_of(spec, cache, tmp_path)
    for _ in range(5):
        make_step(session)
    session.save()
    for _ in range(3):
        make_step(session)
    session.close()
    train(spec, cache=cache, evaluation=evaluation, folder=tmp_path, compute=GPU)
    for name, loss in read_run(finished).losses.items():
        assert read_run(tmp_path).losses[name]["loss"] == pytest.approx(loss["loss"], rel=0.02)


def test_no_whole_products_are_rounded_unless_allowed():
    a = torch.rand(512, 512, generator=torch.Generator().manual_seed(0))
    exact = a.double() @ a.double()
    errors = []
    for allowed in (False, True):
        allow_tf32(allowed)
        errors.append(float(((a.cuda() @ a.cuda()).cpu() - exact).abs().max() / exact.max()))
    allow_tf32(False)
    assert errors[0] < 1e-5
