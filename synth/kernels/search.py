"""Which kernels: chains of components that grow by one at a time, a few kept at each length.

A new component starts from the best of many kernels on what is left (matching pursuit over a
dictionary, Mallat and Zhang 1993), is fitted alone, then together with those before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from synth.kernels.fit import columns_of, kernels_of, polish
from synth.kernels.numbers import host, joined
from synth.kernels.problem import Chains, Problem

DICTIONARY = 1024  # kernels of each form to start from, of which
STARTS = (6, 2)  # are fitted, for the first component and for those that come later,
ALONE = (20, 6)  # in so many steps; the best
GROWN = 4  # are fitted together with those before
TOGETHER = 6  # in so many steps, and
BEAM = 3  # chains go on


@dataclass(frozen=True, eq=False)
class Grown:
    """Fitted chains of one length with their losses (B,), of each unit best first by loss and bits.

    Some may say the same by other parameters: one way may be nearer to the grids than another.
    """

    chains: Chains
    losses: np.ndarray

    @staticmethod
    def of(problem: Problem, chains: Chains, losses: np.ndarray) -> "Grown":
        found = scores(problem, chains, losses).reshape(problem.units, -1)
        rows = _rows(np.argsort(found, axis=1, kind="stable"), found.shape[1])
        return Grown(chains.part(rows), losses[rows])

    def part(self, rows: np.ndarray) -> "Grown":
        return Grown(self.chains.part(rows), self.losses[rows])

    def firsts(self, units: int) -> np.ndarray:
        """(U,) the rows of the best chains."""
        return np.arange(units) * (len(self.losses) // units)


def grow(problem: Problem, longest: int, seed: int) -> Iterator[Grown]:
    """The chains of 1, 2, … components that write the weights best."""
    grown = _singles(problem, seed, STARTS[0], ALONE[0])
    for _ in range(longest - 1):
        yield grown
        chains = grown.chains.part(_unlike(problem, grown, BEAM))
        grown = _fitted(problem, _longer(problem, chains, seed))
        grown = _swapped(problem, grown, seed)
    yield grown


def _fitted(problem: Problem, chains: Chains) -> Grown:
    return Grown.of(problem, *polish(problem, chains, TOGETHER))


def _swapped(problem: Problem, grown: Grown, seed: int) -> Grown:
    """With all but the last of the best chain's components found anew beside the rest of it.

    The first one was to write all by itself, and often is of no use later.
    """
    best = grown.part(grown.firsts(problem.units))
    for k in range(best.chains.forms.shape[1] - 1):
        found = _fitted(problem, _longer(problem, best.chains.without(k), seed))
        better = _best_of(problem, found.part(found.firsts(problem.units)), best)
        if better is not best:
            grown, best = _before(problem, better, grown), better
    return grown


def _best_of(problem: Problem, new: Grown, old: Grown) -> Grown:
    """Of one chain for each unit the better one; the old ones where none is."""
    better = scores(problem, new.chains, new.losses) < scores(problem, old.chains, old.losses)
    if not better.any():
        return old
    units = np.arange(problem.units)
    return _beside(old, new).part(units + np.where(better, problem.units, 0))


def _before(problem: Problem, first: Grown, grown: Grown) -> Grown:
    """One chain for each unit before the others of it."""
    size = len(grown.losses) // problem.units
    behind = problem.units + _rows(np.tile(np.arange(size), (problem.units, 1)), size)
    order = np.column_stack([np.arange(problem.units), behind.reshape(problem.units, size)])
    return _beside(first, grown).part(order.ravel())


def _beside(first: Grown, second: Grown) -> Grown:
    """The rows of both."""
    pairs = zip(vars(first.chains).values(), vars(second.chains).values(), strict=True)
    return Grown(Chains(*map(joined, pairs)), np.append(first.losses, second.losses))


def scores(problem: Problem, chains: Chains, losses: np.ndarray) -> np.ndarray:
    """(B,) bits of the kernels, and of what is left: the less the better."""
    bits = problem.bits.sum(1)
    left = np.log(np.maximum(losses, np.finfo(float).tiny))
    return problem.worth * left + bits[chains.forms].sum(1)


def _longer(problem: Problem, chains: Chains, seed: int) -> Chains:
    """Each chain with each of the components that promise most beside it."""
    left = problem.without(columns_of(problem, chains, kernels_of(problem, chains)))
    found = _singles(left, seed, STARTS[1], ALONE[1])
    rows = _unlike(left, found, GROWN)
    before = chains.part(np.repeat(np.arange(len(chains)), len(rows) // len(chains)))
    return before.beside(found.chains.part(rows))


def _singles(problem: Problem, seed: int, starts: int, steps: int) -> Grown:
    """Single components that write most of the weights, from so many of each form."""
    forms, values, kernels = dictionary(problem, seed)
    gains = _gains(problem, kernels)  # (U, N)
    best = [
        rows[np.argsort(-gains[:, rows], axis=1, kind="stable")[:, :starts]]
        for rows in (np.flatnonzero(forms == f) for f in range(len(problem.forms)))
    ]
    rows = np.concatenate(best, axis=1).ravel()
    return Grown.of(problem, *polish(problem, singles(problem, forms[rows], values[rows]), steps))


def _unlike(problem: Problem, grown: Grown, count: int) -> np.ndarray:
    """The first rows of each unit, one of those that have the same forms and lose the same; of all
    units as many, so the best again where there are not so many."""
    losses, forms = grown.losses, np.sort(grown.chains.forms, axis=1)
    size = len(losses) // problem.units
    taken = [
        _first_unlike(losses[i : i + size], forms[i : i + size], count)
        for i in range(0, len(losses), size)
    ]
    most = max(map(len, taken))
    return _rows(np.array([own + own[:1] * (most - len(own)) for own in taken]), size)


def _first_unlike(losses: np.ndarray, forms: np.ndarray, count: int) -> list[int]:
    taken: list[int] = []
    for row in range(len(losses)):
        same = (
            np.isclose(losses[row], losses[t], rtol=1e-3) and (forms[row] == forms[t]).all()
            for t in taken
        )
        if not any(same):
            taken.append(row)
        if len(taken) == count:
            break
    return taken


def _rows(own: np.ndarray, size: int) -> np.ndarray:
    """(U·n,) rows of all chains, from those (U, n) of each unit, which has `size`."""
    return (own + size * np.arange(len(own))[:, None]).ravel()


def singles(problem: Problem, forms: np.ndarray, values: np.ndarray) -> Chains:
    """A chain of one component for each of some kernels, in any mix of channels."""
    free, values = problem.movable[forms][:, None], problem.xp.asarray(values[:, None])
    return Chains(forms[:, None], values, free, free_mixes(problem, len(forms), 1))


def free_mixes(problem: Problem, chains: int, length: int) -> np.ndarray:
    """(B, K, C, C) of chains whose components are in any mix of channels."""
    size = problem.channels
    return problem.xp.broadcast_to(problem.xp.asarray(np.eye(size)), (chains, length, size, size))


def _gains(problem: Problem, kernels: np.ndarray) -> np.ndarray:
    """(U, N) how much of each unit's loss each of some kernels (N, P) takes away alone, about."""
    xp = problem.xp
    half = xp.asarray(kernels, dtype=np.float32)  # gains only say where to start
    shape = problem.units, *problem.blocks.shape[-3:]
    blocks, goals = problem.blocks.reshape(shape), problem.goal.reshape(problem.units, -1)
    return np.stack([host(_gain(xp, *unit, half)) for unit in zip(blocks, goals, strict=True)])


