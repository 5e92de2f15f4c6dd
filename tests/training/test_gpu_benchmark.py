"""The benchmark for GPUs runs to its end on a CPU, at a tiny size, and what it prints adds up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from voxmix.encoders.networks import flops_per_draw
from voxmix.run_settings import ModelSettings

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
MODEL = ModelSettings(
    crop=16, patch=4, width=24, depth=2, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
)


@pytest.mark.slow
def test_the_benchmark_runs_without_a_gpu(tmp_path):
    kept = tmp_path / "kept.json"
    command = [sys.executable, str(SCRIPT), "--tiny", "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(kept.read_text(encoding="utf-8"))
    assert found["about"]["device"] == "CPU"
    assert len(found["cases"]) == 8
    rows = [line for line in done.stdout.splitlines() if line.startswith(("| voxmix", "| monai"))]
    assert len(rows) == 8
    for case, row in zip(found["cases"], rows, strict=True):
        assert "failed" not in case
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[0] == f"{case['loop']} {case['network']}"
        if case["runs"] == 1:
            assert case["draws/s"] == pytest.approx(1e3 * case["batch"] / case["step"], rel=1e-6)
            assert case["host"] + case["sync"] == pytest.approx(case["step"], rel=1e-6)
        if case["network"] == "mae":
            tflops = flops_per_draw(MODEL) * case["draws/s"] / 1e12
            assert float(cells[8]) == pytest.approx(tflops, rel=0.01)
        assert ("forward" in case) == (case["loop"] == "voxmix" and case["runs"] == 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_it_says_so():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 2
    assert "no CUDA device here; --tiny" in done.stderr
