from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxmix.design import KINDS, RunSpec
from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.objectives.mae.objective import MaskedReconstruction
from voxmix.objectives.mae.parameters import draw_parameters
from voxmix.objectives.mae.views import ParametersAhead
from voxmix.run_settings import ModelSettings, TrainingSettings
from voxmix.training.draws import counted_uniforms, plan_draws

DOMAINS = ("CT", "MR", "PET")


@settings(deadline=None, max_examples=40)
@given(
    raw=st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.01),
    budget=st.integers(1, 700),
    seed=st.integers(-(2**63), 2**64 - 1),
)
def test_realized_counts_are_the_quotas_of_the_mixture(raw, budget, seed):
    mixture = Mixture.from_counts(dict(zip(DOMAINS, raw, strict=True)))
    plan = plan_draws(mixture, budget=budget, seed=seed, volumes=(4, 5, 6))
    assert list(plan.draws().values()) == mixture.draws(budget).tolist()


def test_every_stretch_of_a_run_is_near_its_mixture():
    mixture = Mixture(domains=DOMAINS, weights=np.array([0.6, 0.3, 0.1]))
    plan = plan_draws(mixture, budget=4000, seed=3, volumes=(9, 9, 9))
    for stop in range(50, 4000, 50):
        counts = np.bincount(plan.domain[:stop], minlength=3)
        # Draw k of a domain lies within its own k-th share of the run, so no prefix is off by more than
        # one draw per domain, seen from the time at which it ends.
        assert np.all(np.abs(counts - stop * mixture.weights) <= 3)


def test_volumes_are_drawn_without_replacement_within_an_epoch_of_their_domain():
    mixture = Mixture(domains=DOMAINS, weights=np.array([0.5, 0.3, 0.2]))
    plan = plan_draws(mixture, budget=200, seed=0, volumes=(7, 11, 13))
    epochs = plan.volume[plan.domain == 0].reshape(-1)[: 7 * 14].reshape(14, 7)
    assert np.all(np.sort(epochs, axis=1) == np.arange(7))
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > 10
    assert plan.unique_volumes() == {"CT": 7, "MR": 11, "PET": 13}


def test_a_domain_without_volumes_is_refused_only_if_it_has_weight():
    mixture = Mixture(domains=DOMAINS, weights=np.array([0.5, 0.5, 0.0]))
    plan_draws(mixture, budget=10, seed=0, volumes=(1, 1, 0))
    with pytest.raises(InputError, match=r"MR has weight 0\.500 and no prepared training volume"):
        plan_draws(mixture, budget=10, seed=0, volumes=(1, 0, 0))


@settings(deadline=None, max_examples=30)
@given(start=st.integers(0, 10**7), size=st.integers(1, 9), columns=st.integers(1, 30))
def test_numbers_of_a_draw_do_not_depend_on_the_batch(start, size, columns):
    batch = counted_uniforms(5, start, start + size, columns=columns)
    alone = [counted_uniforms(5, n, n + 1, columns=columns)[0] for n in range(start, start + size)]
    assert np.array_equal(batch, np.stack(alone))
    assert not np.array_equal(batch, counted_uniforms(6, start, start + size, columns=columns))


MIXTURES = tuple(mixture for kind in KINDS for mixture in kind.mixtures(DOMAINS, (0.1,)))
"""Every mixture of a design: pure runs, vertices, the uniform one."""


@pytest.mark.parametrize("seed", [0, 1])
def test_runs_of_one_seed_draw_alike_whatever_their_mixture(seed):
    plans = [plan_draws(mixture, budget=600, seed=seed, volumes=(7, 11, 13)) for mixture in MIXTURES]
    for one, other in combinations(plans, 2):
        for domain in range(3):  # its k-th draw is of one volume
            volumes = [plan.volume[plan.domain == domain] for plan in (one, other)]
            both = min(map(len, volumes))
            assert np.array_equal(volumes[0][:both], volumes[1][:both])
    for domain in range(3):  # and where two mixtures hold as much of it, it stands at one place of both
        alike = [plan for plan, mix in zip(plans, MIXTURES, strict=True) if mix.weights[domain] == 0.1]
        places = [np.flatnonzero(plan.domain == domain) for plan in alike]
        assert len(places) == 2
        assert np.abs(places[0] - places[1]).max() <= 3  # one draw of each domain, at most
    other = plan_draws(MIXTURES[-1], budget=600, seed=seed + 5, volumes=(7, 11, 13))
    assert not np.array_equal(other.domain, plans[-1].domain)
    assert not np.array_equal(other.volume, plans[-1].volume)


def test_runs_of_one_seed_have_the_same_numbers_in_every_draw_whatever_their_mixture():
    model = ModelSettings(crop=16, patch=4, width=12, heads=2, decoder_width=12, decoder_heads=2)
    specs = [RunSpec(mixture=mixture, budget=99, seed=3, model=model) for mixture in MIXTURES]
    first, *others = [ParametersAhead(spec, rows=8)(40, 56) for spec in specs]
    (apart,) = [ParametersAhead(RunSpec(mixture=MIXTURES[0], budget=99, seed=4, model=model), rows=8)(40, 56)]
    for name in ("visible", "masked"):
        assert all(np.array_equal(getattr(first, name), getattr(other, name)) for other in others)
        assert not np.array_equal(getattr(first, name), getattr(apart, name))


def test_runs_of_one_seed_begin_with_the_same_weights_whatever_their_mixture(make_cache):
    cache = make_cache(dict.fromkeys(DOMAINS, 2))
    model = ModelSettings(
        crop=16, patch=8, width=12, depth=1, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
    )
    starts = []
    for mixture, seed in [*((mixture, 2) for mixture in MIXTURES), (MIXTURES[0], 3)]:
        spec = RunSpec(mixture=mixture, budget=9, seed=seed, model=model)
        starts.append(MaskedReconstruction(spec=spec, cache=cache).build().state_dict())
    first, *others, apart = starts
    assert all(torch.equal(value, other[name]) for other in others for name, value in first.items())
    assert not all(torch.equal(value, apart[name]) for name, value in first.items())


def test_numbers_are_uniform_and_not_shared_between_draws():
    u = counted_uniforms(1, 0, 4000, columns=6)
    assert len(np.unique(u)) == u.size
    assert np.all(np.abs(u.mean(axis=0) - 0.5) < 0.02)
    assert np.all(np.abs(u.std(axis=0) - 12**-0.5) < 0.01)


def test_parameters_have_the_asked_distribution():
    model = ModelSettings(crop=16, patch=4, width=12, heads=2, decoder_width=12, decoder_heads=2)
    training = TrainingSettings(scale=0.3, noise=0.1, scale_probability=0.25, noise_probability=0.0)
    drawn = draw_parameters(0, 3000, seed=1, model=model, training=training)
    assert drawn.visible.shape == (3000, 16)
    both = np.concatenate([drawn.visible, drawn.masked], axis=1)
    assert np.all(np.sort(both, axis=1) == np.arange(64))
    hidden = np.bincount(drawn.masked.reshape(-1), minlength=64) / 3000
    assert np.all(np.abs(hidden - 0.75) < 0.04)
    changed = drawn.scale != 1
    assert abs(changed.mean() - 0.25) < 0.03
    assert drawn.scale.min() >= 0.7
    assert drawn.scale.max() <= 1.3
    assert np.all(drawn.noise == 0)
    assert abs(np.log(drawn.gamma[drawn.gamma != 1]).mean()) < 0.02
