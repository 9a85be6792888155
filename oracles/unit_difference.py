"""The difference of two programs over the same taps: affine rows, and skeletons over them.

For oracles that look at a program as a tree: what bends stands over few rows, however many taps
the rows read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from grammars.compiled import taps_read
from grammars.evaluation import Algebra, Reader, evaluate
from grammars.hoist import ROWS, hoist
from grammars.interpreters.affine import Affine as Row
from grammars.interpreters.affine import TapKey
from grammars.primitive import Primitive
from grammars.program import Node
from oracles.claims import Affine, below, head_form, preactivation
from oracles.closed_form import ExactMap
from oracles.interval import Interval, IntervalAlgebra, down, up


@dataclass(frozen=True, eq=False)
class Difference:
    """Two skeletons over affine rows of n columns: row i is `rows[i]`.

    `places` has, of each skeleton, the row behind each tap that it reads.
    """

    skeletons: tuple[Node, Node]
    places: tuple[Mapping[TapKey, int], Mapping[TapKey, int]]
    rows: tuple[Affine, ...]
    primitives: Mapping[str, Primitive]

    @cached_property
    def maps(self) -> tuple[ExactMap, ...]:
        """The rows in exact numbers."""
        return tuple(map(ExactMap.of, self.rows))

    @cached_property
    def floats(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (k, n) and biases (k,) of the rows."""
        return np.array([r.weights for r in self.rows]), np.array([r.bias for r in self.rows])

    def values(
        self, algebra_over: Callable[[Reader], Algebra], rows: Sequence[Any]
    ) -> tuple[Any, Any]:
        """Both programs in an algebra, from the values of the rows there.

        Raises Unsupported where a primitive has no meaning in it.
        """
        first, second = (
            evaluate(
                skeleton,
                algebra_over(lambda *key, table=table: rows[table[key]]),
                self.primitives,
            )
            for skeleton, table in zip(self.skeletons, self.places, strict=True)
        )
        return first, second

    def apart(self, point: np.ndarray) -> float:
        """A certified lower bound of |first − second| at a point (n,), by intervals."""
        rows = [_around(preactivation(row, point)) for row in self.rows]
        first, second = self.values(IntervalAlgebra, rows)
        gaps = (
            Fraction(float(high[0])) - Fraction(float(low[1]))
            for high, low in ((first, second), (second, first))
        )
        return below(max(Fraction(0), *gaps))


def difference(
    first: Node,
    second: Node,
    columns: Mapping[TapKey, int],
    primitives: Mapping[str, Primitive],
) -> Difference:
    """Two programs that read the taps of `columns`, hoisted: their difference is what is bounded.

    Raises KeyError for a tap without a column.
    """
    rows: list[Affine] = []
    skeletons, tables = [], []
    for program in (first, second):
        hoisted = hoist(program, primitives, columns)
        table: dict[TapKey, int] = {}
        for key in taps_read(hoisted.skeleton, primitives):
            row = hoisted.rows[key[1]] if key[0] == ROWS else Row({key: 1.0})
            table[key] = len(rows)
            rows.append(_spread(row, columns))
        skeletons.append(hoisted.skeleton)
        tables.append(table)
    if not rows:  # two constants
        rows.append(_spread(Row(), columns))
    return Difference((skeletons[0], skeletons[1]), (tables[0], tables[1]), tuple(rows), primitives)


def _spread(row: Row, columns: Mapping[TapKey, int]) -> Affine:
    weights = np.zeros(len(columns))
    for key, weight in row.weights.items():
        weights[columns[key]] = weight
    return Affine(weights, row.bias, head_form("identity"))


def _around(value: Fraction) -> Interval:
    """The floats about an exact number."""
    near = float(value)
    low = near if Fraction(near) <= value else down(near)
    return np.float64(low), np.float64(near if Fraction(near) >= value else up(near))
