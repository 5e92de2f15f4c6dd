"""What a CPU is set to changes speed and nothing else."""

import numpy as np
import pytest
import torch

from voxmix.objectives.mae.parameters import draw_parameters
from voxmix.objectives.mae.views import ParametersAhead
from voxmix.training import devices


@pytest.fixture
def precision():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def test_products_stay_as_exact_as_float32(precision):
    devices.use_fast_products()
    for shape in ((512, 96), (96, 512), (4096, 192), (7, 3)):
        a, b = torch.rand(130, shape[0]), torch.rand(*shape)
        exact = a.double() @ b.double()
        assert float(((a @ b) - exact).abs().max() / exact.max()) < 1e-5


def test_a_processor_that_would_round_is_left_as_it_was(precision, monkeypatch):
    def rounds(a, b):
        if torch.get_float32_matmul_precision() == "medium" and a.dtype is torch.float32:
            return (a.bfloat16() @ b.bfloat16()).float()
        return plain(a, b)

    plain = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounds)
    devices.use_fast_products()
    assert torch.get_float32_matmul_precision() == "highest"


def test_who_has_set_each_backend_has_decided(precision, monkeypatch):
    def mixed():
        raise RuntimeError("you have used mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    asked = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", asked.append)
    devices.use_fast_products()
    assert asked == []
    monkeypatch.undo()


def test_a_gpu_run_changes_nothing_of_the_process(precision, monkeypatch):
    monkeypatch.setattr(devices, "keep_freed_memory", lambda: pytest.fail("not for a GPU"))
    devices.tune_cpu(torch.device("cuda"))
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_system_without_glibc_is_left_alone(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(devices.ctypes, "CDLL", missing)
    devices.keep_freed_memory()


def test_parameters_made_ahead_are_those_of_each_draw(spec):
    ahead = ParametersAhead(spec, rows=16)
    for start, stop in ((0, 4), (4, 8), (12, 20), (15, 16), (3, 5), (100, 140), (139, 141)):
        found = ahead(start, stop)
        alone = draw_parameters(start, stop, seed=spec.seed, model=spec.model, training=spec.training)
        assert len(found) == stop - start
        for name in ("corner", "scale", "gamma", "noise", "noise_offset", "visible", "masked"):
            assert np.array_equal(getattr(found, name), getattr(alone, name))
