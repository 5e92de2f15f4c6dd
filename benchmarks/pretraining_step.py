"""Where a pretraining step of a small proxy spends its time, against the time of its matrix products alone.

    python benchmarks/pretraining_step.py [--batch 8] [--steps 100] [--threads 1]

Volumes are random arrays of 44^3 voxels in a temporary cache; nothing is downloaded or kept.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from voxmix.design import ModelSettings, TrainingSettings
from voxmix.mixture import Mixture
from voxmix.pretraining.augment import augment, noise_bank
from voxmix.pretraining.build import build_model, flops_per_draw, parameter_count
from voxmix.pretraining.crops import CropReader
from voxmix.pretraining.masking import token_count, visible_count
from voxmix.pretraining.optimizer import build_optimizer
from voxmix.pretraining.sampling import draw_parameters, plan_draws
from voxmix.volumes.cache import PreparedCache, PreparedVolume
from voxmix.volumes.recipe import Recipe

DEMO = ModelSettings(
    crop=32, patch=8, width=96, depth=3, heads=3, decoder_width=64, decoder_depth=1, decoder_heads=2
)
DOMAINS = ("A-CT", "B-MR")


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
    seen, tokens, voxels = visible_count(model), token_count(model), model.patch**3

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


def profile(model_settings: ModelSettings, *, batch: int, steps: int, root: Path) -> dict[str, float]:
    """Return seconds per step of each part of the loop in ``voxmix.pretraining.train``."""
    training = TrainingSettings(batch_size=batch)
    cache = random_cache(root, volumes=20, edge=model_settings.crop * 11 // 8)
    plan = plan_draws(Mixture.uniform(DOMAINS), budget=batch * (steps + 5), seed=0, volumes=(20, 20))
    reader = CropReader(cache, plan, crop=model_settings.crop)
    host = torch.empty((batch, *(model_settings.crop,) * 3))
    bank = noise_bank(voxels=model_settings.crop**3, device=torch.device("cpu"))
    model = build_model(model_settings, domains=2, seed=0)
    optimizer = build_optimizer(model, training)
    spent: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        spent[name] = spent.get(name, 0.0) + now - clock
        clock = now

    for step in range(steps + 5):
        if step == 5:
            spent.clear()
        clock = time.perf_counter()
        start, stop = step * batch, (step + 1) * batch
        drawn = draw_parameters(start, stop, seed=0, model=model_settings, training=training)
        lap("draw numbers")
        crops = reader.read(start, drawn, host)
        lap("read crops")
        augment(crops, drawn, bank)
        lap("augment")
        visible, masked = torch.from_numpy(drawn.visible), torch.from_numpy(drawn.masked)
        predicted, truth = model(crops, visible, masked, reader.domains(start, stop))
        loss = torch.nn.functional.mse_loss(predicted, truth)
        lap("forward")
        loss.backward()
        lap("backward")
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        lap("clip and update")
    return {name: value / steps for name, value in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        spent = profile(DEMO, batch=options.batch, steps=options.steps, root=Path(folder))
    total = sum(spent.values())
    products = seconds_of_products(DEMO, options.batch)
    flops = flops_per_draw(DEMO) * options.batch
    parameters = parameter_count(build_model(DEMO, domains=2, seed=0))
    print(f"{parameters:,} parameters, batch {options.batch}, {options.threads} thread(s)")
    for name, value in spent.items():
        print(f"{name:18} {1e6 * value / options.batch:8.0f} us per draw  {value / total:6.1%}")
    print(f"{'step':18} {1e6 * total / options.batch:8.0f} us per draw  {options.batch / total:.0f} draws/s")
    print(
        f"matrix products alone: {products / total:.1%} of the step, {flops / total / 1e9:.1f} GFLOP/s reached"
    )


if __name__ == "__main__":
    main()
