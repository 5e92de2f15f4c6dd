"""One trunk serves several budgets: the same runs as alone, exact draws, less to compute."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxmix.compute import ComputeSettings
from voxmix.errors import InputError, VoxmixWarning
from voxmix.mixture import Mixture
from voxmix.objectives.mae import train
from voxmix.runs import read_run
from voxmix.training import checkpoint, session
from voxmix.training.draws import plan_draws, plan_trunk, trunk_order
from voxmix.training.optimizer import learning_rate

DOMAINS = ("CT", "MR", "PET")


@pytest.fixture(scope="module")
def on_trunk(spec):
    return replace(spec, training=replace(spec.training, schedule="trunk"))


def trained(spec, cache, evaluation, root, *, trunk=None, **options):
    folder = root / spec.run_id
    train(spec, cache=cache, evaluation=evaluation, folder=folder, trunk=trunk, threads=1, **options)
    return folder


@settings(deadline=None, max_examples=60)
@given(
    raw=st.lists(st.floats(0.3, 1), min_size=3, max_size=3),
    budget=st.integers(300, 1500),  # the cooldown holds 2 + domains * weight draws of each: never refused
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**64 - 1),
)
def test_a_branch_meets_its_quotas_exactly_and_begins_with_the_trunk(raw, budget, share, seed):
    mixture = Mixture.from_counts(dict(zip(DOMAINS, raw, strict=True)))
    shared = int(share * budget)
    plan = plan_draws(mixture, budget=budget, seed=seed, volumes=(4, 5, 6), shared=shared)
    assert list(plan.draws().values()) == mixture.draws(budget).tolist()
    trunk = plan_trunk(mixture, draws=shared + 100, seed=seed, volumes=(4, 5, 6))
    assert np.array_equal(plan.domain[:shared], trunk.domain[:shared])
    assert np.array_equal(plan.volume[:shared], trunk.volume[:shared])


def test_every_stretch_of_a_trunk_is_near_its_mixture_and_a_longer_one_begins_alike():
    mixture = Mixture(domains=DOMAINS, weights=np.array([0.6, 0.3, 0.1]))
    order = trunk_order(mixture, 3000, 5)
    assert np.array_equal(order[:1234], trunk_order(mixture, 1234, 5))
    assert not np.array_equal(order, trunk_order(mixture, 3000, 6))
    for stop in range(10, 3000, 10):
        counts = np.bincount(order[:stop], minlength=3)
        assert np.all(np.abs(counts - stop * mixture.weights) <= 3)


def test_volumes_of_a_branch_are_drawn_without_replacement_across_the_branch():
    mixture = Mixture(domains=DOMAINS, weights=np.array([0.5, 0.3, 0.2]))
    plan = plan_draws(mixture, budget=210, seed=0, volumes=(7, 9, 6), shared=160)
    for d, existing in enumerate((7, 9, 6)):
        drawn = plan.volume[plan.domain == d]
        epochs = drawn[: len(drawn) // existing * existing].reshape(-1, existing)
        assert np.all(np.sort(epochs, axis=1) == np.arange(existing))
    assert plan.repeats() == {"CT": 105 - 7, "MR": 63 - 9, "PET": 42 - 6}


def test_a_budget_whose_trunk_exceeds_a_quota_is_refused():
    mixture = Mixture.from_counts({f"D{i:02}": 1 for i in range(20)})
    with pytest.raises(InputError, match=r"10 draws is too short for its trunk: D1\d has a quota of 0"):
        plan_draws(mixture, budget=10, seed=0, volumes=[1] * 20, shared=8)


def test_the_rate_is_constant_up_to_the_branch_and_falls_to_near_zero_after(on_trunk):
    training = replace(on_trunk.training, learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate(s, steps=100, settings=training) for s in range(100)]
    assert np.all(np.diff(rates[:11]) > 0)
    assert rates[10:81] == [1.0] * 71
    assert np.all(np.diff(rates[80:]) < 0)
    assert rates[85] == pytest.approx(1 - (5 / 20) ** 0.5)
    assert 0 < rates[-1] < 0.03
    longer = [learning_rate(s, steps=200, settings=training) for s in range(160)]
    assert longer[:81] == rates[:81]
    assert [learning_rate(s, steps=None, settings=training) for s in range(200)][:81] == rates[:81]


def test_a_branch_is_the_run_it_would_be_alone(on_trunk, cache, evaluation, tmp_path, same_run):
    budgets = [replace(on_trunk, budget=n) for n in (60, 100, 164)]
    assert len({spec.trunk_id for spec in budgets}) == 1
    assert len({spec.run_id for spec in budgets}) == 3
    shared_draws = []
    for spec in budgets:
        alone = trained(spec, cache, evaluation, tmp_path / "alone")
        branch = trained(spec, cache, evaluation, tmp_path / "runs", trunk=tmp_path / "trunk")
        assert same_run(alone, branch)
        assert read_run(alone).details["shared"]["draws"] == 0
        shared_draws.append(read_run(branch).details["shared"]["draws"])
    branches = [spec.training.branch_step(spec.budget) * 8 for spec in budgets]
    assert shared_draws == [0, branches[0], branches[1]]
    assert (
        read_run(branch).details["flops"] == 164 * read_run(branch).details["shared"]["flops"] // branches[1]
    )


def test_a_branch_that_died_goes_on_and_a_shorter_one_does_without_the_trunk(
    on_trunk, cache, evaluation, tmp_path, same_run, dies_at
):
    first, second = (replace(on_trunk, budget=n) for n in (60, 164))
    trained(first, cache, evaluation, tmp_path / "runs", trunk=tmp_path / "trunk")

    often = ComputeSettings(checkpoint_seconds=0.0)
    with pytest.raises(RuntimeError, match="killed"):
        trained(
            second,
            cache,
            evaluation,
            tmp_path / "runs",
            trunk=tmp_path / "trunk",
            compute=often,
            progress=dies_at(112),
        )
    branch = trained(second, cache, evaluation, tmp_path / "runs", trunk=tmp_path / "trunk")
    assert same_run(branch, trained(second, cache, evaluation, tmp_path / "alone"))
    assert read_run(branch).details["shared"]["draws"] == first.training.branch_step(60) * 8
    between = replace(on_trunk, budget=100)  # the trunk has gone past its branch
    late = trained(between, cache, evaluation, tmp_path / "runs", trunk=tmp_path / "trunk")
    assert read_run(late).details["shared"]["draws"] == 0
    assert same_run(late, trained(between, cache, evaluation, tmp_path / "alone"))
    assert checkpoint.load_state(tmp_path / "trunk")["steps"] == second.training.branch_step(164)


def test_a_trunk_that_is_damaged_or_computed_otherwise_is_not_used(
    on_trunk, cache, evaluation, tmp_path, same_run
):
    first, second = (replace(on_trunk, budget=n) for n in (60, 100))
    trunk = tmp_path / "trunk"
    trained(first, cache, evaluation, tmp_path / "runs", trunk=trunk)
    other = ComputeSettings(micro_batch=4)
    with pytest.warns(VoxmixWarning, match="computed in another way: micro_batch None then, 4 now"):
        trained(second, cache, evaluation, tmp_path / "other", trunk=trunk, compute=other)
    state = trunk / "state.pt"
    state.write_bytes(state.read_bytes()[:-10])
    (trunk / "state.previous.pt").unlink()
    with pytest.warns(VoxmixWarning, match="the trunk is not used: .* damaged"):
        branch = trained(second, cache, evaluation, tmp_path / "runs", trunk=trunk)
    assert same_run(branch, trained(second, cache, evaluation, tmp_path / "alone"))


def test_a_budget_in_seconds_ends_with_its_cooldown_in_time_and_an_exact_mixture(
    on_trunk, cache, evaluation, tmp_path, same_run, monkeypatch
):
    clock = itertools.count()
    ticking = SimpleNamespace(monotonic=lambda: next(clock) / 50)  # each look at the clock takes 0.02 s
    monkeypatch.setattr(session, "time", ticking)
    timed = replace(on_trunk, budget=2, budget_unit="seconds")
    shown = []
    folder = trained(timed, cache, evaluation, tmp_path, progress=lambda *p: shown.append(p))
    monkeypatch.undo()
    result = read_run(folder)
    assert result.draws == dict(zip(("CT", "MR"), timed.mixture.draws(result.budget).tolist(), strict=True))
    branch = on_trunk.training.branch_step(result.budget)
    assert 70 <= branch <= 80  # a look a step, some for progress: 0.8 of 2 s are 80 looks
    assert result.budget == pytest.approx(8 * branch / 0.8, abs=10)
    assert 1.6 <= result.seconds <= 2
    assert shown[-1] == (2, 2)
    # It is the run of so many draws: the same draws, rates and weights.
    counted = replace(on_trunk, budget=result.budget)
    assert same_run(folder, trained(counted, cache, evaluation, tmp_path))


def test_a_budget_in_flops_pays_for_whole_draws(spec, cache, evaluation, tmp_path):
    from voxmix.encoders.networks import flops_per_draw

    each = flops_per_draw(spec.model)
    paid = replace(spec, budget=int(20.9 * each), budget_unit="flops")
    result = read_run(trained(paid, cache, evaluation, tmp_path))
    assert result.budget == 20
    assert result.details["flops"] == 20 * each
    with pytest.raises(InputError, match="does not pay for one draw"):
        trained(replace(paid, budget=each - 1), cache, evaluation, tmp_path)
