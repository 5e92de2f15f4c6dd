import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxmix.errors import InputError
from voxmix.mixture import Mixture
from voxmix.objectives.mae.parameters import draw_parameters
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
