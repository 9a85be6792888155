"""Programs as affine forms Σ weight · tap + bias, exactly, where they are affine."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from grammars.evaluation import Algebra, Unsupported
from grammars.primitive import Transcendental
from grammars.program import Node, exact_product, exact_sum, is_sum_of_taps

TapKey = tuple[str, int, int, int]


class NotAffine(Unsupported):
    """The program bends, or its exact weights need more than 53 bits."""


@dataclass(frozen=True)
class Affine:
    """Σ weights[tap] · tap + bias, with taps as (bank, channel, dy, dx)."""

    weights: dict[TapKey, float] = field(default_factory=dict)
    bias: float = 0.0


class AffineAlgebra(Algebra):
    """Values are `Affine`; raises NotAffine where the result is not affine in the taps.

    A tap that a `window` does not have is None, for kernels to leave out.
    """

    name = "affine"

    def __init__(self, window: Container[TapKey] | None = None) -> None:
        super().__init__(self._read)
        self._window = window
        self._sums: dict[Node, Affine] = {}

    def _read(self, *key: Any) -> Affine | None:
        return Affine({key: 1.0}) if self._window is None or key in self._window else None

    def const(self, value: float) -> Affine:
        return Affine({}, value)

    def shortcut(self, node: Node) -> Affine | None:
        """A sum of taps as it stands: most programs are little else, and they are long."""
        if node in self._sums:
            return self._sums[node]
        if not is_sum_of_taps(node):
            return None
        weights: tuple[float, ...] = node["weights"]  # type: ignore[assignment]
        found = Affine(dict(zip(map(_key, node.args), weights, strict=True)), float(node["bias"]))  # type: ignore[arg-type]
        self._sums[node] = found
        return found

    def add(self, a: Affine, b: Affine) -> Affine:
        return self.linear([1.0, 1.0], [a, b], 0.0)

    def mul(self, a: Affine, b: Affine) -> Affine:
        if a.weights and b.weights:
            raise NotAffine("a product of two values is not affine")
        scale, value = (a.bias, b) if not a.weights else (b.bias, a)
        return self.linear([scale], [value], 0.0)

    def max(self, a: Affine, b: Affine) -> Affine:
        return a if _known(a, b).bias > b.bias else b

    def min(self, a: Affine, b: Affine) -> Affine:
        return a if _known(a, b).bias < b.bias else b

    def select(self, condition: Affine, positive: Affine, otherwise: Affine) -> Affine:
        return positive if _known(condition).bias > 0 else otherwise

    def call(self, function: Transcendental, x: Affine) -> Affine:
        raise NotAffine(f"{function.name} is not affine")

    def linear(self, weights: Sequence[float], values: Sequence[Affine], bias: float) -> Affine:
        merged: dict[TapKey, float] = {}
        try:
            for weight, value in zip(weights, values, strict=True):
                if value.bias:
                    bias = exact_sum(bias, exact_product(weight, value.bias))
                for key, inner in value.weights.items():
                    term = weight if inner == 1.0 else exact_product(weight, inner)
                    merged[key] = exact_sum(merged[key], term) if key in merged else term
        except ValueError as error:
            raise NotAffine(str(error)) from None
        if 0.0 in merged.values():
            merged = {k: w for k, w in merged.items() if w}
        return Affine(merged, bias)


@lru_cache(maxsize=1 << 16)  # programs share their taps
def _key(node: Node) -> TapKey:
    bank, channel, dy, dx = (value for _, value in node.params)
    return bank, channel, dy, dx  # type: ignore[return-value]


def _known(*values: Affine) -> Affine:
    if any(v.weights for v in values):
        raise NotAffine("a comparison of values is not affine")
    return values[0]
