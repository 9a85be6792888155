"""Kernels for units over many channels: atoms of one channel each, the most telling one first.

A mix of all channels under each kernel, as for colours, would say less than the weights; a few
small kernels over a few named sources are a program. Pursuit on what is left (Mallat and Zhang
1993), over all channels and a dictionary at once; all atoms are fitted together after each step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from synth.kernels.fit import columns_of, kernels_of, polish
from synth.kernels.problem import Chains, Problem
from synth.kernels.rounding import Readable, facing, on_grids, settled
from synth.kernels.search import dictionary, scores

LENGTHS = (1, 2, 3, 4, 6, 8, 12)  # atoms of the sums that are read
TRIED = 12  # atoms that are fitted beside those before
STEPS = 6  # of fitting
SETTLED = 4  # atoms of a sum that is worth single moves on the grids
RIDGE = 1e-3  # of the size of an atom's column: keeps those that hardly show from being taken


@dataclass(frozen=True, eq=False)
class Atoms:
    """Chains (B, K) of one channel an atom: `channels` (B, K) says which."""

    forms: np.ndarray
    values: np.ndarray
    channels: np.ndarray

    def chains(self, problem: Problem) -> Chains:
        """As chains of a problem of all channels."""
        mixes = np.eye(problem.channels)[self.channels][..., None]
        return Chains(self.forms, self.values, problem.movable[self.forms], mixes)


def sparse(problem: Problem, seed: int) -> Iterator[Readable]:
    """Sums of few atoms, the shortest first, with their parameters on their grids."""
    dictionary_ = _Dictionary.of(problem, seed)
    chosen = Atoms(*(np.zeros((1, 0, *shape), dtype=kind) for shape, kind in _shapes(problem)))
    for length in range(1, LENGTHS[-1] + 1):
        chosen = _longer(problem, dictionary_, chosen)
        if length in LENGTHS:
            yield _readable(problem, chosen)


def _longer(problem: Problem, known: "_Dictionary", chosen: Atoms) -> Atoms:
    """The atoms with the one more that leaves least, all fitted together."""
    left = problem.goal
    if chosen.forms.size:
        chains = chosen.chains(problem)
        columns = columns_of(problem, chains, kernels_of(problem, chains))[0]
        left = left - columns @ np.linalg.lstsq(columns, left, rcond=None)[0]
    rows, channels = known.best(problem, left)
    count = len(rows)
    tried = Atoms(
        np.column_stack([np.repeat(chosen.forms, count, axis=0), known.forms[rows]]),
        np.concatenate(
            [np.repeat(chosen.values, count, axis=0), known.values[rows][:, None]], axis=1
        ),
        np.column_stack([np.repeat(chosen.channels, count, axis=0), channels]),
    )
    inner, active = _of_channels(problem, tried)
    fitted, losses = polish(inner, active.chains(inner), STEPS)
    best = int(np.argmin(scores(inner, fitted, losses)))
    values = fitted.values[best : best + 1]
    return Atoms(tried.forms[best : best + 1], values, tried.channels[best : best + 1])


def _of_channels(problem: Problem, atoms: Atoms) -> tuple[Problem, Atoms]:
    """The problem of those channels alone that the atoms read, numbered anew."""
    used, numbers = np.unique(atoms.channels, return_inverse=True)
    numbered = replace(atoms, channels=numbers.reshape(atoms.channels.shape))
    return replace(problem, blocks=problem.blocks[used]), numbered


def _readable(problem: Problem, atoms: Atoms) -> Readable:
    inner, active = _of_channels(problem, atoms)
    chain = on_grids(inner, active.chains(inner))
    if atoms.forms.shape[1] <= SETTLED:
        chain = settled(inner, chain)
    chain = facing(inner, chain)
    whole = replace(atoms, values=chain.values).chains(problem)
    return Readable(whole, (None,) * atoms.forms.shape[1])


@dataclass(frozen=True, eq=False)
class _Dictionary:
    """Kernels to start from: `forms` (N,), `values` (N, p) and `kernels` (N, P), and the squares
    (C, N) of what each makes in each channel."""

    forms: np.ndarray
    values: np.ndarray
    kernels: np.ndarray
    squares: np.ndarray

    @staticmethod
    def of(problem: Problem, seed: int) -> "_Dictionary":
        forms, values, kernels = dictionary(problem, seed)
        squares = np.stack([((block @ kernels.T) ** 2).sum(0) for block in problem.blocks])
        return _Dictionary(forms, values, kernels, squares)

    def best(self, problem: Problem, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T,) rows and channels of the atoms that take most of what is left, each of its own form
        or channel."""
        seen = np.stack([left @ block for block in problem.blocks]) @ self.kernels.T  # (C, N)
        gains = seen**2 / (self.squares + RIDGE * self.squares.max() + np.finfo(float).tiny)
        by_form = np.full((problem.channels, len(problem.forms)), -1)
        for form in range(len(problem.forms)):
            rows = np.flatnonzero(self.forms == form)
            by_form[:, form] = rows[gains[:, rows].argmax(1)]
        best = np.take_along_axis(gains, by_form, axis=1)
        channels, forms = np.divmod(np.argsort(-best, axis=None, kind="stable"), best.shape[1])
        channels, forms = channels[:TRIED], forms[:TRIED]
        return by_form[channels, forms], channels


def _shapes(problem: Problem) -> Sequence[tuple[tuple[int, ...], type]]:
    return ((), int), ((problem.size,), float), ((), int)
