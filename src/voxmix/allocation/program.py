"""Interior point for what the simplex with bounds cannot say: losses under a limit, the worst of several
ratios, linear rows. Batched over draws; see :mod:`voxmix.allocation.interior` for the plain case.

    min  cost . L(x) + linear . x + t        (t only where ``epigraph`` has an entry)
    s.t. caps L(x) - epigraph t <= limit,  rows x <= row_limit,  equal x = equal_value,  sum x = 1,
         lower <= x <= upper

Convex because every loss is convex in x and ``cost``, ``caps`` are not negative.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.allocation.interior import best_vertex, stride
from voxmix.law.forms import Landscape

_STEPS = 150
_TIGHT = 1e-12
_EXHAUSTED = 1e-14  # complementarity below which rounding rules


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Program:
    """One convex program per draw; ``rows`` and ``equal`` are the same for all draws."""

    cost: Float[np.ndarray, "draw target"]
    linear: Float[np.ndarray, "draw source"]
    caps: Float[np.ndarray, "draw cap target"]
    limit: Float[np.ndarray, "draw cap"]
    epigraph: Float[np.ndarray, " cap"]
    rows: Float[np.ndarray, "row source"]
    row_limit: Float[np.ndarray, " row"]
    equal: Float[np.ndarray, "equality source"]
    equal_value: Float[np.ndarray, " equality"]
    lower: Float[np.ndarray, "draw source"]
    upper: Float[np.ndarray, "draw source"]

    @property
    def minimax(self) -> bool:
        """Whether t is part of the program."""
        return bool(np.any(self.epigraph > 0))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Point:
    """Where the search ended: x, t, and the multipliers of caps, rows and equalities, per draw."""

    weights: Float[np.ndarray, "draw source"]
    level: Float[np.ndarray, " draw"]
    cap_price: Float[np.ndarray, "draw cap"]
    row_price: Float[np.ndarray, "draw row"]
    equal_price: Float[np.ndarray, "draw equality"]
    violation: Float[np.ndarray, " draw"]


def solve_program(landscape: Landscape, program: Program, *, tolerance: float = 1e-10) -> Point:
    """Return a point that solves the program; :func:`lower_bound` proves how well."""
    with np.errstate(all="ignore"):  # late steps may overflow; the certificate judges the best point met
        return _solve_program(landscape, program, tolerance)


def _solve_program(landscape: Landscape, program: Program, tolerance: float) -> Point:
    draws, sources = program.lower.shape
    free = program.upper - program.lower > _TIGHT
    held = best_vertex(np.zeros((draws, sources)), program.lower, program.upper)
    base = np.where(free, program.lower, held)
    room = np.where(free, program.upper - program.lower, 0.0)
    share = (1 - base.sum(axis=1)) / np.where(free.any(axis=1), room.sum(axis=1), 1.0)
    x = base + np.clip(share, 1e-6, 1)[:, None] * room
    at = landscape.curvature(x)
    caps, epigraph, kinds = program.caps, program.epigraph, len(program.epigraph)
    t = np.where(program.minimax, np.max(_capped(caps, at.loss), axis=1, initial=0.0) * 1.1 + 0.1, 0.0)
    rows, matrix = program.rows, np.vstack([np.ones((1, sources)), program.equal])
    value = np.concatenate([[1.0], program.equal_value])
    edges = 2 * free.sum(axis=1, keepdims=True)
    count = np.maximum(edges + kinds + len(rows), 1)

    def slack(bound: np.ndarray) -> np.ndarray:
        return np.maximum(bound, 1e-2)

    s = slack(-_excess(program, at.loss, x, t))
    z = np.ones_like(s) * 0.1 / s
    low, high = np.where(free, x - program.lower, 1.0), np.where(free, program.upper - x, 1.0)
    z_low, z_high = np.where(free, 0.01 / low, 0.0), np.where(free, 0.01 / high, 0.0)
    y = np.zeros((draws, len(matrix)))
    moving = np.concatenate([free, np.full((draws, 1), program.minimax)], axis=1)
    best, best_merit = None, np.full(draws, np.inf)
    for _ in range(_STEPS):
        at = landscape.curvature(x)
        excess = _excess(program, at.loss, x, t)
        jac = np.zeros((draws, kinds + len(rows), sources + 1))
        jac[:, :kinds, :sources] = caps @ at.slope.transpose(0, 2, 1)
        jac[:, :kinds, sources] = -epigraph
        jac[:, kinds:, :sources] = rows
        slope = np.zeros((draws, sources + 1))
        slope[:, :sources] = np.einsum("dij,dj->di", at.slope, program.cost) + program.linear
        slope[:, sources] = float(program.minimax)
        off = value - x @ matrix.T
        mu = (np.sum(s * z, axis=1) + np.sum(free * (z_low * low + z_high * high), axis=1))[:, None] / count
        tight = excess + s
        whole = np.concatenate([matrix, np.zeros((len(matrix), 1))], axis=1)
        dual = slope + np.einsum("dkv,dk->dv", jac, z) + y @ whole
        dual[:, :sources] += z_high - z_low
        merit = np.max(np.abs(np.where(moving, dual, 0.0)), axis=1) + mu[:, 0] * count[:, 0]
        merit = merit + np.max(np.abs(tight), axis=1, initial=0.0) + np.max(np.abs(off), axis=1)
        better = merit < best_merit
        now = (x, t, z, y)
        if best is None:
            best = tuple(np.array(item) for item in now)
        else:
            for kept, item in zip(best, now, strict=True):
                kept[better] = item[better]
        best_merit = np.where(better, merit, best_merit)
        done = (best_merit < tolerance * 10)[:, None] | (mu * count < _EXHAUSTED)
        if np.all(done) or not np.all(np.isfinite(merit)):
            break
        target = 0.1 * mu
        hessian = np.zeros((draws, sources + 1, sources + 1))
        hessian[:, :sources, :sources] = at.hessian(program.cost + _priced(z[:, :kinds], caps))
        hessian += np.einsum("dkv,dk,dkw->dvw", jac, z / s, jac, optimize=True)
        index = np.arange(sources)
        hessian[:, index, index] += np.where(free, z_low / low + z_high / high, 0.0)
        right = -slope - np.einsum("dkv,dk->dv", jac, (target + z * tight) / s)
        right[:, :sources] += np.where(free, target / low - target / high, 0.0)
        dv, y_new = _kkt(hessian, right, whole, off, moving & ~done)
        dx, dt = dv[:, :sources], dv[:, sources]
        ds = -tight - np.einsum("dkv,dv->dk", jac, dv)
        dz = (target - s * z - z * ds) / s
        d_low = np.where(free, target / low - z_low - z_low / low * dx, 0.0)
        d_high = np.where(free, target / high - z_high + z_high / high * dx, 0.0)
        primal = np.minimum(np.minimum(stride(dx, low), stride(-dx, high)), stride(ds, s))
        dual_step = np.minimum(np.minimum(stride(d_low, z_low), stride(d_high, z_high)), stride(dz, z))
        primal, dual_step = np.where(done, 0.0, primal), np.where(done, 0.0, dual_step)
        x, t, s = x + primal * dx, t + primal[:, 0] * dt, s + primal * ds
        low, high = np.where(free, low + primal * dx, 1.0), np.where(free, high - primal * dx, 1.0)
        z, z_low, z_high = z + dual_step * dz, z_low + dual_step * d_low, z_high + dual_step * d_high
        y = y + dual_step * (y_new - y)
    assert best is not None
    x, t, z, y = best
    x = np.where(free, np.clip(x, program.lower, program.upper), held)
    over = np.max(_excess(program, landscape.loss(x), x, t), axis=1, initial=0.0)
    return Point(
        weights=x,
        level=t,
        cap_price=z[:, :kinds],
        row_price=z[:, kinds:],
        equal_price=y[:, 1:],
        violation=np.maximum(over, np.max(np.abs(x @ matrix.T - value), axis=1)),
    )


def _capped(caps: np.ndarray, loss: np.ndarray) -> np.ndarray:
    return (caps @ loss[..., None])[..., 0]


def _priced(price: np.ndarray, caps: np.ndarray) -> np.ndarray:
    return (price[:, None] @ caps)[:, 0]


def _excess(program: Program, loss: np.ndarray, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    over_caps = _capped(program.caps, loss) - program.epigraph * t[:, None] - program.limit
    return np.concatenate([over_caps, x @ program.rows.T - program.row_limit], axis=1)


def _kkt(
    hessian: np.ndarray, right: np.ndarray, matrix: np.ndarray, off: np.ndarray, moving: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Solve ``H dv + A' y = right, A dv = off`` over the entries that may move."""
    draws, size = right.shape
    extra = len(matrix)
    whole = np.zeros((draws, size + extra, size + extra))
    mask = moving[:, :, None] & moving[:, None, :]
    whole[:, :size, :size] = hessian * mask
    index = np.arange(size)
    # a nudge that keeps late, nearly singular systems solvable; the certificate judges what comes out
    nudge = 1e-11 + 1e-13 * np.abs(hessian).max(axis=(1, 2))[:, None]
    whole[:, index, index] += np.where(moving, nudge, 1.0)
    side = matrix[None] * moving[:, None, :]
    whole[:, size:, :size] = side
    whole[:, :size, size:] = side.transpose(0, 2, 1)
    dead = ~side.any(axis=2)
    corner = np.arange(size, size + extra)
    whole[:, corner, corner] = np.where(dead, 1.0, -1e-14)
    sides = np.concatenate([np.where(moving, right, 0.0), np.where(dead, 0.0, off)], axis=1)
    solved = np.linalg.solve(whole, sides[..., None])[..., 0]
    return solved[:, :size], solved[:, size:]


