import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from voxmix import _io
from voxmix.compute import ComputeSettings
from voxmix.encoders import load_encoder
from voxmix.encoders.networks import build_model
from voxmix.errors import InputError, VoxmixError, VoxmixWarning
from voxmix.mixture import Mixture
from voxmix.objectives.mae import train
from voxmix.objectives.mae.held_out_losses import measure
from voxmix.objectives.mae.objective import MaskedReconstruction
from voxmix.run_settings import ModelSettings, TrainingSettings
from voxmix.runs import read_run
from voxmix.training import checkpoint
from voxmix.training.run_checks import naming_lost_memory
from voxmix.training.step_log import MetricsLog
from voxmix.volumes.preparing.cache import PreparedCache

OFTEN = ComputeSettings(checkpoint_seconds=0.0)
BUDGET = 100


def test_a_finished_run_holds_what_the_store_and_its_reader_expect(finished, spec, cache, metrics):
    result = read_run(finished)
    assert result.spec == spec
    assert result.draws == {"CT": 70, "MR": 30}
    assert result.unique_volumes == {"CT": 5, "MR": 3}
    assert result.volumes == {"CT": 5, "MR": 3}
    assert set(result.losses) == {"CT", "MR"}
    assert all(loss["loss"] > 0 and loss["crops"] == 6 for loss in result.losses.values())
    assert result.details["computed"] == {
        "device": "cpu",
        "devices": 1,
        "strategy": None,
        "micro_batch": None,
        "compile": False,
        "threads": 1,
        "precision": "32-true",
        "loaders": 0,
    }
    assert not (finished / "state.pt").exists()
    steps = metrics(finished)
    assert [row["step"] for row in steps] == list(range(1, 14))
    assert [row["draws"] for row in steps] == [*range(8, 97, 8), 100]
    with np.load(finished / "pictures.npz", allow_pickle=False) as shown:
        assert shown["domains"].tolist() == ["CT", "MR"]


def test_training_goes_below_the_interpolation_it_starts_from(spec, cache, evaluation, tmp_path):
    longer = replace(spec, budget=1600, training=replace(spec.training, learning_rate=5e-3))
    train(longer, cache=cache, evaluation=evaluation, folder=tmp_path / longer.run_id, threads=1)
    before = measure(build_model(spec.model, domains=2, seed=11), evaluation, adapters=spec.mixture.domains)
    after = read_run(tmp_path / longer.run_id).losses
    assert all(after[name]["loss"] < 0.95 * before[name].loss for name in after)


