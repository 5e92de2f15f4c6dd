"""Many runs: trunks in order, failures and warnings named, several processes to one run."""

from dataclasses import replace
from pathlib import Path

import pytest

from voxmix import _io
from voxmix.compute import ComputeSettings
from voxmix.engines.local import Task, train_many, trunk_groups
from voxmix.errors import InputError, VoxmixWarning
from voxmix.mixture import Mixture
from voxmix.objectives.mae import train
from voxmix.runs import read_run
from voxmix.training.checkpoint import save_state


@pytest.fixture
def stored(make_cache, evaluation_settings, model_settings, tmp_path):
    """Return a cache and an evaluation set as they lie on disk; MR has one volume."""
    from voxmix.objectives.mae import EvaluationSet

    cache = make_cache({"CT": 3, "MR": 1})
    _io.write_json(cache.root / "index.json", cache.as_dict())
    evaluation = EvaluationSet.build(cache, model=model_settings, evaluation=evaluation_settings)
    evaluation.save(tmp_path / "evaluation.safetensors")
    return (
        cache,
        evaluation,
        {"cache_dir": cache.root, "evaluation_path": tmp_path / "evaluation.safetensors"},
    )


def test_runs_of_one_trunk_follow_each_other_and_the_longest_work_begins_first(spec):
    trunk = replace(spec, training=replace(spec.training, schedule="trunk"))
    tasks = [
        Task(spec=replace(trunk, budget=budget, seed=seed), folder=Path("r"), trunk=Path("t"))
        for seed in (0, 1)
        for budget in (400, 100, 200)
    ]
    tasks.append(Task(spec=replace(spec, budget=300), folder=Path("r")))
    groups = [[(task.spec.seed, task.spec.budget) for task in group] for group in trunk_groups(tasks)]
    assert groups == [[(0, 100), (0, 200), (0, 400)], [(1, 100), (1, 200), (1, 400)], [(11, 300)]]


def test_a_failed_run_is_named_and_the_others_are_made(stored, spec, tmp_path, same_run):
    cache, evaluation, places = stored
    trunk = replace(spec, cache=cache.digest, training=replace(spec.training, schedule="trunk"))
    short, long = (replace(trunk, budget=n) for n in (60, 100))
    failing = replace(trunk, mixture=Mixture.from_dict({"CT": 0.5, "US": 0.5}))
    damaged = replace(trunk, seed=5)
    for steps in (1, 2):
        save_state(tmp_path / damaged.run_id, {"steps": steps})
    (tmp_path / damaged.run_id / "state.pt").write_bytes(b"half a sta")
    tasks = [
        Task(spec=each, folder=tmp_path / each.run_id, trunk=tmp_path / "trunks" / each.trunk_id)
        for each in (long, failing, damaged, short)
    ]
    shown = []
    with pytest.warns(VoxmixWarning, match="goes on from the state before it"):
        failed = train_many(
            tasks,
            **places,
            compute=ComputeSettings(trackers=(), device="cpu"),
            workers=1,
            threads=1,
            progress=lambda *p: shown.append(p),
        )
    reasons = {run.spec.run_id: run.reason for run in failed}
    assert set(reasons) == {failing.run_id, damaged.run_id}
    assert "mixture names ['US']" in reasons[failing.run_id]
    assert "belongs to another run" in reasons[damaged.run_id]
    assert read_run(tmp_path / long.run_id).details["shared"]["draws"] == 8 * short.training.branch_step(60)
    train(long, cache=cache, evaluation=evaluation, folder=tmp_path / "alone" / long.run_id, threads=1)
    assert same_run(tmp_path / long.run_id, tmp_path / "alone" / long.run_id)
    assert shown == sorted(shown)
    assert shown[-1][1] == 60 + 3 * 100


def test_two_processes_share_runs_of_a_domain_with_one_volume(stored, spec, tmp_path):
    cache, evaluation, places = stored
    small = replace(spec, cache=cache.digest, budget=41)
    bad = replace(small, mixture=Mixture.from_dict({"CT": 0.5, "US": 0.5}))
    failed = train_many(
        [Task(spec=each, folder=tmp_path / each.run_id) for each in (bad, small)],
        **places,
        compute=ComputeSettings(devices=2, device="cpu"),
        workers=1,
        threads=1,
    )
    assert [run.spec for run in failed] == [bad]
    train(small, cache=cache, evaluation=evaluation, folder=tmp_path / "alone" / small.run_id, threads=1)
    together, alone = read_run(tmp_path / small.run_id), read_run(tmp_path / "alone" / small.run_id)
    assert together.details["computed"]["devices"] == 2
    assert together.details["repeats"] == {"CT": 29 - 3, "MR": 12 - 1}
    for name, loss in alone.losses.items():
        assert together.losses[name]["loss"] == pytest.approx(loss["loss"], rel=1e-3)


def test_several_machines_are_started_from_outside(spec, tmp_path):
    with pytest.raises(InputError, match=r"compute\.nodes is 2, a study trains on one machine"):
        train_many(
            [Task(spec=spec, folder=tmp_path)],
            cache_dir=tmp_path,
            evaluation_path=tmp_path,
            compute=ComputeSettings(nodes=2),
            workers=1,
            threads=1,
        )
