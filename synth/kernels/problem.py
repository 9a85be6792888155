"""What is fitted: weights of units in their metrics, and sums of kernels that may be them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from grammars.primitive import Parameter, Real
from synth.kernels.forms import Form, Window
from synth.kernels.numbers import joined
from synth.metric import Metric

EDGE = 1.0  # how far outside of the window a kernel's centre may be, in positions
WORTH = 250.0  # bits that may be paid for a loss e times smaller


@dataclass(frozen=True, eq=False)
class Problem:
    """The weights (C, P) of a unit in its metric, and the kernels that may write them.

    The loss of weights w is |Σ_c blocks[c] @ w[c] − goal|², for the best bias: `blocks` (C, F, P)
    and `goal` (F,) are a root of the metric. `worth` bits may be paid for a loss e times smaller.

    U units of a layer may be one problem, of `blocks` (U, C, F, P) and `goal` (U, F): its chains
    are in U equal parts then, one unit's behind the other's. `xp` says where its numbers are.
    """

    blocks: np.ndarray
    goal: np.ndarray
    forms: Sequence[Form]
    window: Window
    worth: float = WORTH
    xp: Any = np

    @staticmethod
    def of(metric: Metric, channels: int, forms: Sequence[Form], window: Window) -> "Problem":
        """The problem of a unit whose C·P weights have this metric."""
        edge = metric.gram[:-1, -1]
        centred = metric.gram[:-1, :-1] - np.outer(edge, edge) / metric.gram[-1, -1]
        root = np.linalg.cholesky(centred).T
        blocks = root.reshape(len(root), channels, -1).transpose(1, 0, 2)
        return Problem(np.ascontiguousarray(blocks), root @ metric.target[:-1], forms, window)

    @staticmethod
    def together(problems: Sequence["Problem"], xp: Any) -> "Problem":
        """The problem of several units of a layer, with its numbers where `xp` has them."""
        blocks = xp.asarray(np.stack([problem.blocks for problem in problems]))
        goal = xp.asarray(np.stack([problem.goal for problem in problems]))
        return replace(problems[0], blocks=blocks, goal=goal, xp=xp)

    @property
    def channels(self) -> int:
        return self.blocks.shape[-3]

    @property
    def units(self) -> int:
        return len(self.goal) if self.goal.ndim == 2 else 1

    @cached_property
    def root(self) -> np.ndarray:
        """(…, F, C·P) the blocks side by side."""
        return joined([self.blocks[..., c, :, :] for c in range(self.channels)], -1)

    def owners(self, chains: int) -> np.ndarray:
        """(B,) the unit of each of so many chains."""
        return np.arange(chains) // (chains // self.units)

    def goals(self, chains: int) -> np.ndarray:
        """(B, F), or (1, F) for all, the goal of each of so many chains."""
        return self.goal[None] if self.goal.ndim == 1 else self.goal[self.owners(chains)]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many parameters each form has."""
        return tuple(len(form.specs) for form in self.forms)

    @property
    def size(self) -> int:
        """The largest number of parameters of a form."""
        return max(self.sizes)

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
        """The problem of what columns (F, n) of weights, solved for beside all else, leave over; of
        columns (B, F, n), one problem of B units, as if each chain had one for itself."""
        goal, blocks = self.goal, self.blocks
        if columns.ndim == 3:
            goal = self.goals(len(columns))
            blocks = blocks[None] if blocks.ndim == 3 else blocks[self.owners(len(columns))]
        basis = self.xp.linalg.qr(columns)[0]
        back = basis.swapaxes(-1, -2)
        goal = goal - (basis @ (back @ goal[..., None]))[..., 0]
        blocks = blocks - basis[..., None, :, :] @ (back[..., None, :, :] @ blocks)
        return replace(self, blocks=blocks, goal=goal)

    def inside(self, forms: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values (…, p) of forms (…) within their ranges."""
        xp = self.xp
        low, high, turning = (xp.asarray(v[forms]) for v in (self.low, self.high, self.turning))
        return xp.where(turning, values, xp.clip(values, low, high))

    def on_grid(self, form: int, values: np.ndarray) -> np.ndarray:
        """(n, p) the grid points nearest to values of a form, but for the rounding of floats."""
        low, step = self.forms[form].low, self.forms[form].steps
        size, turning = self.forms[form].sizes, self.turning[form][: len(low)]
        places = np.rint((values[:, : len(low)] - low) / step)
        places = np.where(turning, places % size, np.clip(places, 0, size - 1))
        return np.pad(low + places * step, ((0, 0), (0, self.size - len(low))))

    def _cut(self, form: Form, ends: np.ndarray) -> np.ndarray:
        """Ends of ranges, with centres near the window."""
        names = form.names
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
        left = [i for i in range(self.forms.shape[1]) if i != k]
        return Chains(*(part[:, left] for part in vars(self).values()))

    def beside(self, other: "Chains") -> "Chains":
        """The components of both, chain by chain."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Chains(*(joined(pair, 1) for pair in pairs))


def off_default(spec: Parameter) -> float:
    """Bits that a parameter costs more where it is not at its default."""
    size = spec.size if isinstance(spec, Real) else spec.high - spec.low + 1
    return float(size.bit_length())