def test_the_paper_s_proxy_is_trained_by_the_same_loop(spec, cache, evaluation, tmp_path):
    model = replace(spec.model, name="unetr", width=12)
    unetr = replace(spec, model=model, budget=20)
    folder = tmp_path / unetr.run_id
    train(unetr, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    result = read_run(folder)
    assert result.details["adapter"].startswith("3x3x3 convolution")
    assert load_encoder(folder).card["encoder"]["name"] == "unetr"


def test_micro_batches_give_the_same_run_but_for_rounding(
    finished, spec, cache, evaluation, tmp_path, metrics
):
    folder = tmp_path / spec.run_id  # batches of 8 in pieces of 3, 3 and 2; the last batch of 4 in 3 and 1
    train(
        spec,
        cache=cache,
        evaluation=evaluation,
        folder=folder,
        threads=1,
        compute=ComputeSettings(micro_batch=3),
    )
    pairs = list(zip(metrics(folder), metrics(finished), strict=True))
    assert all(a["loss"] == pytest.approx(b["loss"], rel=1e-3) for a, b in pairs)
    assert pairs[0][0]["loss"] == pytest.approx(pairs[0][1]["loss"], rel=1e-6)
    assert pairs[0][0]["gradient_norm"] == pytest.approx(pairs[0][1]["gradient_norm"], rel=1e-5)
    with pytest.raises(InputError, match="micro_batch must be at least 1 draw, got 0"):
        ComputeSettings(micro_batch=0)


def test_mixed_precision_trains_near_full_precision(finished, spec, cache, evaluation, tmp_path):
    half = replace(spec, training=replace(spec.training, precision="bf16-mixed"))
    folder = tmp_path / half.run_id
    train(half, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    mixed, full = read_run(folder).losses, read_run(finished).losses
    assert all(mixed[name]["loss"] == pytest.approx(full[name]["loss"], rel=0.02) for name in full)
    assert mixed != full


def test_same_spec_same_losses_and_another_seed_others(finished, spec, cache, evaluation, tmp_path, same_run):
    train(spec, cache=cache, evaluation=evaluation, folder=tmp_path / spec.run_id, threads=1)
    assert same_run(finished, tmp_path / spec.run_id)
    other = replace(spec, seed=12)
    train(other, cache=cache, evaluation=evaluation, folder=tmp_path / other.run_id, threads=1)
    assert read_run(tmp_path / other.run_id).losses != read_run(finished).losses


@pytest.mark.parametrize("loaders", [1, 3])
def test_reading_ahead_changes_no_bit(finished, spec, cache, evaluation, tmp_path, same_run, loaders):
    folder = tmp_path / spec.run_id
    train(
        spec,
        cache=cache,
        evaluation=evaluation,
        folder=folder,
        threads=1,
        compute=ComputeSettings(loaders=loaders),
    )
    assert same_run(finished, folder)


@pytest.mark.parametrize("stop_after", [1, 7, 12])
def test_a_run_that_dies_after_a_checkpoint_ends_as_if_it_had_not(
    stop_after, finished, spec, cache, evaluation, tmp_path, dies_at, same_run
):
    """The process dies some steps after its last state: metrics are ahead of the state."""
    folder = tmp_path / spec.run_id

    with pytest.raises(RuntimeError, match="killed"):
        train(
            spec,
            cache=cache,
            evaluation=evaluation,
            folder=folder,
            threads=1,
            compute=OFTEN,
            progress=dies_at(8 * stop_after),
        )
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "half a li')
    assert not (folder / "result.json").exists()
    train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    assert same_run(finished, folder)


def test_a_killed_process_is_resumed_bit_for_bit(
    spec, cache, evaluation, tmp_path, same_run, child_arguments
):
    long = replace(spec, budget=2400)
    calm = tmp_path / "calm" / long.run_id
    train(long, cache=cache, evaluation=evaluation, folder=calm, threads=1)
    folder = tmp_path / "killed" / long.run_id
    arguments = child_arguments(long, folder)
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    state = checkpoint.load_state(folder)
    assert state is not None
    assert 0 < state["steps"] < 300
    ahead = ComputeSettings(loaders=2)  # none in the process that was killed
    train(long, cache=cache, evaluation=evaluation, folder=folder, threads=1, compute=ahead)
    assert same_run(calm, folder)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_ctrl_c_and_sigterm_wait_for_a_whole_step_and_keep_the_state(
    number, raised, finished, spec, cache, evaluation, tmp_path, same_run
):
    folder = tmp_path / spec.run_id

    def pressing(done, total):
        if done == 32:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(raised):
        train(
            spec,
            cache=cache,
            evaluation=evaluation,
            folder=folder,
            threads=1,
            compute=OFTEN,
            progress=pressing,
        )
    assert checkpoint.load_state(folder)["steps"] == 5
    assert signal.getsignal(number) is before
    train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    assert same_run(finished, folder)


def test_a_loss_that_diverges_stops_the_run_with_words_and_keeps_the_last_good_state(
    spec, cache, evaluation, tmp_path, monkeypatch, metrics
):
    folder = tmp_path / spec.run_id
    plain = MaskedReconstruction.losses
    calls = []

    def breaking(objective, network, batch):
        calls.append(None)
        losses = plain(objective, network, batch)
        return {"loss": losses["loss"] * float("nan")} if len(calls) == 6 else losses

    monkeypatch.setattr(MaskedReconstruction, "losses", breaking)
    with pytest.raises(VoxmixError, match=r"the loss is nan at step 6 \(draw 48.*lower learning_rate"):
        train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1, compute=OFTEN)
    state = checkpoint.load_state(folder)
    assert state["steps"] == 5
    assert all(torch.isfinite(t).all() for t in state["model"].values())
    assert len(metrics(folder)) == 5
    assert not (folder / "result.json").exists()


def test_a_finished_run_is_left_as_it_is(finished, spec, cache, evaluation):
    before = {path.name: _io.file_digest(path) for path in finished.iterdir()}
    seen = []
    train(spec, cache=cache, evaluation=evaluation, folder=finished, progress=lambda *p: seen.append(p))
    assert {path.name: _io.file_digest(path) for path in finished.iterdir()} == before
    assert seen == [(BUDGET, BUDGET)]


def test_progress_counts_draws_up_to_the_budget(spec, cache, evaluation, tmp_path):
    seen = []
    train(spec, cache=cache, evaluation=evaluation, folder=tmp_path / "r", progress=lambda *p: seen.append(p))
    assert seen[0] == (0, BUDGET)
    assert seen[-1] == (BUDGET, BUDGET)
    assert seen == sorted(seen)


def test_what_does_not_belong_together_is_refused(spec, cache, make_cache, evaluation, finished, tmp_path):
    def attempt(spec, match, *, cache=cache, folder=tmp_path / "new"):
        with pytest.raises(InputError, match=match):
            train(spec, cache=cache, evaluation=evaluation, folder=folder)
        assert not (tmp_path / "new").exists()

    attempt(replace(spec, mixture=Mixture.from_dict({"CT": 0.5, "US": 0.5})), r"mixture names \['US'\]")
    attempt(replace(spec, cache="0123456789abcdef"), "planned for prepared volumes 0123456789abcdef")
    attempt(replace(spec, model=ModelSettings(crop=32, patch=8)), "evaluation set has crops of 16 voxels")
    untrained = PreparedCache(
        root=cache.root,
        volumes=tuple(v for v in cache.volumes if (v.domain, v.split) != ("MR", "train")),
        recipe=cache.recipe,
    )
    attempt(replace(spec, cache=""), "MR has weight 0.300 and no prepared training volume", cache=untrained)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "spec.json").write_text((finished / "spec.json").read_text(encoding="utf-8"), encoding="utf-8")
    attempt(replace(spec, seed=99), "holds another run than the one asked for", folder=begun)


