"""Pretraining on a GPU: draws per second, utilization, waiting, memory; beside a plain loop of MONAI's parts.

    python benchmarks/gpu.py [--full] [--seconds 10] [--networks mae unetr] [--json FILE]
    python benchmarks/gpu.py --tiny       # on a CPU, in a minute: whether this script works

The paper's encoder (ViT-B, 96^3 crops, patches of 16) under `mae` and under its UNETR, on random volumes a sixth larger than a crop.
Each case has a process of its own; without --full one thing is changed at a time, beginning from bf16, resident volumes, a batch of 32. *MFU* is
counted operations (forward and twice that backward) over the device's peak of that number format: by its data sheet where
the device is known here, else that of a product of two large matrices, which is always printed too. The parts of a step are timed one after the other
with the device waited for between them, so that they add up to more than a step; *waits* is the host's time for the
next batch, before anything is copied. Several runs on one GPU begin together and their draws are summed. `channels last` keeps
the kernels of convolutions in that order (AdamW then takes parameters one by one). The plain loop is of MONAI's
autoencoder, which does not run in bf16 (its mask tokens stay float32); it has no UNETR that reconstructs.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from pretraining_step import DOMAINS, random_cache

from voxmix._memory import process_peak_bytes
from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.encoders.networks import flops_per_draw
from voxmix.mixture import Mixture
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.objectives.mae.held_out_losses import measure
from voxmix.objectives.mae.objective import MaskedReconstruction
from voxmix.run_settings import EvaluationSettings, ModelSettings, TrainingSettings
from voxmix.training.devices import allow_tf32, launch_fabric
from voxmix.training.loop import make_step
from voxmix.training.optimizer import FlatAdamW
from voxmix.training.pieces import Piece
from voxmix.training.session import Session
from voxmix.volumes.preparing.cache import PreparedCache

PAPER = ModelSettings()
TINY = ModelSettings(
    crop=16, patch=4, width=24, depth=2, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
)
SHEETS = {  # TFLOP/s without sparsity: float32, TF32, bfloat16
    "H100 PCIe": (51, 378, 756),
    "H100": (67, 495, 989),
    "H200": (67, 495, 989),
    "A100": (19.5, 156, 312),
    "L40S": (91.6, 183, 362),
}
FORMATS = ("fp32", "tf32", "bf16")
SHORTEST = 5000  # draws of the paper's smallest budget, for the share of evaluation
WARM, SPLIT = 4, 8  # steps


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured; ``loop`` is voxmix or monai, ``compiled`` no, compile or graphs, ``reading`` resident or loaders."""

    network: str = "mae"
    numbers: str = "bf16"
    compiled: str = "no"
    batch: int = 32
    reading: str = "resident"
    runs: int = 1
    channels_last: bool = False
    loop: str = "voxmix"

    @property
    def loaders(self) -> int:
        return 0 if self.reading == "resident" else int(self.reading)


def one_at_a_time(base: Case) -> list[Case]:
    """Return the base and what differs from it in one thing."""
    changes: list[dict[str, Any]] = [
        {},
        *({"numbers": n} for n in ("fp32", "tf32")),
        *({"compiled": c} for c in ("compile", "graphs")),
        *({"batch": b} for b in (8, 128)),
        {"batch": 8, "compiled": "graphs"},
        *({"reading": r} for r in ("0", "4", "8")),
        *({"batch": 8, "runs": r} for r in (2, 4, 8)),
        *(
            [{"channels_last": True}]
            if base.network == "unetr"
            else [{"loop": "monai", "reading": "8", "numbers": "tf32"}]
        ),
    ]
    return [replace(base, **change) for change in changes]


def every_pair(base: Case) -> list[Case]:
    """Return the whole grid."""
    grid = product(
        FORMATS, ("no", "compile", "graphs"), (8, 32, 128), ("resident", "0", "4", "8"), (1, 2, 4, 8)
    )
    cases = [replace(base, numbers=n, compiled=c, batch=b, reading=r, runs=k) for n, c, b, r, k in grid]
    return cases + [case for case in one_at_a_time(base) if case.loop == "monai" or case.channels_last]


