"""Which kernels: chains of components that grow by one at a time, a few kept at each length.

A new component starts from the best of many kernels on what is left (matching pursuit over a
dictionary, Mallat and Zhang 1993), is fitted alone, then together with those before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np

from synth.kernels.fit import Chains, Problem, columns_of, kernels_of, polish

DICTIONARY = 1024  # kernels of each form to start from, of which
STARTS = (6, 2)  # are fitted, for the first component and for those that come later,
ALONE = (20, 6)  # in so many steps; the best
GROWN = 4  # are fitted together with those before
TOGETHER = 6  # in so many steps, and
BEAM = 3  # chains go on


@dataclass(frozen=True, eq=False)
class Grown:
    """Fitted chains of one length with their losses (B,), best first by loss and bits.

    Some may say the same by other parameters: one way may be nearer to the grids than another.
    """

    chains: Chains
    losses: np.ndarray

    @staticmethod
    def of(problem: Problem, chains: Chains, losses: np.ndarray) -> "Grown":
        order = np.argsort(scores(problem, chains, losses), kind="stable")
        return Grown(chains.part(order), losses[order])

    def before(self, other: "Grown") -> "Grown":
        """Behind the first chain of another."""
        chains = Chains(
            *(
                np.concatenate([theirs[:1], ours])
                for theirs, ours in zip(_fields(other.chains), _fields(self.chains), strict=True)
            )
        )
        return Grown(chains, np.append(other.losses[:1], self.losses))


def grow(problem: Problem, longest: int, seed: int) -> Iterator[Grown]:
    """The chains of 1, 2, … components that write the weights best."""
    grown = _singles(problem, seed, STARTS[0], ALONE[0])
    for _ in range(longest - 1):
        yield grown
        chains = grown.chains.part(_unlike(grown, BEAM))
        grown = _fitted(problem, _longer(problem, chains, seed))
        grown = _swapped(problem, grown, seed)
    yield grown


def _fitted(problem: Problem, chains: Chains) -> Grown:
    return Grown.of(problem, *polish(problem, chains, TOGETHER))


def _swapped(problem: Problem, grown: Grown, seed: int) -> Grown:
    """With all but the last of the best chain's components found anew beside the rest of it.

    The first one was to write all by itself, and often is of no use later.
    """
    best = grown.chains.part([0])
    for k in range(best.forms.shape[1] - 1):
        rest = best.without(k)
        found = _fitted(problem, _longer(problem, rest, seed))
        if (
            scores(problem, found.chains, found.losses)[0]
            < scores(problem, best, grown.losses[:1])[0]
        ):
            best = found.chains.part([0])
            grown = grown.before(found)
    return grown


def scores(problem: Problem, chains: Chains, losses: np.ndarray) -> np.ndarray:
    """(B,) bits of the kernels, and of what is left: the less the better."""
    bits = problem.bits.sum(1)
    left = np.log(np.maximum(losses, np.finfo(float).tiny))
    return problem.worth * left + bits[chains.forms].sum(1)


def _longer(problem: Problem, chains: Chains, seed: int) -> Chains:
    """Each chain with each of the components that promise most beside it."""
    parts = []
    for row in range(len(chains)):
        one = chains.part([row])
        left = problem.without(columns_of(problem, one, kernels_of(problem, one))[0])
        found = _singles(left, seed, STARTS[1], ALONE[1])
        new = found.chains.part(_unlike(found, GROWN))
        parts.append(one.part([0] * len(new)).beside(new))
    return Chains(*(np.concatenate(part) for part in zip(*map(_fields, parts), strict=True)))


def _singles(problem: Problem, seed: int, starts: int, steps: int) -> Grown:
    """Single components that write most of the weights, from so many of each form."""
    forms, values, kernels = dictionary(problem, seed)
    gains = _gains(problem, kernels)
    best = [
        rows[np.argsort(-gains[rows], kind="stable")[:starts]]
        for rows in (np.flatnonzero(forms == f) for f in range(len(problem.forms)))
    ]
    rows = np.concatenate(best)
    return Grown.of(problem, *polish(problem, singles(problem, forms[rows], values[rows]), steps))


def _unlike(grown: Grown, count: int) -> list[int]:
    """The first rows, one of those that have the same forms and lose the same."""
    losses, forms = grown.losses, np.sort(grown.chains.forms, axis=1)
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


def singles(problem: Problem, forms: np.ndarray, values: np.ndarray) -> Chains:
    """A chain of one component for each of some kernels, in any mix of channels."""
    mixes = np.broadcast_to(
        np.eye(problem.channels), (len(forms), 1, problem.channels, problem.channels)
    )
    return Chains(forms[:, None], values[:, None], problem.movable[forms][:, None], mixes)


def _gains(problem: Problem, kernels: np.ndarray) -> np.ndarray:
    """(N,) how much of the loss each of some kernels (N, P) takes away alone, about."""
    channels, blocks = range(problem.channels), problem.blocks
    half = kernels.astype(np.float32)  # gains only say where to start
    right = half @ (problem.goal @ blocks).T.astype(np.float32)
    gram = np.empty((len(kernels), len(channels), len(channels)), dtype=np.float32)
    for c, d in combinations_with_replacement(channels, 2):
        seen = half @ (blocks[c].T @ blocks[d]).astype(np.float32)
        gram[:, c, d] = gram[:, d, c] = np.einsum("np,np->n", seen, half)
    gram += 1e-3 * np.einsum("ncc->n", gram)[:, None, None] * np.eye(len(channels))
    gram += np.finfo(np.float32).tiny * np.eye(len(channels))
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


def _fields(chains: Chains) -> tuple[np.ndarray, ...]:
    return chains.forms, chains.values, chains.free, chains.mixes
