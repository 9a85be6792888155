"""Sums of kernels fitted to the weights of a unit, by variable projection.

A component is a kernel times a mix of channels; the mixes and the bias are linear and solved for
inside (Golub and Pereyra 1973), the kernels' parameters are found by Levenberg and Marquardt's
method on what is left, with Kaufman's (1975) Jacobian. Many chains of components are fitted at
once: each array has a first axis of B chains, and a second of K components.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from grammars.primitive import Parameter, Real
from synth.kernels.forms import Form, Window
from synth.metric import Metric

RIDGE = 1e-3  # of a column's own square: keeps components from growing to cancel each other
EDGE = 1.0  # how far outside of the window a kernel's centre may be, in positions
DIFFERENCE = 1e-3  # of a grid step: for slopes
DAMPING = (1e-2, 0.25, 4.0, 1e6)  # at first, after a success, after a failure, and at most
SETTLED = 1e-3  # of the loss: steps that save no more are the last, if no chain saves more
WORTH = 250.0  # bits that may be paid for a loss e times smaller


@dataclass(frozen=True, eq=False)
class Problem:
    """The weights (C, P) of a unit in its metric, and the kernels that may write them.

    The loss of weights w is |Σ_c blocks[c] @ w[c] − goal|², for the best bias: `blocks` (C, F, P)
    and `goal` (F,) are a root of the metric. `worth` bits may be paid for a loss e times smaller.
    """

    blocks: np.ndarray
    goal: np.ndarray
    forms: Sequence[Form]
    window: Window
    worth: float = WORTH

    @staticmethod
    def of(metric: Metric, channels: int, forms: Sequence[Form], window: Window) -> "Problem":
        """The problem of a unit whose C·P weights have this metric."""
        edge = metric.gram[:-1, -1]
        centred = metric.gram[:-1, :-1] - np.outer(edge, edge) / metric.gram[-1, -1]
        root = np.linalg.cholesky(centred).T
        blocks = root.reshape(len(root), channels, -1).transpose(1, 0, 2)
        return Problem(np.ascontiguousarray(blocks), root @ metric.target[:-1], forms, window)

    @property
    def channels(self) -> int:
        return len(self.blocks)

    @cached_property
    def root(self) -> np.ndarray:
        """(F, C·P) the blocks side by side."""
        return np.concatenate(list(self.blocks), axis=1)

    @cached_property
    def size(self) -> int:
        """The largest number of parameters of a form."""
        return max(len(form.specs) for form in self.forms)

    @cached_property
    def low(self) -> np.ndarray:
        """(forms, p) least values."""
        return np.stack([self._padded(self._cut(form, form.low)) for form in self.forms])

    @cached_property
    def high(self) -> np.ndarray:
        """(forms, p) largest values."""
        return np.stack([self._padded(self._cut(form, form.high)) for form in self.forms])

    @cached_property
    def periods(self) -> np.ndarray:
        """(forms, p) periods, zero where there is none."""
        return np.stack([self._padded(form.periods) for form in self.forms])

    @cached_property
    def turning(self) -> np.ndarray:
        """(forms, p) whether a parameter has a period, and so no ends."""
        return self.periods > 0

    @cached_property
    def steps(self) -> np.ndarray:
        """(forms, p) steps of the grids, one where a form has no such parameter."""
        return np.stack([self._padded(form.steps, 1.0) for form in self.forms])

    @cached_property
    def movable(self) -> np.ndarray:
        """(forms, p) which real parameters there are."""
        return np.stack([self._padded(form.movable) > 0 for form in self.forms])

    @cached_property
    def defaults(self) -> np.ndarray:
        """(forms, p) defaults."""
        rows = (np.array([s.default for s in form.specs], dtype=float) for form in self.forms)
        return np.stack([self._padded(row) for row in rows])

    @cached_property
    def bits(self) -> np.ndarray:
        """(forms, p) what a parameter costs more off its default."""
        rows = (np.array([off_default(s) for s in form.specs]) for form in self.forms)
        return np.stack([self._padded(row) for row in rows])

    def without(self, columns: np.ndarray) -> "Problem":
        """The problem of what columns (F, n) of weights, solved for beside all else, leave over."""
        basis = np.linalg.qr(columns)[0]
        blocks = self.blocks - basis @ (basis.T @ self.blocks)
        return replace(self, blocks=blocks, goal=self.goal - basis @ (basis.T @ self.goal))

    def inside(self, forms: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values (…, p) of forms (…) within their ranges."""
        clipped = np.clip(values, self.low[forms], self.high[forms])
        return np.where(self.turning[forms], values, clipped)

    def on_grid(self, form: int, values: np.ndarray) -> np.ndarray:
        """(n, p) the grid points nearest to values of a form, but for the rounding of floats."""
        low, step = self.forms[form].low, self.forms[form].steps
        size, turning = self.forms[form].sizes, self.turning[form][: len(low)]
        places = np.rint((values[:, : len(low)] - low) / step)
        places = np.where(turning, places % size, np.clip(places, 0, size - 1))
        return np.pad(low + places * step, ((0, 0), (0, self.size - len(low))))

    def _cut(self, form: Form, ends: np.ndarray) -> np.ndarray:
        """Ends of ranges, with centres near the window."""
        names = [name for name, _ in form.primitive.parameters]
        most = self.window.reach + EDGE
        return np.array(
            [
                np.clip(e, -most, most) if n in ("dy", "dx") else e
                for n, e in zip(names, ends, strict=True)
            ]
        )

    def _padded(self, values: np.ndarray, fill: float = 0.0) -> np.ndarray:
        return np.append(values, np.full(self.size - len(values), fill))


