"""Every derivative of a search's losses as one table, zeros and all."""

import numpy as np

from voxmix.law.search_problem import Losses, Problem


def jacobian(
    problem: Problem, theta: np.ndarray, rho: np.ndarray, there: Losses
) -> tuple[np.ndarray, np.ndarray]:
    """Return derivatives of the losses (draw, cell, target, number), and by the number outside the blocks."""
    slopes, at = problem.slopes(theta, rho, there), problem.at
    columns = np.zeros((*slopes.pull.shape, theta.shape[-1]))
    columns[..., : at.transfer.start] = slopes.head
    columns[:, problem.mixed, :, at.transfer] = slopes.pull[:, problem.mixed][..., None] * slopes.share
    for cell, source in zip(problem.alone, problem.source_of, strict=True):
        place = at.transfer_of(int(source))
        columns[:, cell, :, place] = slopes.pull[:, cell] * problem.moves[:, place]
    return columns, slopes.border
