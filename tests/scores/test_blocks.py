"""Randomised blocks: against the textbook's sums of squares, least squares, and simulated worlds of known truth."""

import numpy as np
import pytest
from scipy.stats import studentized_range

from voxmix.scores.blocks import fit_blocks, tukey_margins


def _world(
    rng: np.random.Generator, effects: list[float], *, seeds: int, seed_effect: float, noise: float = 1.0
) -> np.ndarray:
    rows = np.array(effects)[:, None]
    return (
        rows + seed_effect * rng.standard_normal(seeds) + noise * rng.standard_normal((len(effects), seeds))
    )


def test_a_complete_table_is_the_textbook_s_two_way_analysis() -> None:
    values = _world(np.random.default_rng(1), [0.0, 1.0, 3.0, 2.0], seeds=3, seed_effect=5.0)
    rows, blocks, all_ = values.mean(axis=1), values.mean(axis=0), values.mean()
    squares = ((values - rows[:, None] - blocks + all_) ** 2).sum()
    found = fit_blocks(values)
    assert found.effect == pytest.approx(rows)
    assert found.block == pytest.approx(blocks - all_)
    assert found.freedom == 6
    assert found.noise == pytest.approx(np.sqrt(squares / 6))
    reach = studentized_range.ppf(0.95, 4, 6) * found.noise / np.sqrt(3)
    margins = tukey_margins(found)
    assert margins[~np.eye(4, dtype=bool)] == pytest.approx(reach)
    assert np.diag(margins) == pytest.approx(0)


def test_rows_that_lack_blocks_are_compared_by_least_squares() -> None:
    values = _world(np.random.default_rng(2), [0.0, 1.0, 3.0, 2.0], seeds=3, seed_effect=5.0)
    values[0, 0] = values[1, 2] = values[3, 0] = values[3, 1] = np.nan
    row, block = np.nonzero(np.isfinite(values))
    # The first row and a sum of 0 over blocks as side conditions, written out.
    coding = np.vstack([np.eye(2), [-1, -1]])
    design = np.hstack([np.eye(4)[row], coding[block]])
    known, (squares,), _, _ = np.linalg.lstsq(design, values[row, block], rcond=None)
    covariance = np.linalg.inv(design.T @ design)[:4, :4]
    found = fit_blocks(values)
    assert found.effect == pytest.approx(known[:4])
    assert found.freedom == len(row) - 6
    assert found.noise == pytest.approx(np.sqrt(squares / found.freedom))
    for i in range(4):
        for k in range(4):
            wanted = covariance[i, i] + covariance[k, k] - 2 * covariance[i, k]
            assert found.spread[i, k] == pytest.approx(wanted, abs=1e-9)


def test_a_bad_block_that_a_row_lacks_does_not_flatter_it() -> None:
    values = np.array([[1.0, 11.0], [2.0, 12.0], [3.0, np.nan]])
    found = fit_blocks(values)
    assert found.effect == pytest.approx([6.0, 7.0, 8.0])
    assert found.noise == pytest.approx(0, abs=1e-12)


def test_rows_that_no_block_joins_are_not_compared() -> None:
    nan = np.nan
    values = np.array([[1.0, 2.0, nan], [1.5, 2.4, nan], [nan, nan, 0.1], [nan, nan, nan]])
    found = fit_blocks(values)
    margins = tukey_margins(found)
    assert np.isfinite(margins[0, 1])
    assert np.isnan(margins[0, 2])
    assert np.isnan(margins[:, 3]).all()
    assert found.effect[2] == pytest.approx(0.1)
    assert np.isnan(found.effect[3])
    assert found.freedom == 1


@pytest.mark.parametrize(
    "values", [[[1.0], [2.0]], [[1.0, np.nan], [np.nan, 2.0]], [[np.nan], [np.nan]], [[1.0, 2.0]]]
)
def test_without_two_rows_that_share_two_blocks_nothing_can_be_told(values: list[list[float]]) -> None:
    found = fit_blocks(np.array(values))
    assert np.isnan(found.noise)
    assert np.isnan(tukey_margins(found)).all()


@pytest.mark.parametrize("seed_effect", [0.0, 6.0])
@pytest.mark.parametrize(("rows", "seeds", "gaps"), [(5, 2, 0), (4, 3, 0), (12, 2, 0), (6, 3, 4)])
def test_equal_rows_are_told_apart_as_seldom_as_promised(
    seed_effect: float, rows: int, seeds: int, gaps: int
) -> None:
    """Family-wise error at a nominal 5%, with and without a real effect of the seeds, and with gaps."""
    rng = np.random.default_rng(rows)
    wrong, worlds = 0, 600
    for _ in range(worlds):
        values = _world(rng, [0.0] * rows, seeds=seeds, seed_effect=seed_effect)
        values.ravel()[rng.choice(values.size, gaps, replace=False)] = np.nan
        found = fit_blocks(values)
        wrong += bool((np.abs(found.effect[:, None] - found.effect) > tukey_margins(found)).any())
    # 99.8% of samples of 600 at 5% lie within three standard errors, 2.3% to 7.7%; gaps make Kramer's test careful.
    assert (0.005 if gaps else 0.023) <= wrong / worlds <= 0.077


def test_blocks_find_what_seeds_hide() -> None:
    """A difference of 8 noises between runs: found within seeds, hidden by seeds that differ by 6 noises."""
    rng, reach = np.random.default_rng(5), studentized_range.ppf(0.95, 5, 5)
    within = among = 0
    for _ in range(200):
        values = _world(rng, [0.0, 2.0, 4.0, 6.0, 8.0], seeds=2, seed_effect=6.0)
        found = fit_blocks(values)
        within += bool(found.effect[4] - found.effect[0] > tukey_margins(found)[0, 4])
        plain = np.sqrt(values.var(axis=1, ddof=1).mean()) / np.sqrt(2)
        among += bool(values[4].mean() - values[0].mean() > reach * plain)
    assert within > 0.75 * 200
    assert among < 0.35 * 200
