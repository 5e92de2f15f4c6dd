"""Every objective of encoders: resumed to the same bits, in pieces and processes the same run, refused, published."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from voxmix.backbone_rows import VitSettings
from voxmix.encoder_runs import EncoderSpec
from voxmix.encoders.backbone import build_backbone
from voxmix.encoders.start import load_start
from voxmix.errors import InputError, VoxmixWarning
from voxmix.objective_rows import objective_settings
from voxmix.runs.cards import read_card
from voxmix.training.objective import Objective
from voxmix.training.whole_batch import BatchFeatures

NAMES = ["dino", "clip", "unicl", "siglip", "mae"]
EXTRAS = {"clip": {"average": 0.9}, "dino": {"centering": "center", "shared_head": False}}
pytestmark = pytest.mark.filterwarnings("ignore::voxmix.errors.VoxmixWarning")


def weights(folder: Path) -> dict[str, bytes]:
    return {
        name: value.numpy().tobytes() for name, value in load_file(folder / "weights.safetensors").items()
    }


def same(one, other, rel=2e-4):
    for row, rows in zip(one, other, strict=True):
        assert {n: v for n, v in rows.items() if n != "gradient_norm"} == pytest.approx(
            {n: v for n, v in row.items() if n != "gradient_norm"}, rel=rel, abs=1e-6
        )


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_in_both_dimensions_and_says_what_it_did(
    name, axes, toy, spec_for, made, trained, figures, tmp_path
):
    source = toy(axes=axes)
    spec = spec_for(name, source)
    assert isinstance(made(spec, source), Objective)
    folder = trained(spec, source, tmp_path)
    rows = figures(folder)
    assert [row["draws"] for row in rows] == [8, 16, 24, 32, 40, 44]
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["run_id"] == spec.run_id
    assert (result["draws"], result["images"], result["repeats"]) == (44, 24, 20)
    assert result["held_out"]["loss"] > 0
    assert result["flops"] == 44 * result["flops_per_draw"] > 0
    card = read_card(folder)
    assert (card["objective"], card["encoder"]["name"]) == (name, "vit")
    found = load_start(folder)  # what a later run begins from
    backbone = build_backbone(spec.backbone, 0)
    backbone.load_state_dict(
        found.weights("backbone")
        and {n.removeprefix("backbone."): v for n, v in found.weights("backbone").items()}
    )


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_killed_it_ends_with_the_same_bits(name, extra, toy, spec_for, trained, figures, tmp_path, dies_at):
    if extra and name not in EXTRAS:
        pytest.skip("no second way")
    source = toy()
    spec = spec_for(name, source, given=EXTRAS[name] if extra else None, backbone={"drop_path": 0.3})
    whole = trained(spec, source, tmp_path / "whole")
    killed = tmp_path / "killed"
    with pytest.raises(RuntimeError, match="killed"):
        trained(spec, source, killed, checkpoint_seconds=0, progress=dies_at(24))
    trained(spec, source, killed, loaders=1)
    assert figures(killed) == figures(whole)
    assert weights(killed) == weights(whole)


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_pieces_are_the_same_run_but_for_rounding(name, extra, toy, spec_for, trained, figures, tmp_path):
    if extra and name not in EXTRAS:
        pytest.skip("no second way")
    source = toy()
    spec = spec_for(name, source, given=EXTRAS[name] if extra else None, backbone={"drop_path": 0.3})
    one = figures(trained(spec, source, tmp_path / "one"))
    many = figures(trained(spec, source, tmp_path / "many", micro_batch=3))
    same(one, many)
    assert many[0]["gradient_norm"] == pytest.approx(one[0]["gradient_norm"], rel=1e-4)


@pytest.mark.parametrize("name", ["dino", "unicl"])
def test_two_processes_train_what_one_does(name, toy, spec_for, trained, figures, child_script, tmp_path):
    source = toy()
    one = figures(trained(spec_for(name, source), source, tmp_path / "one"))
    here, folder = Path(__file__).with_name("conftest.py"), tmp_path / "two"
    compute = json.dumps({"devices": 2, "micro_batch": 3})
    command = [sys.executable, "-c", child_script, str(here), name, str(folder), compute, "{}"]
    port = str(29500 + os.getpid() % 2000)
    both = [
        subprocess.Popen(
            command,
            env=os.environ
            | {"LOCAL_RANK": rank, "RANK": rank, "WORLD_SIZE": "2", "NODE_RANK": "0"}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    for child in both:
        _, words = child.communicate(timeout=280)
        assert child.returncode == 0, words[-3000:]
    two = figures(folder)
    same(one, two)
    assert two[0]["gradient_norm"] == pytest.approx(one[0]["gradient_norm"], rel=1e-4)


def test_a_teacher_follows_and_the_student_alone_learns(toy, spec_for, made, trained, tmp_path):
    source = toy()
    spec = spec_for("dino", source)
    start = made(spec, source).build().state_dict()
    found = load_file(trained(spec, source, tmp_path) / "weights.safetensors")
    name = "backbone.layer.0.qkv.weight"
    moved = (found[f"student.{name}"] - start[f"student.{name}"]).norm()
    followed = (found[f"teacher.{name}"] - start[f"teacher.{name}"]).norm()
    assert 0 < followed < 0.2 * moved


def test_small_views_and_hidden_patches_can_be_left_out(toy, spec_for, trained, figures, tmp_path):
    source = toy()
    spec = spec_for("dino", source, given={"local_views": 0, "ibot_weight": 0.0, "koleo_weight": 0.0})
    rows = figures(trained(spec, source, tmp_path))
    assert all(row["loss"] == pytest.approx(row["dino"]) for row in rows)
    assert not {"ibot", "koleo"} & rows[0].keys()


def test_prototypes_wait_and_a_warmed_head_leaves_the_backbone_alone(toy, spec_for, made, trained, tmp_path):
    source = toy()
    spec = spec_for("dino", source, given={"frozen_last_layer": 1.0}, warm_draws=44)
    start = made(spec, source).build().state_dict()
    found = load_file(trained(spec, source, tmp_path) / "weights.safetensors")
    still = {n for n in start if n.startswith("student.") and torch.equal(start[n], found[n])}
    assert {n for n in start if n.startswith("student.backbone.")} <= still
    assert "student.head.prototypes" in still
    assert "student.head.mlp.0.weight" not in still


def test_paces_are_those_of_dinov2(toy, spec_for, made):
    source = toy()
    dino = made(spec_for("dino", source, training={"weight_decay": 0.04}), source)
    rates = {
        name: dino.pace(dino.group(f"student.{name}"), step=3, steps=100).rate
        for name in (
            "backbone.patch_embedding.weight",
            "backbone.layer.0.qkv.weight",
            "backbone.layer.1.fc1.weight",
        )
    }
    assert list(rates.values()) == pytest.approx([0.2 * 0.9**3, 0.9**2, 0.9])
    assert dino.pace(dino.group("student.backbone.norm.weight"), step=3, steps=100).rate == 1
    assert dino.pace(dino.group("student.head.prototypes"), step=0, steps=100).rate == 0
    assert dino.pace("head", step=0, steps=100).weight_decay == pytest.approx(0.04)
    assert dino.pace("head", step=100, steps=100).weight_decay == pytest.approx(0.4)
    assert dino.schedule.momentum(0, 100) == pytest.approx(0.992)
    assert dino.schedule.momentum(100, 100) == pytest.approx(1.0)
    assert [dino.schedule.temperature(step, 100) for step in (0, 15, 30, 90)] == pytest.approx(
        [0.04, 0.055, 0.07, 0.07]
    )


def test_a_run_begins_from_what_another_one_left(toy, spec_for, made, trained, tmp_path):
    source = toy()
    folder = trained(spec_for("dino", source), source, tmp_path)
    start, spec = load_start(folder), spec_for("dino", source, seed=9)
    model = made(spec, source, start).build()
    found = load_file(folder / "weights.safetensors")
    for tower in ("student", "teacher"):
        for name in ("backbone.layer.1.fc1.weight", "head.prototypes"):
            assert torch.equal(model.state_dict()[f"{tower}.{name}"], found[f"teacher.{name}"])
    clip = made(spec_for("clip", source), source, start).build()
    assert torch.equal(clip.state_dict()["backbone.norm.weight"], found["teacher.backbone.norm.weight"])
    wide = spec_for("clip", source, backbone={"width": 32})
    with pytest.raises(InputError, match="they are of another network"):
        made(wide, source, start).build()


def test_an_average_is_what_is_published(toy, spec_for, made, trained, tmp_path):
    source = toy()
    still = spec_for("clip", source, given={"average": 0.999999})
    found = load_file(trained(still, source, tmp_path) / "weights.safetensors")
    start = made(still, source).build().state_dict()
    name = "backbone.layer.0.qkv.weight"
    torch.testing.assert_close(found[name], start[name], atol=1e-6, rtol=0)
    assert not any(name.startswith("average") for name in found)


def checked(objective):
    objective.check(Path("nowhere"))
    return objective.course


def refused(toy, spec_for, made, match, name="clip", source=None, **more):
    source = source or toy()
    objective = made(replace(spec_for(name, source), **more), source)
    with pytest.raises(InputError, match=match):
        checked(objective)


def test_what_does_not_go_is_refused_in_a_sentence(toy, spec_for, made):
    source = toy()
    training = spec_for("clip", source).training
    for name in ("clip", "dino"):
        one = replace(training, batch_size=1)
        refused(toy, spec_for, made, "batch_size is 1; give at least 2", name, training=one)
    odd = replace(training, batch_size=7)
    refused(toy, spec_for, made, "give an even number", "unicl", training=odd)
    refused(toy, spec_for, made, "all reports of the training images are equal", source=toy(texts=1, count=4))
    refused(toy, spec_for, made, "none of the 1 training images", source=toy(count=1))
    refused(toy, spec_for, made, "of subset", samples=5)
    refused(toy, spec_for, made, "the tokenizer changed", tokenizer="other")
    refused(toy, spec_for, made, "planned for images other", cache="other")
    refused(
        toy,
        spec_for,
        made,
        "the backbone is for images",
        source=toy(axes=3),
        backbone=spec_for("mae", source).backbone,
    )
    refused(toy, spec_for, made, "needs training.schedule trunk", budget_unit="seconds", budget=5)
    refused(toy, spec_for, made, "does not pay for one draw", budget_unit="flops", budget=5)
    half = replace(training, precision="bf16-true")
    refused(toy, spec_for, made, "bf16-true does not go with objective dino", "dino", training=half)


def test_a_last_batch_of_one_draw_is_left_out_where_draws_are_compared(toy, spec_for, made):
    source = toy()
    assert made(spec_for("clip", source, budget=41), source).course.draws == 40
    assert made(spec_for("mae", source, budget=41), source).course.draws == 41


# Collapse: each happens where it is made to, and not otherwise.

FINE = {
    "dino": {"dino": 2.0, "teacher_entropy": 2.0, "cls_cosine": 0.3},
    "clip": {"loss": 1.0, "image_cosine": 0.3},
    "siglip": {"loss": 1.0, "image_cosine": 0.3},
    "mae": {"loss": 0.1, "mean_patch": 0.2},
}
SICK = [
    ("dino", {"dino": float(np.log(32)) - 0.01}, "knows nothing"),
    ("dino", {"teacher_entropy": 0.01}, "the same prototype"),
    ("dino", {"cls_cosine": 0.999}, "nearly the same"),
    ("clip", {"loss": float(np.log(8))}, "learned nothing"),
    ("clip", {"image_cosine": 0.999}, "nearly the same"),
    ("siglip", {"loss": 3.02}, "learned nothing"),
    ("mae", {"loss": 0.2}, "learned nothing"),
]


@pytest.mark.parametrize(("name", "wrong", "words"), SICK)
def test_alarms_ring_for_what_they_are_for_alone(name, wrong, words, toy, spec_for, made):
    source = toy()
    objective = made(spec_for(name, source), source)
    assert objective.alarms(FINE[name], 8) == ()
    (found,) = objective.alarms(FINE[name] | wrong, 8)
    assert words in found


def test_a_run_that_collapsed_says_so_in_its_result_and_as_a_warning(toy, spec_for, trained, tmp_path):
    source = toy()
    # Nothing but the agreement with a teacher that moves at once, and nothing that balances: all images become one.
    alone = {"ibot_weight": 0.0, "koleo_weight": 0.0, "teacher_momentum": 0.0, "centering": "center"}
    given = alone | {"teacher_temperature": (1.0, 1.0), "student_temperature": 1.0, "frozen_last_layer": 0.0}
    spec = spec_for("dino", source, given=given, training={"learning_rate": 1e-2}, budget=400)
    with pytest.warns(VoxmixWarning, match=f"run {spec.run_id}: "):
        trained(spec, source, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert any("knows nothing" in alarm for alarm in result["alarms"])


def test_a_run_that_learns_rings_no_alarm(toy, spec_for, trained, figures, tmp_path):
    source = toy(count=48)
    spec = spec_for("mae", source, budget=1600, training={"learning_rate": 3e-3})
    folder = trained(spec, source, tmp_path)
    assert json.loads((folder / "result.json").read_text(encoding="utf-8"))["alarms"] == []
    spec = spec_for("clip", toy(count=48, texts=2), budget=1600, training={"learning_rate": 3e-3})
    trained(spec, toy(count=48, texts=2), tmp_path / "clip")
    rows = figures(tmp_path / "clip")
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.2
    assert not any(
        "nothing" in a
        for a in json.loads((tmp_path / "clip" / "result.json").read_text(encoding="utf-8"))["alarms"]
    )


def collapsed_features(name, same_images):
    """Features of 16 images that are all alike, or all different, as a network would give them."""
    generator = torch.Generator().manual_seed(1)
    axes = torch.nn.functional.normalize(torch.randn(16, 32, generator=generator), dim=1)
    images = axes[:1].expand(16, -1) if same_images else axes
    if name == "clip":
        rows = {"image": images, "text": axes, "ids": torch.arange(16)}
        return BatchFeatures(rows, {"scale": torch.tensor(20.0)})
    views = images.unsqueeze(1).expand(-1, 2, -1)
    rows = {"student": views, "teacher": views, "cls": views}
    shared = {"prototypes": torch.cat([axes, -axes]), "taught": torch.cat([axes, -axes])}
    return BatchFeatures(rows, shared | {"center": torch.zeros(32), "temperature": torch.tensor(0.04)})


@pytest.mark.parametrize(
    ("name", "words"),
    [("clip", ["learned nothing", "nearly the same"]), ("dino", ["the same prototype", "nearly the same"])],
)
def test_features_that_are_all_alike_ring_and_different_ones_do_not(name, words, toy, spec_for, made):
    source = toy()
    given = {"ibot_weight": 0.0, "centering": "center"} if name == "dino" else {}
    objective = made(spec_for(name, source, given=given), source)
    for same_images in (True, False):
        losses = objective.losses_of(collapsed_features(name, same_images))
        alarms = objective.alarms({key: float(value) for key, value in losses.items()}, 16)
        assert all(any(word in alarm for alarm in alarms) for word in words) == same_images
        assert bool(alarms) == same_images


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "given"), [("dino", {"local_views": 0, "koleo_weight": 0.0}), ("clip", {})])
def test_the_compiled_network_trains_the_same_run(
    name, given, toy, spec_for, trained, figures, child_script, tmp_path
):
    source = toy()
    # The last batch, of 4, is left out of compiling; KoLeo of images that look alike multiplies rounding.
    short = {"given": given, "backbone": {"depth": 1}, "budget": 20}
    one = figures(trained(spec_for(name, source, **short), source, tmp_path / "one"))
    folder = tmp_path / "compiled"  # in a process of its own: the tests' shape checks cannot be compiled
    here, compute = Path(__file__).with_name("conftest.py"), json.dumps({"compile": True})
    command = [sys.executable, "-c", child_script, str(here), name, str(folder), compute, json.dumps(short)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "graph break" not in done.stderr
    assert json.loads((folder / "result.json").read_text(encoding="utf-8"))["computed"]["compile"] is True
    same(one, figures(folder))


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_is_finite_and_close(name, toy, spec_for, trained, figures, tmp_path):
    source = toy()
    exact = figures(trained(spec_for(name, source), source, tmp_path / "exact"))
    spec = spec_for(name, source, training={"precision": "bf16-mixed"})
    mixed = figures(trained(spec, source, tmp_path / "mixed"))
    assert all(np.isfinite(list(row.values())).all() for row in mixed)
    # bfloat16 has 8 bits: a value is off by 0.4% at most, and a loss is a mean of many (0.3% at most was seen).
    assert [row["loss"] for row in mixed] == pytest.approx([row["loss"] for row in exact], rel=0.01)
    assert any(a["loss"] != b["loss"] for a, b in zip(mixed, exact, strict=True))
    found = load_file(tmp_path / "mixed" / "weights.safetensors")
    assert {value.dtype for value in found.values() if value.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("name", ["dino", "clip"])
def test_sharing_one_network_out_is_refused_before_anything_is_built(name, toy, spec_for, trained, tmp_path):
    source = toy()
    with pytest.raises(InputError, match=f"objective {name} does not go with sharing fsdp"):
        trained(spec_for(name, source), source, tmp_path / "run", devices=2, sharing="fsdp")
    assert not (tmp_path / "run").exists()


def test_the_page_on_objectives_tells_what_a_draw_costs(made, toy):
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "objectives.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (\d+) \| ([\d.]+) \|$", page, re.MULTILINE)
    told = {
        name: (int(cost), float(ratio)) for names, cost, ratio in rows for name in re.findall(r"\w+", names)
    }
    assert sorted(told) == sorted(NAMES)
    found = {}
    for name in NAMES:
        own = objective_settings(name)
        spec = EncoderSpec(
            objective=name,
            objective_settings=own,
            backbone=VitSettings(),
            samples=2,
            subset="",
            seed=0,
            budget=2,
        )
        found[name] = made(spec, toy(axes=2)).flops_per_draw()
    for name, (cost, ratio) in told.items():
        assert round(found[name] / 1e9) == cost
        assert round(found[name] / found["mae"], 1) == ratio
