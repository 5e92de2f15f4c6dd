"""What is made for GPUs, as far as a CPU can show it: attention by PyTorch's kernel, one compilation, large evaluations."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from voxmix.compute import ComputeSettings
from voxmix.encoders import attention, mae
from voxmix.encoders.mae import TransformerBlock
from voxmix.encoders.networks import build_model, flops_per_draw
from voxmix.errors import InputError
from voxmix.objectives.mae import held_out_losses
from voxmix.objectives.mae.held_out_losses import measure
from voxmix.run_settings import ModelSettings
from voxmix.runs import read_run
from voxmix.study.presets import PRESETS
from voxmix.training.trunk import how_computed


def passed(block: TransformerBlock, tokens: torch.Tensor) -> list[torch.Tensor]:
    tokens = tokens.clone().requires_grad_()
    out = block(tokens)
    out.square().sum().backward()
    found = [out.detach(), tokens.grad, *(p.grad.clone() for p in block.parameters())]
    block.zero_grad()
    return found


@pytest.mark.parametrize("tokens", [216, 600])
def test_attention_by_the_kernel_is_attention_written_out(tokens, monkeypatch):
    torch.manual_seed(0)
    block, rows = TransformerBlock(24, 3, 48), torch.randn(2, tokens, 24)
    monkeypatch.setattr(mae, "kernel_pays", lambda count, device: False)
    written = passed(block, rows)
    monkeypatch.setattr(mae, "kernel_pays", lambda count, device: True)
    for a, b in zip(written, passed(block, rows), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "tokens", "pays"),
    [
        ("cpu", 216, False),
        ("cpu", 512, False),
        ("cpu", 513, True),
        ("cuda", 54, True),
        ("meta", 1728, False),
        ("mps", 216, False),
    ],
)
def test_where_the_kernel_pays(kind, tokens, pays):
    assert attention.kernel_pays(tokens, torch.device(kind)) is pays


def test_operations_of_a_draw_do_not_depend_on_the_kernel():
    small = {
        "width": 12,
        "depth": 1,
        "heads": 1,
        "decoder_width": 12,
        "decoder_depth": 1,
        "decoder_heads": 1,
        "patch": 2,
    }
    tokens, width, hidden = 1000, 12, 48
    found = flops_per_draw(ModelSettings(crop=20, **small)) / 3
    decoder = 2 * tokens * (4 * width * width + 2 * width * hidden) + 4 * tokens**2 * width
    encoder = 2 * 250 * (4 * width * width + 2 * width * hidden) + 4 * 250**2 * width
    assert found > decoder + encoder
    assert found < 1.2 * (decoder + encoder)


COUNTED = """
import torch
from torch._dynamo.testing import CompileCounter

compiler, compile_with, given = CompileCounter(), torch.compile, []

def counted(model, **options):
    given.append(options)
    return compile_with(model, backend=compiler, dynamic=options["dynamic"])

torch.compile = counted
torch._dynamo.config.error_on_recompile = True
"""


@pytest.mark.parametrize("micro_batch", [None, 3])
def test_a_run_is_compiled_once(micro_batch, finished, spec, tmp_path, child_arguments):
    """The last batch is smaller, as are pieces of 2: neither sets the compiler to work again."""
    folder = tmp_path / spec.run_id
    graphs = micro_batch is None
    script, *rest = child_arguments(spec, folder, compile=True, graphs=graphs, micro_batch=micro_batch)
    told = "\nprint('compiled', compiler.frame_count, *{str(o) for o in given})\n"
    Path(script).write_text(COUNTED + Path(script).read_text(encoding="utf-8") + told, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script, *rest], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    options = {"dynamic": False, "mode": "reduce-overhead" if graphs else None}
    assert done.stdout.splitlines()[-1] == f"compiled 1 {options}"
    for name, loss in read_run(finished).losses.items():
        assert read_run(folder).losses[name]["loss"] == pytest.approx(loss["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"graphs": True}, "set compute.compile to true"),
        ({"graphs": True, "compile": True, "micro_batch": 2}, "micro_batch 2; set compute.graphs to false"),
        ({"graphs": True, "compile": True, "devices": 2}, r"got 2 process\(es\)"),
    ],
)
def test_graphs_are_refused_where_they_do_not_go(settings, named):
    with pytest.raises(InputError, match=named):
        ComputeSettings(**settings)


def test_what_does_not_fit_is_measured_in_smaller_parts(spec, evaluation, monkeypatch):
    model = build_model(spec.model, domains=2, seed=0)
    whole, plain, sizes = measure(model, evaluation, adapters=("CT", "MR")), held_out_losses._sums, []

    def narrow(model, evaluation, some, served):
        sizes.append(len(some))
        if len(some) > 3:
            raise torch.OutOfMemoryError
        return plain(model, evaluation, some, served)

    monkeypatch.setattr(held_out_losses, "_sums", narrow)
    monkeypatch.setattr(held_out_losses, "crops_at_once", lambda evaluation, device: 12)
    found = measure(model, evaluation, adapters=("CT", "MR"))
    assert sizes == [12, 6, 3, 3, 3, 3]
    for name, loss in whole.items():
        assert found[name].loss == pytest.approx(loss.loss, rel=1e-6)
    monkeypatch.setattr(held_out_losses, "crops_at_once", lambda evaluation, device: 1)
    monkeypatch.setattr(
        held_out_losses, "reconstruct", lambda *a: (_ for _ in ()).throw(torch.OutOfMemoryError)
    )
    monkeypatch.setattr(held_out_losses, "_sums", plain)
    with pytest.raises(torch.OutOfMemoryError):
        measure(model, evaluation, adapters=("CT", "MR"))


def test_how_many_crops_are_measured_at_once(evaluation, monkeypatch):
    voxels = 16**3
    assert held_out_losses.crops_at_once(evaluation, device=torch.device("cpu")) == (1 << 21) // voxels
    monkeypatch.setattr(held_out_losses, "free_bytes", lambda device: 2 * 512 * voxels * 40)
    assert held_out_losses.crops_at_once(evaluation, device=torch.device("cuda")) == 40
    monkeypatch.setattr(held_out_losses, "free_bytes", lambda device: 0)
    assert held_out_losses.crops_at_once(evaluation, device=torch.device("cuda")) == 1


def test_rounding_to_10_bits_is_how_and_not_what():
    class OnGpu(Fabric):
        device = torch.device("cuda")

    on_gpu, on_cpu = (kind(accelerator="cpu", plugins=[LightningEnvironment()]) for kind in (OnGpu, Fabric))
    plain, rounded = (how_computed(ComputeSettings(tf32=flag), on_gpu) for flag in (False, True))
    assert rounded == {**plain, "tf32": True}
    assert how_computed(ComputeSettings(tf32=True), on_cpu) == {**plain, "device": "cpu"}


def test_only_the_paper_s_preset_computes_in_bf16():
    found = {name: preset.training.precision for name, preset in PRESETS.items()}
    assert found == {"demo": "32-true", "small": "32-true", "paper": "bf16-mixed"}
