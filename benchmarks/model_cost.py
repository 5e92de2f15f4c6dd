"""What a draw costs: `mae` against `unetr` at equal encoder, memory per volume of batch, time over crop and tokens.

    python benchmarks/model_cost.py [--quick]

Every step is forward, loss, backward, clipping and AdamW on random crops, one thread; the two networks of a pair are
timed in alternation in one process, so that what else the machine does touches both. Memory is counted (what autograd
keeps, `voxmix.cost.footprint`) and measured (growth of a process's peak with the batch). Prints Markdown.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from voxmix._memory import process_peak_bytes
from voxmix.cost.footprint import footprint
from voxmix.encoders.networks import build_model, flops_per_draw, parameter_count
from voxmix.encoders.patches import token_count, visible_count
from voxmix.run_settings import ModelSettings, TrainingSettings
from voxmix.training.optimizer import build_optimizer

DEMO = ModelSettings(
    crop=32, patch=8, width=96, depth=3, heads=3, decoder_width=64, decoder_depth=1, decoder_heads=2
)
PROXY = ModelSettings(
    crop=96, patch=16, width=192, depth=6, heads=6, decoder_width=96, decoder_depth=2, decoder_heads=3
)
PAPER = ModelSettings()
NAMES = {"demo: 32^3, patch 8, width 96, depth 3": DEMO, "proxy: 96^3, patch 16, width 192, depth 6": PROXY,
         "paper: 96^3, patch 16, width 768, depth 12": PAPER}  # fmt: skip


def stepper(settings: ModelSettings, *, batch: int) -> Callable[[], None]:
    """Return a function that makes one training step on random crops."""
    model = build_model(settings, domains=2, seed=0)
    optimizer = build_optimizer(model, TrainingSettings())
    generator = torch.Generator().manual_seed(0)
    crops = torch.rand(batch, *(settings.crop,) * 3, generator=generator)
    order = torch.stack([torch.randperm(token_count(settings), generator=generator) for _ in range(batch)])
    seen, domain = visible_count(settings), torch.arange(batch) % 2
    visible, masked = order[:, :seen].contiguous(), order[:, seen:].contiguous()

    def step() -> None:
        predicted, truth = model(crops, visible, masked, domain)
        torch.nn.functional.mse_loss(predicted, truth).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def alternating(
    steps: dict[str, Callable[[], None]], *, repeats: int, inner: dict[str, int]
) -> dict[str, float]:
    """Return the median seconds of one step of each, taken in turns; ``inner`` steps are timed together."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            for _ in range(inner[name]):
                step()
            if repeat or repeats == 1:  # the first round warms up
                times[name].append((time.perf_counter() - began) / inner[name])
    return {name: float(np.median(values)) for name, values in times.items()}


def measured_bytes(name: str, settings: ModelSettings, batch: int) -> float:
    """Return the growth of a process's peak memory per draw, between a batch of one and of ``batch``."""
    peaks = []
    for rows in (1, batch):
        code = f"from model_cost import ModelSettings, peak; peak({settings!r}, {name!r}, {rows})"
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=sys.path[0]
        )
        peaks.append(float(done.stdout))
    return (peaks[1] - peaks[0]) / (batch - 1)


def peak(settings: ModelSettings, name: str, rows: int) -> None:
    """Print the peak memory of this process after two steps."""
    step = stepper(replace(settings, name=name), batch=rows)
    step()
    step()
    print(process_peak_bytes())


def compare_networks(repeats: int, *, names: list[str]) -> None:
    print("| encoder | network | parameters | GFLOP a draw | ms a draw | `mae` is faster | by FLOP |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for label in names:
        settings = NAMES[label]
        batch = 8 if settings is DEMO else 2 if settings is PROXY else 1
        pair = {name: replace(settings, name=name) for name in ("mae", "unetr")}
        steps = {name: stepper(item, batch=batch) for name, item in pair.items()}
        inner = {"mae": 20 if settings is DEMO else 4, "unetr": 1}
        seconds = alternating(steps, repeats=repeats if settings is not PAPER else 1, inner=inner)
        flops = {name: flops_per_draw(item) for name, item in pair.items()}
        for name, item in pair.items():
            count = parameter_count(build_model(item, domains=2, seed=0))
            ratio = seconds["unetr"] / seconds["mae"], flops["unetr"] / flops["mae"]
            more = f"{ratio[0]:.1f}x | {ratio[1]:.1f}x" if name == "mae" else " | "
            print(
                f"| {label if name == 'mae' else ''} | {name} | {count:,} | {flops[name] / 1e9:.2f} | "
                f"{1e3 * seconds[name] / batch:.1f} | {more} |",
                flush=True,
            )


def memory_of_draws(names: list[str]) -> None:
    print("| encoder | network | weights, gradients, AdamW | kept of a draw | measured growth a draw |")
    print("|---|---|---:|---:|---:|")
    for label in names:
        settings = NAMES[label]
        for name in ("mae", "unetr"):
            found = footprint(replace(settings, name=name))
            grown = measured_bytes(
                name, settings, batch=65 if settings is DEMO else 5 if name == "mae" else 3
            )
            print(
                f"| {label} | {name} | {found.state_bytes / 1e6:,.0f} MB | {found.draw_bytes / 1e6:,.1f} MB | "
                f"{grown / 1e6:,.1f} MB |",
                flush=True,
            )


def growth(repeats: int) -> None:
    print("| crop | patch | tokens | seen | GFLOP a draw | ms a draw (`mae`) | us a token | kept of a draw |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for crop, patch in ((32, 8), (32, 16), (48, 8), (48, 16), (64, 8), (64, 16), (96, 8), (96, 16)):
        settings = replace(PROXY, crop=crop, patch=patch)
        step = stepper(settings, batch=2)
        seconds = alternating({"mae": step}, repeats=repeats, inner={"mae": 2})["mae"] / 2
        tokens = token_count(settings)
        print(
            f"| {crop}^3 | {patch}^3 | {tokens} | {visible_count(settings)} | {flops_per_draw(settings) / 1e9:.2f} | "
            f"{1e3 * seconds:.1f} | {1e6 * seconds / tokens:.0f} | "
            f"{footprint(settings).draw_bytes / 1e6:.1f} MB |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the paper's size, and fewer repeats")
    options = parser.parse_args()
    torch.set_num_threads(1)
    repeats = 2 if options.quick else 5
    names = list(NAMES)[: 2 if options.quick else 3]
    print("\nOne training step at equal encoder\n")
    compare_networks(repeats, names=names)
    print("\nMemory per volume of batch\n")
    memory_of_draws(names)
    print("\nStep time over crop and tokens (width 192, depth 6)\n")
    growth(repeats)


if __name__ == "__main__":
    main()
