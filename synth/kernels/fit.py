"""Sums of kernels fitted to the weights of a unit, by variable projection.

A component is a kernel times a mix of channels; the mixes and the bias are linear and solved for
inside (Golub and Pereyra 1973), the kernels' parameters are found by Levenberg and Marquardt's
method on what is left, with Kaufman's (1975) Jacobian. Many chains of components are fitted at
once: each array has a first axis of B chains, and a second of K components.
"""

from dataclasses import dataclass, replace

import numpy as np

from synth.kernels.numbers import host, joined
from synth.kernels.problem import Chains, Problem

RIDGE = 1e-3  # of a column's own square: keeps components from growing to cancel each other
DIFFERENCE = 1e-3  # of a grid step: for slopes
DAMPING = (1e-2, 0.25, 4.0, 1e6)  # at first, after a success, after a failure, and at most
SETTLED = 1e-3  # of the loss: steps that save no more are the last, if no chain saves more


@dataclass(frozen=True, eq=False)
class Solved:
    """Chains with their gains solved for: `kernels` (B, K, P), the `columns` (B, F, K·m) that gains
    multiply, the `inverse` of their squares, `gains` (B, K·m), what they leave of the goal, `left`
    (B, F), and `losses` (B,)."""

    kernels: np.ndarray
    columns: np.ndarray
    inverse: np.ndarray
    gains: np.ndarray
    left: np.ndarray
    losses: np.ndarray

    def part(self, rows: np.ndarray) -> "Solved":
        return Solved(*(values[rows] for values in vars(self).values()))


@dataclass(frozen=True, eq=False)
class Fit:
    """What chains are at their parameters: `losses` (B,), `gains` (B, K, m) and what the next step
    is made from."""

    losses: np.ndarray
    gains: np.ndarray
    hessian: np.ndarray
    slope: np.ndarray


def kernels_of(problem: Problem, chains: Chains) -> np.ndarray:
    """(B, K, P) the kernels of all components."""
    flat = chains.values.reshape(-1, problem.size)
    return kernels_at(problem, chains.forms.ravel(), flat).reshape(*chains.forms.shape, -1)


def columns_of(problem: Problem, chains: Chains, kernels: np.ndarray) -> np.ndarray:
    """(B, F, K·m) the columns that gains multiply."""
    seen = _seen(problem, kernels)  # (B, K, F, C)
    return _side_by_side(seen @ chains.mixes)