def _gain(xp: Any, blocks: np.ndarray, goal: np.ndarray, half: np.ndarray) -> np.ndarray:
    """(N,) for one unit: rᵀG⁻¹r by elimination in place, many kernels at once."""
    channels = range(len(blocks))
    right = [half @ xp.asarray(goal @ block, dtype=np.float32) for block in blocks]
    gram = {}
    for c, d in combinations_with_replacement(channels, 2):
        seen = half @ xp.asarray(blocks[c].T @ blocks[d], dtype=np.float32)
        gram[c, d] = (seen * half).sum(1)
    ridge = 1e-3 * sum(gram[c, c] for c in channels) + float(np.finfo(np.float32).tiny)
    for c in channels:
        gram[c, c] = gram[c, c] + ridge
    total: Any = 0.0
    for c in channels:
        total = total + right[c] ** 2 / gram[c, c]
        for d in channels[c + 1 :]:
            share = gram[c, d] / gram[c, c]
            right[d] = right[d] - share * right[c]
            for e in channels[d:]:
                gram[d, e] = gram[d, e] - share * gram[c, e]
    return total


def dictionary(problem: Problem, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernels to start from: forms (N,), values (N, p) and kernels (N, P) of largest weight one."""
    return _dictionary(_Spread(problem), seed)


class _Spread:
    """The ranges of a problem; equal for all units of a layer, so that one dictionary serves."""

    def __init__(self, problem: Problem) -> None:
        self.problem = replace(problem, blocks=np.empty((problem.channels, 0, 0)), xp=np)
        window = problem.window
        names = tuple(form.primitive.name for form in problem.forms)
        self.key = (names, window.down.tobytes(), window.right.tobytes())

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Spread) and self.key == other.key


@lru_cache(maxsize=4)
def _dictionary(spread: _Spread, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    problem = spread.problem
    forms = np.repeat(np.arange(len(problem.forms)), DICTIONARY)
    values = np.zeros((len(forms), problem.size))
    for number, form in enumerate(problem.forms):
        points = _spread_out(DICTIONARY, len(form.specs), seed)
        size = len(form.specs)
        low, high = problem.low[number, :size], problem.high[number, :size]
        sizes = (low > 0) & ~problem.turning[number, :size]
        high = np.where(sizes, np.minimum(high, 2.5 * problem.window.reach + 2), high)
        ratio = np.where(sizes, high / np.where(sizes, low, 1.0), 1.0)
        even = low + (high - low) * points
        found = np.where(sizes, low * ratio**points, even)
        values[forms == number, :size] = np.where(form.movable, found, np.rint(even))
    single = singles(problem, forms, values)
    kernels = kernels_of(problem, single)[:, 0]
    largest = np.abs(kernels).max(1, keepdims=True)
    return forms, values, kernels / np.where(largest > 0, largest, 1.0)


def _spread_out(count: int, size: int, seed: int) -> np.ndarray:
    """(count, size) points that fill the unit cube evenly: multiples of powers of the root of
    x^(size+1) = x + 1, modulo one, which is the golden ratio for one dimension (Roberts 2018)."""
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (size + 1))
    steps = root ** -np.arange(1.0, size + 1)
    start = np.random.default_rng(seed).random(size)
    return (start + np.arange(count)[:, None] * steps) % 1.0