def tiny(network: str) -> list[Case]:
    base = Case(network=network, batch=4)
    found = [base, replace(base, numbers="fp32", reading="1"), replace(base, runs=2)]
    other = (
        replace(base, channels_last=True)
        if network == "unetr"
        else replace(base, loop="monai", reading="0", numbers="fp32")
    )
    return [*found, other]


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_tflops(device: torch.device, numbers: str, *, edge: int) -> float:
    """Return TFLOP/s of a product of two large matrices."""
    allow_tf32(numbers == "tf32")
    kind = torch.bfloat16 if numbers == "bf16" else torch.float32
    a, b = (torch.randn(edge, edge, device=device, dtype=kind) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        wait_for(device)
        began = time.perf_counter()
        a @ b
        wait_for(device)
        best = min(best, time.perf_counter() - began)
    return 2 * edge**3 / best / 1e12


def about_device(device: torch.device, *, edge: int) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    driver = "none"
    if device.type == "cuda":
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with contextlib.suppress(OSError):
            driver = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")[
                0
            ]
    products = {numbers: peak_tflops(device, numbers, edge=edge) for numbers in FORMATS}
    sheet = next((row for known, row in SHEETS.items() if all(word in name for word in known.split())), None)
    return {
        "device": name,
        "driver": driver,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "products": products,
        "peak": products if sheet is None else dict(zip(FORMATS, sheet, strict=True)),
        "peak is": "of a product" if sheet is None else "by data sheet",
    }


class OneByOne(MaskedReconstruction):
    """The objective with its convolutions channels last, which one piece of memory for all parameters would undo."""

    flat = False

    def build(self) -> Any:
        order = torch.channels_last_3d
        model = super().build()
        for module in model.modules():
            if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
                module.to(memory_format=order)
        return model


def begun(case: Case, model: ModelSettings, cache: PreparedCache, folder: Path, device: str) -> Session:
    spec = RunSpec(
        mixture=Mixture.uniform(DOMAINS),
        budget=case.batch << 12,
        seed=0,
        model=replace(model, name=case.network),
        training=TrainingSettings(
            batch_size=case.batch, precision="bf16-mixed" if case.numbers == "bf16" else "32-true"
        ),
    )
    compute = ComputeSettings(
        device=device,  # type: ignore[arg-type]
        compile=case.compiled != "no",
        graphs=case.compiled == "graphs",
        tf32=case.numbers == "tf32",
        loaders=case.loaders,
        resident="on" if case.reading == "resident" else "off",
        trackers=(),
        pictures=False,
    )
    fabric = launch_fabric(compute, precision=spec.training.precision)
    kind = OneByOne if case.channels_last else MaskedReconstruction
    session = Session.start(kind(spec=spec, cache=cache), fabric, compute=compute, folder=folder)
    session.network.train()
    return session


def split(session: Session) -> dict[str, float]:
    """Return milliseconds of the parts of a step, each with the device waited for before and after."""
    device, batch, views = session.fabric.device, session.rows, session.views
    times = dict.fromkeys(("waits", "copies", "forward", "backward", "optimizer"), 0.0)

    @contextlib.contextmanager
    def timed(name: str) -> Iterator[None]:
        wait_for(device)
        began = time.perf_counter()
        yield
        wait_for(device)
        times[name] += 1e3 * (time.perf_counter() - began) / SPLIT

    for number in range(SPLIT):
        first = (session.steps_done + number) * batch
        piece = Piece(first=first, last=first + batch, weight=1.0, start=first, stop=first + batch)
        ask, spent = views._crops.ask, []

        def asked(start: int, stop: int, ask: Any = ask, spent: list[float] = spent) -> Any:
            began = time.perf_counter()
            found = ask(start, stop)
            spent.append(1e3 * (time.perf_counter() - began) / SPLIT)
            return found

        views._crops.ask = asked
        with timed("copies"):
            read = views.read(piece)
        views._crops.ask = ask
        times["waits"] += sum(spent)
        times["copies"] -= sum(spent)
        with timed("forward"):
            loss = session.objective.losses(session.network, read)["loss"]
        with timed("backward"):
            session.fabric.backward(loss)
        with timed("optimizer"):
            if isinstance(session.optimizer.optimizer, FlatAdamW):
                session.optimizer.optimizer.gather()
            session.fabric.clip_gradients(session.network, session.optimizer, max_norm=1.0)
            session.optimizer.step()
            session.optimizer.zero_grad()
    return times