def polish(problem: Problem, chains: Chains, steps: int) -> tuple[Chains, np.ndarray]:
    """The chains after so many steps down, or fewer that settle, and their losses (B,).

    The chains of a unit settle together, and those of others go on.
    """
    xp, everything = problem.xp, np.arange(len(chains))
    at = _solved(problem, chains)
    losses, (hessian, slope) = host(at.losses), _downhill(problem, chains, at, everything)
    damping, going = np.full(len(chains), DAMPING[0]), np.ones(len(chains), dtype=bool)
    for step in range(steps):
        values = _moved(problem, chains, hessian, slope, damping)
        trial = replace(chains, values=values)
        at = _solved(problem, trial)
        tried = host(at.losses)
        better = going & (tried < losses)
        settled = better & (tried > (1 - SETTLED) * losses)
        values = xp.where(xp.asarray(better.reshape(-1, 1, 1)), values, chains.values)
        chains, losses = replace(chains, values=values), np.where(better, tried, losses)
        damping = np.minimum(damping * np.where(better, *DAMPING[1:3]), DAMPING[3])
        done = settled.reshape(problem.units, -1).all(1)
        going &= ~np.repeat(done, len(chains) // problem.units)
        if not going.any():
            break
        rows = np.flatnonzero(better)  # slopes are dear, and those of chains that stay are known
        if len(rows) and step < steps - 1:
            hessian[rows], slope[rows] = _downhill(problem, trial, at, rows)
    return chains, losses


def led(problem: Problem, chains: Chains, fit: Fit, place: int, values: np.ndarray) -> Chains:
    """The chain of one row with parameter `place` (of K·p) at some values (B,) for good, and
    the others where the quadratic of its fit has its least then."""
    k, i = divmod(place, problem.size)
    steps, form = problem.steps[chains.forms[0, k], i], chains.forms[0, k]
    by = (values - chains.values[0, k, i]) / steps
    turn = problem.periods[form, i] / steps
    by = by - turn * np.rint(by / turn) if turn else by
    many = chains.part([0] * len(values))
    many.values[:, k, i] = values
    many.free[:, k, i] = False
    slope = fit.slope - by[:, None] * fit.hessian[0, place]
    hessian = np.repeat(fit.hessian, len(values), axis=0)
    damping = np.full(len(values), DAMPING[0])
    return replace(many, values=_moved(problem, many, hessian, slope, damping))


def measured(problem: Problem, chains: Chains) -> Fit:
    """Losses and slopes of chains."""
    at = _solved(problem, chains)
    gains = at.gains.reshape(*chains.forms.shape, -1)
    return Fit(at.losses, gains, *_downhill(problem, chains, at, np.arange(len(chains))))


def _solved(problem: Problem, chains: Chains) -> Solved:
    kernels = kernels_of(problem, chains)
    columns, goals = columns_of(problem, chains, kernels), problem.goals(len(chains))
    inverse = problem.xp.linalg.inv(_ridged(problem, columns.swapaxes(1, 2) @ columns))
    gains = (inverse @ (goals[:, None] @ columns).swapaxes(1, 2))[:, :, 0]
    left = goals - (columns @ gains[:, :, None])[:, :, 0]
    return Solved(kernels, columns, inverse, gains, left, (left**2).sum(1))


def _downhill(
    problem: Problem, chains: Chains, at: Solved, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The Gauss and Newton matrices (r, K·p, K·p) and the ways down (r, K·p) of some of the chains;
    parameters count in steps of their grids."""
    owners, count = problem.owners(len(chains))[rows], len(rows)
    if count < len(chains):
        chains, at = chains.part(rows), at.part(rows)
    slopes, places = _slopes(problem, chains, at.kernels)
    gains = at.gains.reshape(*chains.forms.shape, -1)
    by_channel = (chains.mixes @ gains[..., None])[..., 0]  # (r, K, C)
    weights = by_channel[places[:2]][:, :, None] * slopes[:, None, :]  # (n, C, P)
    moves = problem.xp.zeros((*chains.values.shape, problem.goal.shape[-1]))
    moves[places] = _in_root(
        problem, weights.reshape(-1, problem.root.shape[-1]), owners[places[0]]
    )
    moves = moves.reshape(count, -1, moves.shape[-1])  # (r, K·p, F)
    moves = moves - (moves @ at.columns) @ at.inverse @ at.columns.swapaxes(1, 2)
    return moves @ moves.swapaxes(1, 2), (moves @ at.left[:, :, None])[:, :, 0]


def _in_root(problem: Problem, weights: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """(n, F) weights (n, C·P) of some units (n,), in order, each in the root of its metric."""
    back = problem.root.swapaxes(-1, -2)
    if back.ndim == 2:
        return weights @ back
    counts = np.bincount(owners, minlength=problem.units)
    own = owners, np.arange(len(owners)) - (np.cumsum(counts) - counts)[owners]
    filled = problem.xp.zeros((problem.units, counts.max(), weights.shape[1]))
    filled[own] = weights
    return (filled @ back)[own]


def _seen(problem: Problem, kernels: np.ndarray) -> np.ndarray:
    """(B, K, F, C) kernels (B, K, P) in each channel, in the root of the metric."""
    *units, channels, size, places = problem.blocks.shape
    flat = kernels.reshape(*units, 1, -1, places)
    seen = problem.blocks @ flat.swapaxes(-1, -2)  # (…, C, F, n)
    return seen.swapaxes(-1, -3).reshape(*kernels.shape[:2], size, channels)


def _side_by_side(columns: np.ndarray) -> np.ndarray:
    """(B, F, K·m) from (B, K, F, m)."""
    moved = columns.swapaxes(1, 2)
    return moved.reshape(*moved.shape[:2], -1)


def losses_of(problem: Problem, chains: Chains) -> np.ndarray:
    """(B,) the losses alone."""
    columns = columns_of(problem, chains, kernels_of(problem, chains))
    gram = _ridged(problem, columns.transpose(0, 2, 1) @ columns)
    gains = np.linalg.solve(gram, (problem.goal @ columns)[:, :, None])
    left = problem.goal - (columns @ gains)[:, :, 0]
    return (left**2).sum(1)


def losses_beside(problem: Problem, chain: Chains, k: int, values: np.ndarray) -> np.ndarray:
    """(B,) the losses of a chain of one row with parameters (B, p) for its component k."""
    whole, size = columns_of(problem, chain, kernels_of(problem, chain))[0], chain.mixes.shape[3]
    fixed = np.delete(whole, slice(k * size, (k + 1) * size), axis=1)  # (F, n)
    kernels = kernels_at(problem, np.repeat(chain.forms[0, k], len(values)), values)
    moved = _seen(problem, kernels[:, None])[:, 0] @ chain.mixes[0, k]  # (B, F, m)
    columns = np.concatenate([np.repeat(fixed[None], len(values), axis=0), moved], axis=2)
    right, n = problem.goal @ columns, fixed.shape[1]
    gram = np.empty((*right.shape, right.shape[1]))
    gram[:, :n, :n] = fixed.T @ fixed
    gram[:, :, n:] = columns.transpose(0, 2, 1) @ moved
    gram[:, n:, :n] = gram[:, :n, n:].transpose(0, 2, 1)
    gains = np.linalg.solve(_ridged(problem, gram), right[:, :, None])
    left = (gains.transpose(0, 2, 1) @ gram @ gains)[:, 0, 0] - 2 * (right * gains[:, :, 0]).sum(1)
    return np.maximum(problem.goal @ problem.goal + left, np.finfo(float).tiny)


def _ridged(problem: Problem, gram: np.ndarray) -> np.ndarray:
    """With each column's own share, and one where there is no column."""
    xp, diagonal = problem.xp, gram.diagonal(0, 1, 2)
    more = xp.where(diagonal > 0, RIDGE * diagonal, 1.0)
    return gram + more[:, :, None] * xp.asarray(np.eye(gram.shape[1]))


def _moved(
    problem: Problem,
    chains: Chains,
    hessian: np.ndarray,
    slope: np.ndarray,
    damping: np.ndarray,
) -> np.ndarray:
    """Parameters a damped step further down."""
    xp = problem.xp
    free = xp.asarray(chains.free.reshape(len(chains), -1))
    hessian = xp.where(free[:, :, None] & free[:, None, :], hessian, 0.0)
    diagonal = hessian.diagonal(0, 1, 2)
    least = 1e-9 * xp.amax(diagonal, 1)[:, None] + np.finfo(float).tiny
    added = xp.asarray(damping)[:, None] * diagonal + xp.where(free, least, 1.0)
    hessian = hessian + added[:, :, None] * xp.asarray(np.eye(hessian.shape[1]))
    step = xp.linalg.solve(hessian, xp.where(free, slope, 0.0)[:, :, None])[:, :, 0]
    scaled = step.reshape(chains.values.shape) * xp.asarray(problem.steps[chains.forms])
    return problem.inside(chains.forms, chains.values + scaled)


def _slopes(
    problem: Problem, chains: Chains, kernels: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The slopes (n, P) of kernels (B, K, P) by each free parameter, a grid step each, and which
    (chain, component, parameter) those are."""
    places = np.nonzero(chains.free)
    forms, rows = chains.forms[places[:2]], np.arange(len(places[0]))
    nearby = chains.values[places[:2]]
    nearby[rows, places[2]] += problem.xp.asarray(DIFFERENCE * problem.steps[forms, places[2]])
    there = kernels_at(problem, forms, nearby)
    return (there - kernels[places[:2]]) / DIFFERENCE, places


def kernels_at(problem: Problem, forms: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(S, P) the kernels of forms (S,) with values (S, p)."""
    if not len(forms):
        return problem.xp.zeros((0, len(problem.window.down)))
    order = np.argsort(forms, kind="stable")
    numbers, starts = np.unique(forms[order], return_index=True)
    ends, values = [*starts[1:], len(forms)], values[order]
    parts = [
        problem.forms[n].kernels(values[a:b, : problem.sizes[n]], problem.window, problem.xp)
        for n, a, b in zip(numbers, starts, ends, strict=True)
    ]
    return joined(parts)[np.argsort(order)]
