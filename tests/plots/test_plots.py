"""Plots show the law's own numbers, sources as rows, and return Axes."""

import numpy as np
import pytest
from known_laws import known_law
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import voxmix
from voxmix import Mixture, allocate, fit, path, plots
from voxmix.errors import InputError
from voxmix.law.simulate import simulate
from voxmix.plots import data

DOMAINS = ("A", "B", "C")


@pytest.fixture(scope="module")
def table():
    return simulate(known_law(), budgets=(500, 1000, 2000, 4000), domains=DOMAINS)


@pytest.fixture(scope="module")
def law(table):
    return fit(table, bootstrap=10)


@pytest.fixture
def ax() -> Axes:
    return Figure().add_subplot()


def test_every_plot_draws_into_the_axes_it_is_given(law, table) -> None:
    found = allocate(law, budget=3000)
    several = {"best": found, "uniform": Mixture.uniform(DOMAINS)}
    for draw in (
        lambda ax: plots.curves(law, table, ax=ax),
        lambda ax: plots.transfer(law, ax=ax),
        lambda ax: plots.shares(found, ax=ax),
        lambda ax: plots.strategies(several, ax=ax),
        lambda ax: plots.predictions(law, table, ax=ax),
        lambda ax: plots.budgets(path(law, budgets=[1000, 2000, 4000]), ax=ax),
    ):
        ax = Figure().add_subplot()
        assert draw(ax) is ax
        assert ax.get_xlabel()
        ax.figure.draw_without_rendering()
    assert set(dir(plots)) == set(plots.__all__)


def test_without_axes_a_figure_is_made(law) -> None:
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    axes = voxmix.plots.transfer(law)
    assert isinstance(axes, Axes)
    plt.close(axes.figure)


def test_the_heat_map_has_sources_as_rows(law, ax) -> None:
    plots.transfer(law, ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(law.domains)
    assert "source" in ax.get_ylabel()
    np.testing.assert_array_equal(ax.images[0].get_array(), law.transfer)
    told = {text.get_position(): text.get_text() for text in ax.texts}
    assert told[0, 2].startswith("0.5")  # C teaches A half as well as A itself, known_laws
    assert told[2, 0].startswith("0.1")


def test_curves_are_what_the_law_predicts(law, table, ax) -> None:
    own = data.curves_data(law, table)
    assert [(curve.source, curve.target) for curve in own] == [(name, name) for name in DOMAINS]
    given = data.curves_data(law, table, target="A")
    assert [curve.source for curve in given] == list(DOMAINS)
    for curve in given:
        at = law.predict(Mixture.pure(DOMAINS, curve.source), float(curve.grid[0]))[0]
        assert curve.predicted[0] == pytest.approx(at)
        np.testing.assert_allclose(
            np.interp(curve.budgets, curve.grid, curve.predicted), curve.measured, rtol=0.01
        )
    plots.curves(law, table, target="A", ax=ax)
    assert ax.get_ylabel() == "loss on A"
    with pytest.raises(InputError, match="unknown target 'D'"):
        plots.curves(law, target="D", ax=ax)


def test_predictions_of_exact_runs_lie_on_the_line(law, table) -> None:
    measured, predicted, targets = data.predictions_data(law, table.reorder(("C", "A", "B")))
    np.testing.assert_allclose(measured, predicted, rtol=1e-2)
    assert targets == table.target
    other = simulate(known_law(), budgets=(500, 1000, 2000), domains=("A", "B", "D"))
    with pytest.raises(InputError, match="its own table"):
        data.predictions_data(law, other)


def test_shares_carry_their_ranges(law, ax) -> None:
    found = allocate(law, budget=3000)
    shown = data.shares_data(found)
    np.testing.assert_array_equal(shown.near, found.near_optimal)
    np.testing.assert_array_equal(shown.interval, found.intervals)
    assert np.isnan(data.shares_data(found.mixture).near).all()
    plots.shares(found, ax=ax)
    assert [patch.get_width() for patch in ax.patches] == found.mixture.weights.tolist()
    with pytest.raises(InputError, match="at least one"):
        plots.strategies({}, ax=ax)