@dataclass(frozen=True, eq=False)
class Chains:
    """B sums of K components: `forms` (B, K), parameters `values` (B, K, p) of which those that are
    `free` (B, K, p) may move, and the `mixes` (B, K, C, m) whose spans the channels' gains are in.
    """

    forms: np.ndarray
    values: np.ndarray
    free: np.ndarray
    mixes: np.ndarray

    def __len__(self) -> int:
        return len(self.forms)

    def part(self, rows: np.ndarray | Sequence[int]) -> "Chains":
        rows = np.asarray(rows, dtype=int)
        return Chains(self.forms[rows], self.values[rows], self.free[rows], self.mixes[rows])

    def without(self, k: int) -> "Chains":
        """All components but the k-th."""
        return Chains(*(np.delete(part, k, axis=1) for part in vars(self).values()))

    def beside(self, other: "Chains") -> "Chains":
        """The components of both, chain by chain."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Chains(*(np.concatenate(pair, axis=1) for pair in pairs))


@dataclass(frozen=True, eq=False)
class Fit:
    """What chains are at their parameters: `losses` (B,), `gains` (B, K, m) and what the next step
    is made from."""

    losses: np.ndarray
    gains: np.ndarray
    hessian: np.ndarray
    slope: np.ndarray

    def part(self, rows: np.ndarray | Sequence[int]) -> "Fit":
        return Fit(*(values[rows] for values in vars(self).values()))


def kernels_of(problem: Problem, chains: Chains) -> np.ndarray:
    """(B, K, P) the kernels of all components."""
    flat = chains.values.reshape(-1, problem.size)
    return kernels_at(problem, chains.forms.ravel(), flat).reshape(*chains.forms.shape, -1)


def columns_of(problem: Problem, chains: Chains, kernels: np.ndarray) -> np.ndarray:
    """(B, F, K·m) the columns that gains multiply."""
    seen = _seen(problem, kernels)  # (B, K, F, C)
    return _side_by_side(seen @ chains.mixes)


def polish(problem: Problem, chains: Chains, steps: int) -> tuple[Chains, np.ndarray]:
    """The chains after so many steps down, or fewer that settle, and their losses (B,)."""
    chains, fit = fitted(problem, chains, steps)
    return chains, fit.losses


def fitted(problem: Problem, chains: Chains, steps: int) -> tuple[Chains, Fit]:
    """As `polish`, with all that is known of the chains in the end."""
    damping = np.full(len(chains), DAMPING[0])
    fit = measured(problem, chains)
    for _ in range(steps):
        trial = replace(chains, values=_moved(problem, chains, fit, damping))
        tried = measured(problem, trial)
        better = tried.losses < fit.losses
        settled = better & (tried.losses > (1 - SETTLED) * fit.losses)
        chains = replace(
            chains, values=np.where(better[:, None, None], trial.values, chains.values)
        )
        fit = Fit(*(_chosen(better, *pair) for pair in _pairs(tried, fit)))
        damping = np.minimum(damping * np.where(better, *DAMPING[1:3]), DAMPING[3])
        if settled.all():
            break
    return chains, fit


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
    pulled = Fit(fit.losses, fit.gains, hessian, slope)
    return replace(many, values=_moved(problem, many, pulled, damping))


def measured(problem: Problem, chains: Chains) -> Fit:
    """Losses and slopes of chains."""
    kernels, slopes, places = _with_slopes(problem, chains)
    columns = columns_of(problem, chains, kernels)
    back = columns.transpose(0, 2, 1)
    inverse = np.linalg.inv(_ridged(back @ columns))
    gains = (inverse @ (problem.goal @ columns)[:, :, None])[:, :, 0]
    left = problem.goal - (columns @ gains[:, :, None])[:, :, 0]
    gains = gains.reshape(*chains.forms.shape, -1)
    by_channel = (chains.mixes @ gains[..., None])[..., 0]  # (B, K, C)
    weights = by_channel[places[0], places[1]][:, :, None] * slopes[:, None, :]  # (n, C, P)
    moves = np.zeros((*chains.values.shape, len(problem.goal)))
    moves[places] = weights.reshape(-1, problem.root.shape[1]) @ problem.root.T
    moves = moves.reshape(len(chains), -1, len(problem.goal))  # (B, K·p, F)
    moves = moves - (moves @ columns) @ inverse @ back
    slope = (moves @ left[:, :, None])[:, :, 0]
    return Fit((left**2).sum(1), gains, moves @ moves.transpose(0, 2, 1), slope)


def _seen(problem: Problem, kernels: np.ndarray) -> np.ndarray:
    """(B, K, F, C) kernels (B, K, P) in each channel, in the root of the metric."""
    channels, size, places = problem.blocks.shape
    seen = problem.blocks @ kernels.reshape(-1, places).T  # (C, F, BK)
    return seen.transpose(2, 1, 0).reshape(*kernels.shape[:2], size, channels)


def _side_by_side(columns: np.ndarray) -> np.ndarray:
    """(B, F, K·m) from (B, K, F, m)."""
    moved = columns.transpose(0, 2, 1, 3)
    return moved.reshape(*moved.shape[:2], -1)


def losses_of(problem: Problem, chains: Chains) -> np.ndarray:
    """(B,) the losses alone."""
    columns = columns_of(problem, chains, kernels_of(problem, chains))
    gram = _ridged(columns.transpose(0, 2, 1) @ columns)
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
    gains = np.linalg.solve(_ridged(gram), right[:, :, None])
    left = (gains.transpose(0, 2, 1) @ gram @ gains)[:, 0, 0] - 2 * (right * gains[:, :, 0]).sum(1)
    return np.maximum(problem.goal @ problem.goal + left, np.finfo(float).tiny)


def off_default(spec: Parameter) -> float:
    """Bits that a parameter costs more where it is not at its default."""
    size = spec.size if isinstance(spec, Real) else spec.high - spec.low + 1
    return float(size.bit_length())


def _ridged(gram: np.ndarray) -> np.ndarray:
    """With each column's own share, and one where there is no column."""
    diagonal = np.einsum("bnn->bn", gram)
    more = np.where(diagonal > 0, RIDGE * diagonal, 1.0)
    return gram + more[:, :, None] * np.eye(gram.shape[1])


