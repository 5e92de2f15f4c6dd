"""What a draw of an encoder run costs, against the real network, a real step, and a count by hand."""

from dataclasses import replace

import pytest
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from voxmix.backbone_rows import DavitSettings, VitSettings
from voxmix.compute import ComputeSettings
from voxmix.cost.encoder import encoder_cost
from voxmix.encoder_runs import EncoderSpec, TextSettings
from voxmix.errors import InputError
from voxmix.objective_rows import objective_settings
from voxmix.training.devices import launch_fabric
from voxmix.training.pieces import Piece

CPU = ComputeSettings(device="cpu", trackers=())
NAMES = ("mae", "dino", "clip", "unicl", "siglip")


@pytest.fixture
def cost_of(spec_for, toy):
    """Return a function that gives the cost of an objective on toy images of two axes, its backbone changed."""

    def cost(name, axes=2, **backbone):
        return encoder_cost(spec_for(name, toy(axes=axes), backbone=backbone), compute=CPU)

    return cost


def _real_step(objective):
    """Return operations of a real step of eight draws, and the bytes that autograd keeps of it."""
    fabric = launch_fabric(CPU, precision="32-true")
    views = objective.views(44, least=0, fabric=fabric, compute=CPU)
    batch = views.read(Piece(first=0, last=8, weight=1.0, start=0, stop=8))
    model = objective.build().train()
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with FlopCounterMode(display=False) as counter:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = objective.losses(model, batch)["loss"]
        size = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)
        loss.backward()
    views.close()
    return counter.get_total_flops(), size


@pytest.mark.parametrize(("name", "axes"), [*((name, 2) for name in NAMES), ("dino", 3), ("clip", 3)])
def test_counts_are_those_of_a_real_step(name, axes, spec_for, toy, made):
    source = toy(axes=axes)
    spec = spec_for(name, source)
    found = encoder_cost(spec, compute=CPU)
    objective = made(spec, source)
    model = objective.build()
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    everything = sum(tensor.numel() for tensor in model.state_dict().values())
    assert (found.parameters, found.parameters + found.frozen) == (learning, everything)
    assert found.state_bytes == 16 * learning + 4 * (everything - learning)
    assert found.flops_per_draw == objective.flops_per_draw()
    flops, kept = _real_step(objective)
    # torch does not count attention on a CPU, nor a gradient of pixels that nobody needs
    assert 0.8 < flops / 8 / found.flops_per_draw < 1.01
    assert 0.85 < kept / 8 / found.draw_bytes < 1.1


