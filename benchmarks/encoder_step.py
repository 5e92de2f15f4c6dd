"""Forward and backward of a backbone at 64 to 96 pixels, against transformers' of the same size and weights.

    python benchmarks/encoder_step.py [--rounds 5] [--batch 16] [--threads 1] [--device cpu] [--large]

Each row is one network in turns: ours, then theirs, so often; the median of the ratios of each turn counts. Time is that of this
process on the CPU (on a GPU, of the clock after it has finished), so that other work on the machine counts little. *Kept* is
what autograd keeps of an image for the backward pass, counted by its storages. *Visible* is ours again where three quarters of the
patches are left out. transformers is a development dependency; where it is not installed, ours is timed alone.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from voxmix.backbone_rows import DavitSettings, VitSettings
from voxmix.encoders.backbone import Backbone, Features, build_backbone, flops_per_image

SIZES = {
    "tiny": VitSettings(image=64, patch=8, width=96, depth=4, heads=3, layer_scale=1.0),
    "small": VitSettings(image=64, patch=8, width=192, depth=6, heads=6, layer_scale=1.0),
    "small at 96": VitSettings(image=96, patch=8, width=192, depth=6, heads=6, layer_scale=1.0),
}
LARGE = {
    "ViT-S/8 at 96": VitSettings(image=96, patch=8, width=384, depth=12, heads=6, layer_scale=1.0),
    "ViT-B/14 at 98": VitSettings(image=98, patch=14, width=768, depth=12, heads=12, layer_scale=1.0),
}
STAGES = DavitSettings(image=96, dims=(32, 64, 128, 256), depths=(1, 1, 3, 1), heads=(2, 4, 8, 16), window=6)
ESTIMATES = {
    "ViT-B/14": VitSettings(image=224, channels=3),
    "ViT-B/14 at 518 (RAD-DINO)": VitSettings(image=518, channels=3),
    "DaViT of MedImageInsight at 480": DavitSettings(image=480, channels=3),
}


def theirs(settings: VitSettings) -> nn.Module | None:
    """Return transformers' ``Dinov2Model`` of these sizes, or None where the library is not installed."""
    if find_spec("transformers") is None:
        return None
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=settings.width,
        num_hidden_layers=settings.depth,
        num_attention_heads=settings.heads,
        image_size=settings.image,
        patch_size=settings.patch,
        num_channels=settings.channels,
        attn_implementation="sdpa",
    )
    return Dinov2Model(config)  # type: ignore[no-any-return]


def step(network: nn.Module, pixels: Tensor, visible: Tensor | None = None) -> None:
    """Compute features and the gradient of something of all of them."""
    if isinstance(network, Backbone):
        found = network(pixels) if visible is None else network.forward_visible(pixels, visible)
        assert isinstance(found, Features)
        loss = found.cls.square().mean() + found.patches.square().mean()
    else:
        states = network(pixels).last_hidden_state
        loss = states[:, 0].square().mean() + states[:, 1:].square().mean()
    loss.backward()
    for parameter in network.parameters():
        parameter.grad = None


def kept_bytes(network: nn.Module, pixels: Tensor) -> int:
    """Return what autograd keeps of a batch beyond parameters and pixels."""
    known = {
        tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers(), pixels)
    }
    kept: dict[int, tuple[int, Any]] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage()
        if place.data_ptr() not in known:
            kept[place.data_ptr()] = (place.nbytes(), tensor)  # held, so that no place is used twice
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        network(pixels)
    return sum(size for size, _ in kept.values())


def seconds(call: Callable[[], None], device: str) -> float:
    """Return the time of a call."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def measured(
    settings: VitSettings | DavitSettings, *, batch: int, rounds: int, device: str
) -> dict[str, Any]:
    """Return the figures of one size."""
    ours = build_backbone(settings, 0).to(device).train()
    pixels = torch.rand(batch, 1, settings.image, settings.image, device=device)
    other = theirs(settings) if isinstance(settings, VitSettings) else None
    calls: dict[str, Callable[[], None]] = {"ours": lambda: step(ours, pixels)}
    if isinstance(settings, VitSettings):
        tokens = settings.grid.patches
        index = torch.stack([torch.randperm(tokens)[: tokens // 4] for _ in range(batch)]).to(device)
        calls["visible"] = lambda: step(ours, pixels, index)
    if other is not None:
        other = other.to(device).train()
        calls["theirs"] = lambda: step(other, pixels)
    for call in calls.values():
        seconds(call, device)
    turns = [{name: seconds(call, device) for name, call in calls.items()} for _ in range(rounds)]
    median = {name: statistics.median(turn[name] for turn in turns) for name in calls}
    row: dict[str, Any] = {
        "images_per_second": batch / median["ours"],
        "gflop_per_image": flops_per_image(settings) / 1e9,
        "kept_mb_per_image": kept_bytes(ours, pixels) / batch / 1e6,
    }
    if "visible" in median:
        row["visible_images_per_second"] = batch / median["visible"]
    if other is not None:
        row["their_images_per_second"] = batch / median["theirs"]
        row["ratio"] = statistics.median(turn["theirs"] / turn["ours"] for turn in turns)
        row["their_kept_mb_per_image"] = kept_bytes(other, pixels) / batch / 1e6
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--large", action="store_true", help="ViT-S and ViT-B too")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    rows = {
        name: measured(settings, batch=given.batch, rounds=given.rounds, device=given.device)
        for name, settings in {**SIZES, **(LARGE if given.large else {}), "DaViT at 96": STAGES}.items()
    }
    estimates = {name: flops_per_image(settings) / 1e9 for name, settings in ESTIMATES.items()}
    if given.json:
        print(json.dumps({"rows": rows, "gflop_per_image": estimates}, indent=2))
        return
    print(
        "| network | GFLOP an image | images/s | transformers' | ratio | kept MB an image | transformers' | visible images/s |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, row in rows.items():
        cells = [
            f"{row.get(key, float('nan')):.{digits}f}" if key in row else ""
            for key, digits in (
                ("gflop_per_image", 2),
                ("images_per_second", 1),
                ("their_images_per_second", 1),
                ("ratio", 2),
                ("kept_mb_per_image", 2),
                ("their_kept_mb_per_image", 2),
                ("visible_images_per_second", 1),
            )
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    for name, gflop in estimates.items():
        print(f"{name}: {gflop:,.0f} GFLOP an image, forward and backward")


if __name__ == "__main__":
    main()
