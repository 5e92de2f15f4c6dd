import json
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.compute import ComputeSettings
from voxmix.cost.estimate import draws_to_make, estimate
from voxmix.cost.footprint import footprint
from voxmix.cost.probe import probe
from voxmix.design import RunSpec
from voxmix.encoders.networks import flops_per_draw
from voxmix.errors import InputError
from voxmix.mixture import Mixture

CPU = ComputeSettings(device="cpu")


@pytest.fixture
def spec(model_settings, training_settings, evaluation_settings):
    return RunSpec(
        mixture=Mixture.pure(("CT", "MR", "PET"), "MR"),
        budget=80,
        seed=0,
        model=model_settings,
        training=training_settings,
        evaluation=evaluation_settings,
    )


def test_draws_that_runs_share_are_counted_once(spec):
    budgets = (80, 160, 320)
    alone = [replace(spec, budget=budget) for budget in budgets]
    assert draws_to_make(alone) == sum(budgets)
    trunk = replace(spec.training, schedule="trunk", cooldown=0.25)
    shared = [replace(spec, budget=budget, training=trunk) for budget in reversed(budgets)]
    # batches of 8: the first run branches after 60 draws (7.5 steps, 8), the second after 120
    first, second = (trunk.branch_step(budget) * 8 for budget in budgets[:2])
    assert draws_to_make(shared) == 80 + (160 - first) + (320 - second)
    other = [replace(item, seed=1) for item in shared]
    assert draws_to_make([*shared, *other]) == 2 * draws_to_make(shared)
    operations = replace(spec, budget=80 * flops_per_draw(spec.model) + 5, budget_unit="flops")
    assert draws_to_make([operations]) == 80


def test_costs_are_those_of_the_formula(spec):
    mixed = replace(spec, mixture=Mixture.uniform(("CT", "MR", "PET")))
    kinds = {"pure": [spec, replace(spec, seed=1)], "mixed": [mixed], "none": []}
    each = flops_per_draw(spec.model)
    found = estimate(kinds, targets=3, compute=CPU, at_once=2, rate=1e9)
    pure, rest = found.work
    assert (pure.runs, pure.draws, pure.evaluated) == (
        2,
        160,
        2 * 5 * 6,
    )  # 3 targets, 2 of them twice; 6 crops
    assert (rest.runs, rest.draws, rest.evaluated) == (1, 80, 3 * 6)
    assert pure.flops == pytest.approx((160 + 60 / 3) * each)
    assert found.seconds == pytest.approx((pure.flops + rest.flops) / 1e9 / 2, rel=1e-6)
    size = footprint(spec.model)
    assert found.run_bytes == size.state_bytes + 8 * size.draw_bytes
    assert found.disk_bytes == (3 + 2 * 2 * 3) * size.weights_bytes
    pieces = estimate(kinds, targets=3, compute=replace(CPU, micro_batch=2), at_once=1)
    assert pieces.run_bytes == size.state_bytes + 2 * size.draw_bytes
    assert pieces.seconds is None
    with pytest.raises(InputError, match="nothing to estimate"):
        estimate({"none": []}, targets=3, compute=CPU, at_once=1)
    with pytest.raises(InputError, match="must be above 0"):
        estimate(kinds, targets=3, compute=CPU, at_once=1, rate=0.0)


def test_a_probe_takes_steps_and_leaves_nothing(spec, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = probe(spec, compute=CPU, threads=1, seconds=0.2)
    assert list(tmp_path.iterdir()) == []
    assert (found.device, found.threads) == ("cpu", 1)
    assert found.steps >= 2
    assert found.batch == 8
    assert 0 < found.seconds_per_draw < 1
    needed = footprint(spec.model)
    assert needed.state_bytes + 8 * needed.draw_bytes < found.peak_bytes < found.installed_bytes
    timed = replace(
        spec,
        budget=60,
        budget_unit="seconds",
        training=replace(spec.training, schedule="trunk", warmup_steps=0),
    )
    whole = estimate({"pure": [timed]}, targets=3, compute=CPU, at_once=1, measured=found)
    assert whole.work[0].draws == round(60 / found.seconds_per_draw)
    assert whole.seconds >= 60


def test_a_probe_of_a_large_network_takes_single_draws_on_a_cpu(spec, monkeypatch):
    monkeypatch.setattr("voxmix.cost.probe.LONG_STEP", 8 * flops_per_draw(spec.model) - 1)
    found = probe(spec, compute=CPU, threads=1, seconds=0.0)
    assert (found.batch, found.steps) == (1, 2)


@pytest.mark.gpu
def test_a_probe_on_a_gpu_names_it_and_its_memory(spec):
    found = probe(spec, compute=ComputeSettings(device="cuda"), threads=1, seconds=0.5)
    assert found.device != "cpu"
    assert found.peak_bytes >= footprint(spec.model).state_bytes


def test_a_study_is_estimated_before_anything_is_prepared(tmp_path, monkeypatch):
    root, run = tmp_path / "study", CliRunner().invoke
    command = [sys.executable, "-m", "voxmix", "init", str(root), "--phantoms"]
    subprocess.run([*command, "--domain", "ABD-CT", "--domain", "HN-PET"], check=True, capture_output=True)
    path = root / "study.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["model"].update(crop=16, patch=8, width=24, depth=1, heads=2, decoder_width=16, decoder_depth=1)
    values["design"].update(budgets=[24, 48], seeds=2, anchor_seeds=1)
    values["allocation"].update(budget=160, seeds=2)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    done = run(app, ["estimate", str(root), "--seconds", "0.1", "--json"])
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert [(item["kind"], item["runs"], item["draws"]) for item in value["work"]] == [
        ("pure runs", 8, 288),
        ("vertex runs", 4, 144),
        ("anchors", 2, 72),
        ("mixture runs", 10, 1600),
    ]
    assert value["runs_left"] == 24
    assert value["seconds"] > 0
    assert not (root / "cache").exists()
    shown = run(app, ["estimate", str(root), "--tflops", "0.001"])
    assert shown.exit_code == 0, shown.stderr
    assert "no probe: 0.001 TFLOP/s taken as given" in shown.stdout
    refused = run(app, ["estimate", str(root), "--tflops", "0"])
    assert refused.exit_code == 2
    assert "--tflops must be above 0" in refused.stderr
    monkeypatch.setattr("voxmix.cost.probe._installed_bytes", lambda device: 1000)
    warned = run(app, ["estimate", str(root), "--seconds", "0.1"])
    assert "run(s) at a time need at least" in " ".join(warned.stderr.split())
    assert "and this machine has 1.0 kB; set compute.micro_batch" in " ".join(warned.stderr.split())