def test_operations_of_clip_are_those_counted_by_hand():
    width, depth, tokens, context, space = 16, 3, (24 // 8) ** 2 + 1, 10, 8
    spec = EncoderSpec(
        objective="clip",
        objective_settings=objective_settings("clip", {"projection": space}),
        backbone=VitSettings(image=24, patch=8, width=width, depth=depth, heads=2),
        text=TextSettings(width=width, depth=depth, heads=2, context=context, vocabulary=300),
        samples=1,
        subset="",
        seed=0,
        budget=1,
    )

    def blocks(count):
        products = count * width * (3 * width + width + 4 * width + 4 * width)
        whole = products + 2 * count**2 * width
        # Of the last one only one token is read: its query, and everybody's keys and values.
        last = count * 2 * width**2 + width * (width + width + 4 * width + 4 * width) + 2 * count * width
        return 2 * ((depth - 1) * whole + last)

    by_hand = blocks(tokens) + blocks(context) + 2 * (tokens - 1) * 64 * width + 2 * 2 * width * space
    found = encoder_cost(spec, compute=CPU)
    assert found.flops_per_draw == 3 * by_hand
    block = 12 * width**2 + 13 * width
    towers = 2 * (depth * block + 2 * width + width * space) + 1
    images = 64 * width + width + width + tokens * width + 2 * depth * width
    assert found.parameters == towers + images + 300 * width + context * width
    assert found.frozen == width + 2  # its mask token, mean and deviation of pixels


@pytest.mark.parametrize("name", ["mae", "dino", "unicl"])
def test_costs_grow_with_the_network_and_not_with_the_batch(name, cost_of, spec_for, toy):
    small, deep, large = cost_of(name), cost_of(name, depth=4), cost_of(name, image=32)
    deeper = cost_of(name, depth=6)
    assert deeper.flops_per_draw - deep.flops_per_draw == deep.flops_per_draw - small.flops_per_draw
    assert deeper.parameters - deep.parameters == deep.parameters - small.parameters
    assert deeper.draw_bytes > deep.draw_bytes > small.draw_bytes
    assert large.flops_per_draw > small.flops_per_draw
    assert large.draw_bytes > small.draw_bytes
    assert large.image_bytes == 128 + 32 * 32
    batches = spec_for(name, toy(), training={"batch_size": 64})
    other = encoder_cost(batches, compute=replace(CPU, micro_batch=16))
    assert (other.flops_per_draw, other.draw_bytes) == (small.flops_per_draw, small.draw_bytes)
    assert (small.rows, other.rows) == (8, 16)
    assert other.run_bytes == other.state_bytes + 16 * other.draw_bytes


@pytest.mark.parametrize(("name", "edge"), [("dino", 518), ("clip", 224)])
def test_the_real_size_is_counted_without_its_memory(name, edge):
    spec = EncoderSpec(
        objective=name,
        objective_settings=objective_settings(name),
        backbone=VitSettings(image=edge, channels=3),
        samples=1,
        subset="",
        seed=0,
        budget=1,
    )
    found = encoder_cost(spec, tflops=100.0, compute=CPU)
    # ViT-B/14 takes 23.2 and 151.5 GFLOP for one forward of one image
    each = {224: 46.35e9, 518: 302.9e9}[edge]
    views = {"dino": 2 * 4 * each, "clip": 3 * each}[name]
    assert views < found.flops_per_draw < 2 * views
    assert found.seconds_per_draw == found.flops_per_draw / 1e14
    assert 5e7 < found.draw_bytes < 6e9
    assert found.parameters > 86e6


def test_a_tower_in_stages_is_counted(spec_for, toy):
    stages = DavitSettings(image=32, dims=(8, 16, 32, 64), depths=(1, 1, 1, 1), heads=(1, 2, 4, 8), window=4)
    spec = replace(spec_for("clip", toy()), backbone=stages)
    found = encoder_cost(spec, compute=CPU)
    assert found.draw_bytes > 4 * 32 * 32
    assert found.flops_per_draw > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_are_measured_on_random_images(name, spec_for, toy, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spec = spec_for(name, toy(), budget=60, budget_unit="seconds", warm_draws=5)
    found = encoder_cost(spec, seconds=0.05, compute=CPU)
    assert list(tmp_path.iterdir()) == []
    assert found.measured.batch == 8
    assert found.measured.steps >= 2
    assert 0 < found.seconds_per_draw == found.measured.seconds_per_draw < 1


def test_steps_that_would_take_minutes_are_not_made(spec_for, toy, monkeypatch):
    spec = spec_for("dino", toy())
    each = encoder_cost(spec, compute=CPU).flops_per_draw
    monkeypatch.setattr("voxmix.cost.encoder.LONG_STEP", 8 * each - 1)
    assert encoder_cost(spec, seconds=0.0, compute=CPU).measured.batch == 2
    monkeypatch.setattr("voxmix.cost.encoder._TOO_LONG", 2 * each - 1)
    found = encoder_cost(spec, seconds=0.0, compute=CPU)
    assert (found.measured, found.seconds_per_draw) == (None, None)


def test_what_cannot_be_estimated_is_refused(spec_for, toy):
    spec = spec_for("clip", toy())
    with pytest.raises(InputError, match="must be above 0 TFLOP/s, got 0"):
        encoder_cost(spec, tflops=0)
    with pytest.raises(InputError, match="do not fit a backbone of 2 axes"):
        encoder_cost(spec, shape=(8, 8, 8))
    assert encoder_cost(spec, shape=(20, 30)).image_bytes == 128 + 600
