"""Programs over zonotopes: what is linear is exact, a maximum is a bend, the rest an interval.

Products of two values, choices and transcendentals keep their range alone (`oracles.interval`):
they are sound, and lose what their values have in common with others.
"""

from itertools import count
from typing import Any

import torch

from grammars.evaluation import Algebra, Reader
from grammars.primitive import Transcendental
from oracles.difference.bend import bent_zonotope
from oracles.difference.curves import NoTransformer, bent
from oracles.difference.rounding import REAL, UNIT, Semantics
from oracles.difference.zonotope import Zonotope, affinely, enclosing, plus, point, widened
from oracles.interval import Interval, IntervalAlgebra


class ZonotopeAlgebra(Algebra):
    """Values are zonotopes (B, *shape) of one shape, that of `like`; symbols are called after
    `name`. Rounding is that of a network which computes every operation by itself."""

    name = "zonotope"

    def __init__(self, read: Reader, like: torch.Tensor, name: str, semantics: Semantics) -> None:
        super().__init__(read)
        self._like, self._semantics = like, semantics
        self._names = (f"{name}:{number}" for number in count())
        self._intervals = IntervalAlgebra(read)

    def const(self, value: float) -> Zonotope:
        return point(torch.full_like(self._like, value))

    def add(self, a: Zonotope, b: Zonotope) -> Zonotope:
        return self._rounded(plus(a, b))

    def mul(self, a: Zonotope, b: Zonotope) -> Zonotope:
        if _is_known(b):
            a, b = b, a
        if _is_known(a):
            return self._rounded(affinely(b, a.center, torch.zeros_like(a.center)))
        return self._rounded(self._within(self._intervals.mul(_ends(a), _ends(b))))

    def max(self, a: Zonotope, b: Zonotope) -> Zonotope:
        above = bent_zonotope(plus(b, a, -1.0), bent().to(self._like), next(self._names), REAL)
        return plus(a, above)

    def min(self, a: Zonotope, b: Zonotope) -> Zonotope:
        below = bent_zonotope(plus(a, b, -1.0), bent().to(self._like), next(self._names), REAL)
        return plus(a, below, -1.0)

    def select(self, condition: Zonotope, positive: Zonotope, otherwise: Zonotope) -> Zonotope:
        ends = _ends(condition), _ends(positive), _ends(otherwise)
        return self._within(self._intervals.select(*ends))

    def call(self, function: Transcendental, x: Zonotope) -> Zonotope:
        if self._semantics.unit > UNIT:
            raise NoTransformer(
                f"no bound is known of {function.name} as {self._semantics.name} computes it: "
                "nothing can be claimed of the replacement's own rounding. Use 'real' or 'float64'."
            )
        return self._rounded(self._within(self._intervals.call(function, _ends(x))))

    def _rounded(self, values: Zonotope) -> Zonotope:
        return widened(values, self._semantics.error(1, values.magnitude))

    def _within(self, ends: Interval) -> Zonotope:
        lower, upper = (torch.as_tensor(end).to(self._like) for end in ends)
        return enclosing(lower, upper)


def _is_known(values: Zonotope) -> bool:
    return not values.blocks and not values.radius.any()


def _ends(values: Zonotope) -> Any:
    return values.lower.cpu().numpy(), values.upper.cpu().numpy()
