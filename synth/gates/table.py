"""What is known of a function of two-valued inputs: rows of bits, and the bit that it gives."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grammars.program import Node, linear


@dataclass(frozen=True, eq=False)
class Table:
    """`rows` (m, n) int64 of zeros and ones, all different, and the `values` (m,) of the function.

    `atoms` are the programs whose values the columns are. Rows that are not there may be anything.
    """

    rows: np.ndarray
    values: np.ndarray
    atoms: tuple[Node, ...]

    @property
    def is_constant(self) -> bool:
        return len(self.values) == 0 or bool((self.values == self.values[0]).all())

    @cached_property
    def support(self) -> "Table":
        """Without the inputs that the function does not need, as far as the rows say."""
        kept, table = list(range(len(self.atoms))), self
        for column in range(len(self.atoms)):
            fewer = [c for c in kept if c != column]
            found = self._over(fewer)
            if found is not None:
                kept, table = fewer, found
        return table

    def cofactor(self, column: int, value: int) -> "Table":
        """The function where an input has a value, over the others."""
        here = self.rows[:, column] == value
        others = [c for c in range(len(self.atoms)) if c != column]
        atoms = tuple(self.atoms[c] for c in others)
        return Table(self.rows[here][:, others], self.values[here], atoms)

    def complement(self) -> "Table":
        return Table(self.rows, 1 - self.values, self.atoms)

    def _over(self, columns: list[int]) -> "Table | None":
        """The function over some inputs; None where these do not decide it."""
        rows, first, place = np.unique(
            self.rows[:, columns], axis=0, return_index=True, return_inverse=True
        )
        values = self.values[first]
        if (values[place.reshape(-1)] != self.values).any():
            return None
        return Table(rows, values, tuple(self.atoms[c] for c in columns))


def bit_of(tap: Node, low: float, high: float) -> Node:
    """A tap of two values as zero and one."""
    scale = 1.0 / (high - low)
    return linear([(scale, tap)], -low * scale)