def rate(step: Callable[[], None], device: torch.device, *, batch: int, seconds: float) -> dict[str, float]:
    """Return draws per second, milliseconds of a step, and of those the host's own and those it waits at the end."""
    wait_for(device)
    began, steps, host = time.perf_counter(), 0, 0.0
    while steps < 3 or time.perf_counter() - began < seconds:
        at = time.perf_counter()
        step()
        host += time.perf_counter() - at
        steps += 1
    wait_for(device)
    spent = time.perf_counter() - began
    each = 1e3 / steps
    return {
        "draws/s": steps * batch / spent,
        "step": each * spent,
        "host": each * host,
        "sync": each * (spent - host),
    }


def peak_bytes(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else process_peak_bytes()


def states(session: Session) -> dict[str, float]:
    """Return seconds for which training stands still for a state, and those of the thread that writes it."""
    began = time.perf_counter()
    session.save()
    stall = time.perf_counter() - began
    session.writer.wait()
    return {
        "state stall": stall,
        "state written": session.writer._wrote,
        "states": stall / session.writer.interval,
    }


def evaluated(session: Session, cache: PreparedCache, crops: int) -> float:
    """Return seconds in which a run is measured on so many crops of each domain."""
    settings = session.objective.course.spec.model  # type: ignore[attr-defined]
    held_out = EvaluationSet.build(
        cache, model=settings, evaluation=EvaluationSettings(crops_per_domain=crops)
    )
    session.model.eval()
    began = time.perf_counter()
    measure(session.model, held_out, adapters=DOMAINS)
    return time.perf_counter() - began


def child(case: Case, root: Path, *, seconds: float, small: bool) -> dict[str, Any]:
    """Measure a case in this process."""
    warnings.filterwarnings("ignore")
    model = TINY if small else PAPER
    device = torch.device("cpu" if small or not torch.cuda.is_available() else "cuda")
    cache = cache_at(root, model)
    with tempfile.TemporaryDirectory() as name:
        found: dict[str, Any] = {}
        session = None
        if case.loop == "monai":
            from pretraining_end_to_end import monai_step

            allow_tf32(case.numbers == "tf32")
            step, _ = monai_step(
                replace(model, name=case.network), cache, Path(name), batch_size=case.batch, device=device,
                bf16=case.numbers == "bf16", workers=case.loaders,
            )  # fmt: skip
        else:
            session = begun(case, model, cache, Path(name), device.type)
            step = lambda: make_step(session)  # noqa: E731
        try:
            for _ in range(WARM):
                step()
            wait_for(device)
            print("ready", flush=True)
            sys.stdin.readline()
            found |= rate(step, device, batch=case.batch, seconds=seconds)
            found["peak"] = peak_bytes(device)
            if session is not None and case.runs == 1:
                found |= {} if case.compiled == "graphs" else split(session)
                found |= states(session)
                spent = evaluated(session, cache, 2 if small else 64)
                found["evaluation"] = spent / (spent + SHORTEST / found["draws/s"])
        finally:
            if session is not None:
                session.close()
    return found


def cache_at(root: Path, model: ModelSettings) -> PreparedCache:
    """Return random volumes, of each domain the last for validation, made once."""
    volumes = 4 if model is TINY else 40
    (root / "made").mkdir(exist_ok=True)
    if not (root / "volumes").exists():
        random_cache(root, volumes=volumes, edge=model.crop * 7 // 6)
    with tempfile.TemporaryDirectory() as other:
        plain = random_cache(Path(other), volumes=1, edge=model.crop * 7 // 6)
    rows = [
        replace(
            row, key=f"volumes/{row.domain}-{i}.npy", subject=str(i), file=f"volumes/{row.domain}-{i}.npy",
            split="validation" if i == volumes - 1 else "train",
        )
        for row in plain.volumes
        for i in range(volumes)
    ]  # fmt: skip
    return replace(plain, root=root, volumes=tuple(rows))


def measured(case: Case, root: Path, *, seconds: float, small: bool) -> dict[str, Any]:
    """Measure a case in processes of its own, which begin together; what fails is said."""
    order = json.dumps([asdict(case), str(root), seconds, small])
    command = [sys.executable, __file__, "--child", order]
    started = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(case.runs)
    ]
    ready = [one.stdout.readline().strip() == "ready" for one in started if one.stdout]
    told = [one.communicate("go\n" if all(ready) else None) for one in started]
    if not all(ready) or any(one.returncode for one in started):
        lines = next((err for _, err in told if err.strip()), "stopped").strip().splitlines()
        return {"failed": lines[-1][:120]}
    every = [json.loads(out.splitlines()[-1]) for out, _ in told]
    return every[0] | {
        "draws/s": sum(one["draws/s"] for one in every),
        "peak": sum(one["peak"] for one in every),
    }


SHOWN = ("step", "host", "sync", "waits", "copies", "forward", "backward", "optimizer")


def row(case: Case, found: dict[str, Any], flops: int, peak: float) -> str:
    last = " | channels last" if case.channels_last else " | "
    head = f"| {case.loop} {case.network} | {case.numbers} | {case.compiled} | {case.batch} | {case.reading} | {case.runs}"
    if "failed" in found:
        return f"{head}{last} | {found['failed']} |"
    tflops = flops * found["draws/s"] / 1e12
    parts = " | ".join(f"{found[name]:.2f}" if name in found else "-" for name in SHOWN)
    shares = " | ".join(f"{found[name]:.1%}" if name in found else "-" for name in ("states", "evaluation"))
    return (
        f"{head}{last} | {found['draws/s']:.0f} | {tflops:.3g} | {tflops / peak:.1%} | {parts} | {found['peak'] / 1e9:.2f} | "
        f"{shares} | {1e6 / found['draws/s'] / 3600:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the whole grid: hours")
    parser.add_argument("--tiny", action="store_true", help="on a CPU, tiny")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--networks", nargs="+", choices=("mae", "unetr"), default=["mae", "unetr"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child")
    options = parser.parse_args()
    if options.child:
        case, root, seconds, small = json.loads(options.child)
        print(json.dumps(child(Case(**case), Path(root), seconds=seconds, small=small)))
        return
    if not (options.tiny or torch.cuda.is_available()):
        parser.error("there is no CUDA device here; --tiny tries this script on a CPU")
    seconds = 0.2 if options.tiny else options.seconds
    device = torch.device("cpu" if options.tiny else "cuda")
    about = about_device(device, edge=256 if options.tiny else 8192)
    peaks = ", ".join(
        f"{numbers} {about['peak'][numbers]:.3g} (product {about['products'][numbers]:.3g})"
        for numbers in FORMATS
    )
    print(f"{about['device']}, driver {about['driver']}, torch {about['torch']}, CUDA {about['cuda']}\n")
    print(f"Peak, TFLOP/s, {about['peak is']}: {peaks}. Parts of a step in ms.\n")
    print(
        "| loop | numbers | compiled | batch | reading | runs | | draws/s | TFLOP/s | MFU | "
        + " | ".join(SHOWN)
        + f" | peak, GB | states | evaluation of {SHORTEST} draws | GPU-hours a million draws |"
    )
    print("|---|---|---|---:|---|---:|---|" + "---:|" * (len(SHOWN) + 7))
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for network in options.networks:
            flops = flops_per_draw(replace(TINY if options.tiny else PAPER, name=network))
            base = Case(network=network)
            cases = (
                tiny(network) if options.tiny else every_pair(base) if options.full else one_at_a_time(base)
            )
            for case in cases:
                found = measured(case, Path(root), seconds=seconds, small=options.tiny)
                rows.append({**asdict(case), **found})
                print(row(case, found, flops, about["peak"][case.numbers]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"about": about, "cases": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