def lower_bound(landscape: Landscape, program: Program, point: Point) -> Float[np.ndarray, " draw"]:
    """Return a proven lower bound on the optimum, by weak duality, from any multipliers.

    The Lagrangian of caps, rows and equalities is convex; its minimum over the simplex with bounds is at
    least its value at ``point`` less its gap there.
    """
    price = point.cap_price
    if program.minimax:
        total = (price * program.epigraph).sum(axis=1, keepdims=True)
        price = np.where(program.epigraph > 0, price / np.where(total > 0, total, 1.0), price)
    at = landscape.curvature(point.weights)
    pull = program.cost + _priced(price, program.caps)
    slope = np.einsum("dij,dj->di", at.slope, pull) + program.linear
    slope = slope + point.row_price @ program.rows + point.equal_price @ program.equal
    x = point.weights
    value = np.sum(at.loss * pull, axis=1) + np.sum(program.linear * x, axis=1)
    value = value - np.sum(price * program.limit, axis=1)
    value = value + np.sum(point.row_price * (x @ program.rows.T - program.row_limit), axis=1)
    value = value + np.sum(point.equal_price * (x @ program.equal.T - program.equal_value), axis=1)
    vertex = best_vertex(slope, program.lower, program.upper)
    return np.asarray(value - np.sum(slope * (x - vertex), axis=1))