def _moved(problem: Problem, chains: Chains, fit: Fit, damping: np.ndarray) -> np.ndarray:
    """Parameters a damped step further down; they count in steps of their grids."""
    free = chains.free.reshape(len(chains), -1)
    hessian = np.where(free[:, :, None] & free[:, None, :], fit.hessian, 0.0)
    diagonal = np.einsum("bnn->bn", hessian)
    least = 1e-9 * diagonal.max(1, keepdims=True) + np.finfo(float).tiny
    added = damping[:, None] * diagonal + np.where(free, least, 1.0)
    hessian = hessian + added[:, :, None] * np.eye(hessian.shape[1])
    step = np.linalg.solve(hessian, np.where(free, fit.slope, 0.0)[:, :, None])[:, :, 0]
    scaled = step.reshape(chains.values.shape) * problem.steps[chains.forms]
    return problem.inside(chains.forms, chains.values + scaled)


def _with_slopes(
    problem: Problem, chains: Chains
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Kernels (B, K, P), their slopes (n, P) by each free parameter, a grid step each, and which
    (chain, component, parameter) those are."""
    flat, forms = chains.values.reshape(-1, problem.size), chains.forms.ravel()
    places = np.nonzero(chains.free)
    rows = places[0] * chains.forms.shape[1] + places[1]
    nearby = flat[rows]
    nearby[np.arange(len(rows)), places[2]] += DIFFERENCE * problem.steps[forms[rows], places[2]]
    both = np.concatenate([forms, forms[rows]]), np.concatenate([flat, nearby])
    here, there = np.split(kernels_at(problem, *both), [len(flat)])
    slopes = (there - here[rows]) / DIFFERENCE
    return here.reshape(*chains.forms.shape, -1), slopes, places


def kernels_at(problem: Problem, forms: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(S, P) the kernels of forms (S,) with values (S, p)."""
    result = np.empty((len(forms), len(problem.window.down)))
    for number in np.unique(forms):
        rows = np.flatnonzero(forms == number)
        form = problem.forms[number]
        result[rows] = form.kernels(values[rows, : len(form.specs)], problem.window)
    return result


def _pairs(first: Fit, second: Fit):
    return zip(vars(first).values(), vars(second).values(), strict=True)


def _chosen(where: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(where.reshape(-1, *[1] * (first.ndim - 1)), first, second)
