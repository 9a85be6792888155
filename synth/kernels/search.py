"""Which kernels: chains of components that grow by one at a time, a few kept at each length.

A new component starts from the best of many kernels on what is left (matching pursuit over a
dictionary, Mallat and Zhang 1993), is fitted alone, then together with those before it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import qmc

from grammars.primitive import Real
from synth.kernels.fit import Chains, Problem, columns_of, kernels_of, polish

DICTIONARY = 9  # 2 to this power kernels of each form to start from
STARTS = 2  # of each form are fitted,
ALONE = 10  # in so many steps; the best
GROWN = 4  # are fitted together with those before
TOGETHER = 8  # in so many steps, and
BEAM = 3  # chains go on
WORTH = 100.0  # bits that may be paid for a loss e times smaller


@dataclass(frozen=True, eq=False)
class Grown:
    """Chains of one length with their losses (B,), best first by loss and bits."""

    chains: Chains
    losses: np.ndarray


def grow(problem: Problem, longest: int, seed: int) -> Iterator[Grown]:
    """The chains of 1, 2, … components that write the weights best."""
    chains: Chains | None = None
    for _ in range(longest):
        grown = _longer(problem, chains, seed)
        fitted, losses = polish(problem, grown, TOGETHER)
        order = np.argsort(scores(problem, fitted, losses), kind="stable")[:BEAM]
        chains = fitted.part(order)
        yield Grown(chains, losses[order])


def scores(problem: Problem, chains: Chains, losses: np.ndarray) -> np.ndarray:
    """(B,) bits of the kernels, and of what is left: the less the better."""
    bits = np.array([form_bits(form.specs) for form in problem.forms])
    return WORTH * np.log(np.maximum(losses, np.finfo(float).tiny)) + bits[chains.forms].sum(1)


def form_bits(specs: Sequence) -> float:
    """About the bits of a kernel's parameters."""
    sizes = [s.size if isinstance(s, Real) else s.high - s.low + 1 for s in specs]
    return sum(2.0 + math.ceil(math.log2(size)) for size in sizes)


def _longer(problem: Problem, chains: Chains | None, seed: int) -> Chains:
    """Each chain with each of the components that promise most beside it."""
    if chains is None:
        return _next(problem, seed)
    parts = []
    for row in range(len(chains)):
        one = chains.part([row])
        columns = columns_of(problem, one, kernels_of(problem, one))[0]
        new = _next(problem.without(columns), seed)
        parts.append(one.part([0] * len(new)).beside(new))
    return Chains(*(np.concatenate(part) for part in zip(*map(_fields, parts), strict=True)))


def _next(problem: Problem, seed: int) -> Chains:
    """Single components that write most of the weights, unlike one another."""
    forms, values, kernels = dictionary(problem, seed)
    gains = _gains(problem, kernels)
    best = [
        rows[np.argsort(-gains[rows], kind="stable")[:STARTS]]
        for rows in (np.flatnonzero(forms == f) for f in range(len(problem.forms)))
    ]
    rows = np.concatenate(best)
    fitted, losses = polish(problem, singles(problem, forms[rows], values[rows]), ALONE)
    order = np.argsort(scores(problem, fitted, losses), kind="stable")
    return fitted.part(order[:GROWN])


def singles(problem: Problem, forms: np.ndarray, values: np.ndarray) -> Chains:
    """A chain of one component for each of some kernels, in any mix of channels."""
    mixes = np.broadcast_to(
        np.eye(problem.channels), (len(forms), 1, problem.channels, problem.channels)
    )
    return Chains(forms[:, None], values[:, None], problem.movable[forms][:, None], mixes)


def _gains(problem: Problem, kernels: np.ndarray) -> np.ndarray:
    """(N,) how much of the loss each of some kernels (N, P) takes away alone."""
    seen = np.matmul(kernels, problem.blocks.transpose(0, 2, 1))  # (C, N, F)
    right = np.einsum("cnf,f->nc", seen, problem.goal)
    gram = np.einsum("cnf,dnf->ncd", seen, seen, optimize=True)
    gram += 1e-3 * np.einsum("ncc->n", gram)[:, None, None] * np.eye(problem.channels)
    gram += np.finfo(float).tiny * np.eye(problem.channels)
    return np.einsum("nc,nc->n", right, np.linalg.solve(gram, right[:, :, None])[:, :, 0])


def dictionary(problem: Problem, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernels to start from: forms (N,), values (N, p) and kernels (N, P) of largest weight one."""
    return _dictionary(_Spread(problem), seed)


class _Spread:
    """The ranges of a problem; equal for all units of a layer, so that one dictionary serves."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
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
    forms = np.repeat(np.arange(len(problem.forms)), 2**DICTIONARY)
    values = np.zeros((len(forms), problem.size))
    for number, form in enumerate(problem.forms):
        points = qmc.Sobol(len(form.specs), rng=seed).random_base2(DICTIONARY)
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


def _fields(chains: Chains) -> tuple[np.ndarray, ...]:
    return chains.forms, chains.values, chains.free, chains.mixes
