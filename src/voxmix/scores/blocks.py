"""Randomised blocks: what sets apart things that were measured with the same seeds.

Runs of one seed begin with the same weights and draw in the same order, so a seed is better or worse for every
mixture alike. A difference is therefore taken within seeds: value = row + block + rest, by least squares, and the
rest alone is noise (randomised complete blocks; rows that lack a block: the intra-block analysis of incomplete ones,
Cochran and Cox 1957, *Experimental Designs*, chapters 4 and 9).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BlockFit:
    """Rows and blocks of a table of values, told apart by least squares.

    Attributes:
        effect: value of each row, were it measured in every block that it is joined with; NaN without a value.
        block: what each block adds to all of its rows, 0 on average; NaN without a value.
        noise: standard deviation of one value about row plus block; NaN where nothing is left over.
        freedom: degrees of freedom of ``noise``.
        spread: variance of the difference of two rows' effects, in units of ``noise`` squared; NaN where no
            chain of shared blocks joins the two: then only block and row together were seen.
    """

    effect: Float[np.ndarray, " row"]
    block: Float[np.ndarray, " block"]
    noise: float
    freedom: int
    spread: Float[np.ndarray, "row row"]


def fit_blocks(values: Float[np.ndarray, "row block"]) -> BlockFit:
    """Return the least-squares fit of row plus block; NaN where a row lacks a block."""
    rows, blocks = values.shape
    row, block = np.nonzero(np.isfinite(values))
    design = np.concatenate([np.eye(rows)[row], np.eye(blocks)[block]], axis=1)
    known = values[row, block]
    inverse = np.linalg.pinv(design.T @ design, hermitian=True)
    fitted = inverse @ design.T @ known
    # Rank of a bipartite graph's incidence: nodes less connected parts.
    met = design.any(axis=0)
    joined = _joined(design)
    freedom = len(known) - (int(met.sum()) - len(np.unique(joined[met], axis=0)))
    squares = float(((known - design @ fitted) ** 2).sum())
    effect, added = np.full(rows, np.nan), np.full(blocks, np.nan)
    for part in np.unique(joined[met], axis=0):
        mine, theirs = part[:rows], part[rows:]
        level = fitted[rows:][theirs].mean()
        effect[mine], added[theirs] = fitted[:rows][mine] + level, fitted[rows:][theirs] - level
    own = np.diag(inverse)[:rows]
    spread = own[:, None] + own[None, :] - 2 * inverse[:rows, :rows]
    return BlockFit(
        effect=effect,
        block=added,
        noise=float(np.sqrt(squares / freedom)) if freedom > 0 else np.nan,
        freedom=freedom,
        spread=np.where(joined[:rows, :rows], np.maximum(spread, 0.0), np.nan),
    )


def tukey_margins(found: BlockFit, *, level: float = 0.95) -> Float[np.ndarray, "row row"]:
    """Return the difference of every pair of rows that noise alone seldom makes; NaN where it cannot be told.

    In at most 1 - ``level`` of tables of equal rows any pair differs by more: Tukey's studentized range over all
    rows, with Kramer's weights where rows have unlike numbers of values (Kramer 1956, Biometrics 12:307). The best
    of many is picked after looking, so all pairs count. Rows that are one thing under two names are to be given once.
    """
    count = int(np.isfinite(found.effect).sum())
    if count < 2 or not np.isfinite(found.noise):
        return np.full(found.spread.shape, np.nan)
    reach = _studentized_range(level, count, found.freedom)
    margins: Float[np.ndarray, "row row"] = reach * found.noise * np.sqrt(found.spread / 2)
    return margins


@cache
def _studentized_range(level: float, rows: int, freedom: int) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(level, rows, freedom))


def _joined(design: Float[np.ndarray, "value node"]) -> np.ndarray:
    """Return, (node, node), which rows and blocks a chain of values joins; a node without a value is joined to none."""
    joined = design.T @ design > 0
    while True:
        further = joined.astype(np.float64) @ joined > 0
        if np.array_equal(further, joined):
            return np.asarray(joined)
        joined = further
