"""Mixtures sum to one, realize their draws exactly, and refuse what is no mixture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxmix import Mixture
from voxmix.errors import InputError


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=12).filter(lambda v: sum(v) > 1e-3),
    st.integers(1, 10**6),
)
def test_draws_sum_to_the_budget_and_stay_within_one(counts, budget):
    mixture = Mixture.from_counts({f"D{i}": c for i, c in enumerate(counts)})
    draws = mixture.draws(budget)
    assert draws.sum() == budget
    assert np.all(np.abs(draws - mixture.weights * budget) < 1 + 1e-6 * budget)
    assert np.all(draws[mixture.weights == 0] == 0)


def test_temperature_leans_to_uniform_and_one_is_proportional():
    counts = {"A": 900, "B": 100}
    assert Mixture.from_counts(counts)["A"] == pytest.approx(0.9)
    assert Mixture.from_counts(counts, temperature=2)["A"] == pytest.approx(0.75)
    assert Mixture.from_counts(counts, temperature=1e9)["A"] == pytest.approx(0.5)


def test_pure_and_source_are_inverse():
    mixture = Mixture.pure(("A", "B", "C"), "B")
    assert mixture.source == "B"
    assert mixture.weights.tolist() == [0, 1, 0]
    assert Mixture.uniform(("A", "B")).source is None


def test_equality_hash_and_round_trip():
    mixture = Mixture.from_dict({"A": 0.25, "B": 0.75})
    assert Mixture.from_dict(mixture.as_dict()) == mixture
    assert hash(Mixture.from_dict(mixture.as_dict())) == hash(mixture)
    assert mixture != Mixture.from_dict({"A": 0.75, "B": 0.25})
    assert not mixture.weights.flags.writeable


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"A": 0.5, "B": 0.4}, "sum to 1"),
        ({"A": -0.5, "B": 1.5}, "weight of A"),
        ({"A": float("nan"), "B": 1.0}, "weight of A"),
        ({"A/B": 1.0}, "A/B"),
        ({}, "no domains"),
    ],
)
def test_what_is_no_mixture_is_refused(weights, words):
    with pytest.raises(InputError, match=words):
        Mixture.from_dict(weights)


@pytest.mark.parametrize("budget", [0, -3, 2.5])
def test_draws_of_no_budget_are_refused(budget):
    with pytest.raises((InputError, TypeError), match="budget"):
        Mixture.uniform(("A", "B")).draws(budget)


def test_a_vertex_gives_every_domain_min_weight_and_the_rest_to_one():
    names = ("A", "B", "C", "D")
    vertex = Mixture.vertex(names, "C", min_weight=0.05)
    assert vertex.weights == pytest.approx([0.05, 0.05, 0.85, 0.05])
    assert Mixture.vertex(names, "C", min_weight=0) == Mixture.pure(names, "C")
    assert Mixture.vertex(names, "C", min_weight=0.25) == Mixture.uniform(names)
    tenth = tuple("ABCDEFGHIJ")
    assert Mixture.vertex(tenth, "C", min_weight=0.1) == Mixture.uniform(tenth)


@pytest.mark.parametrize(
    ("source", "least", "says"),
    [
        ("E", 0.05, "unknown domain 'E'"),
        ("C", -0.1, "give 0 to 0.25"),
        ("C", 0.26, "min_weight 0.26 of each of 4 domains is not possible"),
        ("C", float("nan"), "min_weight nan"),
    ],
)
def test_a_vertex_that_cannot_be_is_refused(source, least, says):
    with pytest.raises(InputError, match=says):
        Mixture.vertex(("A", "B", "C", "D"), source, min_weight=least)


@pytest.mark.parametrize(
    ("weights", "hub", "label"),
    [
        ({"A": 1.0, "B": 0.0, "C": 0.0}, None, "A"),
        ({"A": 0.05, "B": 0.9, "C": 0.05}, "B", "B 90%, others 5%"),
        ({"A": 0.025, "B": 0.95, "C": 0.025}, "B", "B 95%, others 2.5%"),
        ({"A": 0.45, "B": 0.45, "C": 0.1}, None, "A 45%, B 45%, C 10%"),
        ({"A": 0.5, "B": 0.5, "C": 0.0}, None, "A 50%, B 50%"),
        ({"A": 1 / 3, "B": 1 / 3, "C": 1 / 3}, None, "uniform"),
        ({"A": 0.3, "B": 0.7}, None, "A 30%, B 70%"),
    ],
)
def test_a_mixture_in_few_words(weights, hub, label):
    mixture = Mixture.from_dict(weights)
    assert (mixture.hub, mixture.label) == (hub, label)