def test_a_volume_smaller_than_the_crop_is_refused(spec, cache, make_cache, evaluation, tmp_path):
    small = make_cache({"CT": 2, "MR": 2}, edge=14)
    with pytest.raises(InputError, match=r"crop is 16 voxels.*shape \(14, 14, 14\).*at most 14"):
        train(replace(spec, cache=""), cache=small, evaluation=evaluation, folder=tmp_path / "r")


def test_a_state_of_another_evaluation_set_or_a_damaged_one_is_refused(
    finished, spec, cache, evaluation, tmp_path
):
    folder = tmp_path / "r"
    checkpoint.save_state(folder, {"run_id": spec.run_id, "evaluation": "other", "cache": cache.digest})
    with pytest.raises(InputError, match="another run, evaluation set or cache"):
        train(spec, cache=cache, evaluation=evaluation, folder=folder)
    (folder / "state.pt").write_bytes((folder / "state.pt").read_bytes()[:50])
    with pytest.raises(InputError, match=r"state\.pt cannot be read: it is damaged.*delete it"):
        train(spec, cache=cache, evaluation=evaluation, folder=folder)


def test_out_of_memory_in_a_step_keeps_the_last_state_and_goes_on_in_pieces(
    finished, spec, cache, evaluation, tmp_path, monkeypatch, metrics
):
    folder, plain, calls = tmp_path / spec.run_id, MaskedReconstruction.losses, []

    def hungry(objective, network, batch):
        calls.append(None)
        if len(calls) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(objective, network, batch)

    monkeypatch.setattr(MaskedReconstruction, "losses", hungry)
    with pytest.raises(
        VoxmixError, match=r"out of memory.*set compute\.micro_batch to 4.*last state is kept"
    ):
        train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1, compute=OFTEN)
    monkeypatch.undo()
    assert checkpoint.load_state(folder)["steps"] == 4
    pieces = ComputeSettings(micro_batch=4)
    with pytest.warns(VoxmixWarning, match="goes on after 4 steps in another way .*micro_batch"):
        train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1, compute=pieces)
    pairs = list(zip(metrics(folder), metrics(finished), strict=True))
    assert all(a["loss"] == pytest.approx(b["loss"], rel=1e-3) for a, b in pairs)


def test_half_precision_may_skip_steps_but_not_forever(tmp_path):
    def take(log, norms):
        for step, norm in enumerate(norms, start=1):
            log.add(
                step=step,
                draws=step,
                losses={"loss": torch.tensor(0.1)},
                gradient_norm=torch.tensor(norm),
                learning_rate=0.1,
            )
        log.flush()

    for scaled, norms, fails in (
        (False, [1.0, float("inf")], True),
        (True, [float("inf")] * 20 + [1.0] + [float("nan")] * 20, False),
        (True, [float("inf")] * 31, True),
    ):
        path = tmp_path / f"{scaled}-{len(norms)}.jsonl"
        log = MetricsLog(path, scaled=scaled)
        if not fails:
            take(log, norms)
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            assert [row["gradient_norm"] for row in rows][19:22] == [None, 1.0, None]
            continue
        with pytest.raises(VoxmixError, match=rf"at step {len(norms)} .*training diverged"):
            take(log, norms)


def test_out_of_memory_names_the_settings(spec):
    with (
        pytest.raises(
            VoxmixError, match=r"8 draws at once.*crop 16 and width 24; set compute\.micro_batch to 4"
        ),
        naming_lost_memory(spec.model, batch=8, compute=ComputeSettings()),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_the_rate_warms_up_in_fixed_steps_and_ends_near_zero():
    from voxmix.training.optimizer import learning_rate

    settings = TrainingSettings(learning_rate=1.0, warmup_steps=10)
    for steps in (100, 1000):
        rates = [learning_rate(s, steps=steps, settings=settings) for s in range(steps)]
        assert rates.index(max(rates)) == 10
        assert max(rates) == 1.0
        assert np.all(np.diff(rates[:11]) > 0)
        assert np.all(np.diff(rates[10:]) < 0)
        assert 0 < rates[-1] < 1e-3


def test_threads_of_the_settings_are_used_and_change_no_name(
    finished, spec, cache, evaluation, tmp_path, same_run
):
    folder, before = tmp_path / spec.run_id, torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        train(spec, cache=cache, evaluation=evaluation, folder=folder, compute=ComputeSettings(threads=1))
    finally:
        torch.set_num_threads(before)
    assert read_run(folder).details["computed"]["threads"] == 1
    assert same_run(folder, finished)
