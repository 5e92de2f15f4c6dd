"""Where a pretraining step of a small proxy spends its time, against the time of its matrix products alone.

    python benchmarks/pretraining_step.py [--seconds 20] [--precision bf16-mixed] [--compile]

One thread. The step is that of ``voxmix run``. Times of operations come from PyTorch's profiler, which slows a step down; the step
itself is timed without it, and what is left beside the operations is Python, dispatch, drawing and reading of files.
*Reading* is the part of the step, in other columns too, that draws numbers, reads crops and augments them. *Calls
alone*: the step of a network that makes the same calls on next to nothing: as deep, with as many heads and draws, patches of
4^3 and two columns a head. *Products alone*: the step's dense products, forward and backward, one after the other on
matrices that are there, without attention; by oneDNN and by MKL. With --compile, what the compiler has fused counts as
arithmetic where it computes anything. Volumes are random arrays a sixth larger than a crop, in a temporary cache; nothing is kept.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch._inductor.config

from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.encoders.patches import token_count, visible_count
from voxmix.mixture import Mixture
from voxmix.objectives.mae.objective import MaskedReconstruction
from voxmix.objectives.mae.views import Batch, Batches
from voxmix.run_settings import ModelSettings, Precision, TrainingSettings
from voxmix.training.devices import launch_fabric, tune_cpu
from voxmix.training.loop import make_step
from voxmix.training.pieces import Piece
from voxmix.training.session import Session
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.recipe import Recipe

BATCH, VOLUMES = 8, 20
_ROUNDS = 10
PROXY = ModelSettings(
    crop=96, patch=16, width=192, depth=6, heads=6, decoder_width=96, decoder_depth=2, decoder_heads=4
)
DEMO = ModelSettings(
    crop=32, patch=8, width=96, depth=3, heads=3, decoder_width=64, decoder_depth=1, decoder_heads=2
)
REGIMES = {"proxy, 96^3": PROXY, "demo, 32^3": DEMO}
DOMAINS = ("A-CT", "B-MR")
PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}
MOVING = {
    f"aten::{name}"
    for name in (
        "copy_",
        "cat",
        "stack",
        "index",
        "index_select",
        "_index_put_impl_",
        "fill_",
        "zero_",
        "index_add_",
    )
}
FUSED = "cpp_fused_"  # in the names of the compiler's own operations, before those of what it fused
FUSED_MOVING = {
    *map(str, range(10)),
    *(
        "arange",
        "cat",
        "clone",
        "copy",
        "embedding",
        "empty",
        "expand",
        "full",
        "index",
        "new",
        "permute",
        "select",
    ),
    *("slice", "squeeze", "stack", "t", "transpose", "unbind", "unsafe", "unsqueeze", "view", "zeros"),
}
ARITHMETIC = {
    f"aten::{name}"
    for name in (
        *("gelu", "gelu_backward", "_softmax", "_softmax_backward_data", "native_layer_norm"),
        *("native_layer_norm_backward", "mse_loss", "mse_loss_backward", "mul", "mul_", "add", "add_", "sub", "div", "div_"),
        *("sum", "mean", "pow", "pow_", "clamp_", "clamp", "addcmul", "neg", "linalg_vector_norm", "_fused_adamw_"),
        *("_foreach_norm", "_foreach_mul_", "_foreach_add_", "reciprocal", "isfinite", "lt", "le"),
    )
}  # fmt: skip


def voxmix_step(
    model: ModelSettings,
    cache: PreparedCache,
    folder: Path,
    *,
    batch: int = BATCH,
    precision: Precision = "32-true",
    compiled: bool = False,
) -> tuple[Callable[[], None], int]:
    """Return one step of the loop behind ``voxmix run``, and the parameters of its network."""
    spec = RunSpec(
        mixture=Mixture.uniform(DOMAINS),
        budget=batch << 14,
        seed=0,
        model=model,
        training=TrainingSettings(batch_size=batch, precision=precision),
    )
    quiet = ComputeSettings(device="cpu", trackers=(), pictures=False, compile=compiled)
    fabric = launch_fabric(quiet, precision=spec.training.precision)
    objective = MaskedReconstruction(spec=spec, cache=cache)
    session = Session.start(objective, fabric, compute=quiet, folder=folder)
    session.network.train()
    return lambda: make_step(session), sum(p.numel() for p in session.model.parameters())


def random_cache(root: Path, *, volumes: int, edge: int) -> PreparedCache:
    (root / "volumes").mkdir()
    made = []
    for name in DOMAINS:
        for i in range(volumes):
            file = f"volumes/{name}-{i}.npy"
            np.save(root / file, np.random.default_rng(i).random((edge,) * 3).astype(np.float16))
            made.append(
                PreparedVolume(
                    key=file,
                    domain=name,
                    subject=str(i),
                    split="train",
                    shape=(edge,) * 3,
                    spacing_mm=1.0,
                    file=file,
                )
            )
    return PreparedCache(root=root, volumes=tuple(made), recipe=Recipe(spacing_mm=1.0).resolved(DOMAINS))


def matrix_products(model: ModelSettings, batch: int) -> list[tuple[int, int, int, int]]:
    """Return (how often, rows, inner, columns) of every dense product of a forward pass; no attention."""
    seen, tokens, voxels = visible_count(model), token_count(model), model.grid.patch_voxels

    def blocks(count: int, width: int, depth: int) -> list[tuple[int, int, int, int]]:
        mlp = round(width * model.mlp_ratio)
        shapes = [(width, 3 * width), (width, width), (width, mlp), (mlp, width)]
        return [(depth, batch * count, a, b) for a, b in shapes]

    return [
        (1, batch * seen, voxels, model.width),
        *blocks(seen, model.width, model.depth),
        (1, batch * seen, model.width, model.decoder_width),
        *blocks(tokens, model.decoder_width, model.decoder_depth),
        (1, batch * (tokens - seen), model.decoder_width, voxels),
    ]


def seconds_of_products(model: ModelSettings, batch: int, repeats: int = 30) -> float:
    """Return seconds of the products of one step: forward, and two of the same size backward."""
    total = 0.0
    for often, rows, inner, columns in matrix_products(model, batch):
        a, b, c = torch.randn(rows, inner), torch.randn(inner, columns), torch.randn(rows, columns)
        for _ in range(3):
            a @ b, c @ b.T, a.T @ c
        began = time.perf_counter()
        for _ in range(repeats):
            a @ b, c @ b.T, a.T @ c
        total += often * (time.perf_counter() - began) / repeats
    return total


@contextmanager
def timed_reading() -> Iterator[list[float]]:
    """Give the seconds of every batch that is read inside the block."""
    seconds: list[float] = []
    plain = Batches.read

    def read(batches: Batches, piece: Piece) -> Batch:
        began = time.perf_counter()
        batch = plain(batches, piece)
        seconds.append(time.perf_counter() - began)
        return batch

    Batches.read = read  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        Batches.read = plain  # type: ignore[method-assign]


def profiled(step: Callable[[], None], *, seconds: float) -> tuple[float, dict[str, float], dict[str, float]]:
    """Return seconds of a step, its seconds in each kind of operation, and in each operation.

    Timed and profiled in turns, the best of ten each: other work on the machine disturbs one or the other.
    """
    for _ in range(5):
        step()
    whole, each = float("inf"), None
    for _ in range(_ROUNDS):
        began, steps = time.perf_counter(), 0
        while steps < 5 or time.perf_counter() < began + seconds / _ROUNDS:
            step()
            steps += 1
        whole = min(whole, (time.perf_counter() - began) / steps)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
            for _ in range(max(steps // 2, 5)):
                step()
        times = {e.key: 1e-6 * e.self_cpu_time_total / max(steps // 2, 5) for e in found.key_averages()}
        if each is None or sum(times.values()) < sum(each.values()):
            each = times
    assert each is not None
    kinds = {"matrix products": 0.0, "other arithmetic": 0.0, "copies in memory": 0.0}
    for name, value in each.items():
        kind = kind_of(name)
        if kind is not None:
            kinds[kind] += value
    return whole, kinds, each


def kind_of(operation: str) -> str | None:
    if operation in PRODUCTS:
        return "matrix products"
    if FUSED in operation:
        words = re.sub(r"\d+$", "", operation.split(FUSED)[1]).strip("_").split("_")
        return "copies in memory" if FUSED_MOVING.issuperset(filter(None, words)) else "other arithmetic"
    if operation in MOVING:
        return "copies in memory"
    return "other arithmetic" if operation in ARITHMETIC else None


def seconds_of_calls(model: ModelSettings, batch: int, *, compiled: bool) -> float:
    """Return seconds of the step of a network with the calls of ``model`` and next to no arithmetic."""
    nothing = replace(model, crop=8, patch=4, width=2 * model.heads, decoder_width=2 * model.decoder_heads)
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as folder:
        cache = random_cache(Path(root), volumes=VOLUMES, edge=9)
        step, _ = voxmix_step(nothing, cache, Path(folder), batch=batch, compiled=compiled)
        return best_of(step)


def best_of(step: Callable[[], None], *, rounds: int = 30, steps: int = 10) -> float:
    """Return seconds of a step, the best of some rounds."""
    for _ in range(5):
        step()
    found = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(steps):
            step()
        found = min(found, (time.perf_counter() - began) / steps)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="32-true")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [*((name, BATCH) for name in REGIMES), ("demo, 32^3", 4 * BATCH)]
    by_mkl = [seconds_of_products(REGIMES[regime], batch) for regime, batch in cases]
    tune_cpu(torch.device("cpu"))
    if options.compile:
        torch._inductor.config.cpp.enable_kernel_profile = True  # names what was fused
    heads = "matrix products | other arithmetic | copies in memory | rest | reading | calls alone | products alone | by MKL"
    print(f"| regime | batch | step, ms | {heads} |")
    print("|---|" + "---:|" * 10)
    largest = []
    for (regime, batch), mkl in zip(cases, by_mkl, strict=True):
        model = REGIMES[regime]
        with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as folder:
            cache = random_cache(Path(root), volumes=VOLUMES, edge=model.crop * 7 // 6)
            step, _ = voxmix_step(
                model, cache, Path(folder), batch=batch, precision=options.precision, compiled=options.compile
            )
            whole, kinds, each = profiled(step, seconds=options.seconds)
            with timed_reading() as reading:
                for _ in range(20):
                    step()
        parts = [*kinds.values(), whole - sum(kinds.values()), float(np.median(reading))]
        parts.append(seconds_of_calls(model, batch, compiled=options.compile))
        parts += [seconds_of_products(model, batch), mkl]
        shares = " | ".join(f"{part / whole:.0%}" for part in parts)
        print(f"| {regime} | {batch} | {1e3 * whole:.1f} | {shares} |", flush=True)
        top = sorted(each.items(), key=lambda item: -item[1])[:12]
        named = ", ".join(f"{name.removeprefix('aten::')} {value / whole:.1%}" for name, value in top)
        largest.append(f"{regime}, batch {batch}: {named}")
    print("\nLargest operations: " + "; ".join(largest) + ".")


if __name__ == "__main__":
    main()
