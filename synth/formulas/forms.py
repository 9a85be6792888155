"""Forms: weighted sums of formulas with holes, numbers that are to be found by fitting.

Inside a formula, `holed` is a sum whose weights and constant are holes: Σ θ[scales] · argument +
θ[shift], where −1 stands for a weight of one and a constant of none. The outermost weights are no
holes: they are linear, and solved for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from grammars.grammar import Grammar
from grammars.interpreters.torch import TorchAlgebra
from grammars.primitive import Primitive
from grammars.program import Node, linear, terms_of

HOLED = "holed"
FIXED = -1  # the place of a weight that is one, or of a constant that is none
HUGE = 1e12  # values of formulas are held between ±HUGE, or the equations are of no use


@dataclass(frozen=True, eq=False)
class Form:
    """Formulas that are summed with weights, the holes in them, and where a fit of these starts."""

    terms: tuple[Node, ...]
    starts: tuple[float, ...]

    @property
    def holes(self) -> int:
        return len(self.starts)

    def filled(self, values: Sequence[float]) -> tuple[Node, ...]:
        """The formulas with numbers in the holes. ValueError where these need too many bits."""
        return tuple(_filled(term, values) for term in self.terms)


def holed(args: Sequence[Node], scales: Sequence[int], shift: int) -> Node:
    """A sum of arguments whose weights and constant are holes, by their places."""
    places = tuple(float(i) for i in scales)
    return Node(HOLED, tuple(args), (("scales", places), ("shift", float(shift))))


def loosened(terms: Sequence[Node], grammar: Grammar) -> Form:
    """The form of some formulas: a hole for each number in them, and for each weight and constant
    that would make another function of them."""
    loose = _Loosened(grammar)
    found = tuple(loose.term(term) for term in terms)
    return Form(found, tuple(loose.starts))


def values_of(
    terms: Sequence[Node], holes: Tensor, inputs: Mapping[Node, Tensor], grammar: Grammar
) -> Tensor:
    """(B, K, n) the formulas for B fillings (B, p) of their holes, over inputs (n,) by tap."""
    algebra, size = TorchAlgebra(_no_tap), len(next(iter(inputs.values())))

    def weighted(weights: Iterable[Any], args: Iterable[Any], constant: Any) -> Any:
        pairs = zip(weights, args, strict=True)
        return sum((a if w is None else w * a for w, a in pairs), holes.new_zeros(1)) + constant

    def visit(node: Node) -> Any:
        if node.op == "tap":
            return inputs[node]
        args = [visit(arg) for arg in node.args]
        if node.op == HOLED:
            *scales, shift = (None if i == FIXED else holes[:, i, None] for i in _places(node))
            return weighted(scales, args, 0.0 if shift is None else shift)
        if node.op in ("linear", "const"):
            pairs, bias = terms_of(node)
            return weighted((w for w, _ in pairs), args, bias)
        return grammar[node.op].body(algebra, *args, **dict(node.params))

    rows = [torch.broadcast_to(visit(term), (len(holes), size)) for term in terms]
    return torch.nan_to_num(torch.stack(rows, 1), HUGE, HUGE, -HUGE).clamp(-HUGE, HUGE)


def _places(node: Node) -> list[int]:
    scales: Any = node["scales"]
    return [*map(int, scales), int(node["shift"])]  # type: ignore[arg-type]


def _filled(node: Node, values: Sequence[float]) -> Node:
    args = [_filled(arg, values) for arg in node.args]
    if node.op == "linear":
        pairs, bias = terms_of(node)
        return linear(((w, a) for (w, _), a in zip(pairs, args, strict=True)), bias)
    if node.op != HOLED:
        return Node(node.op, tuple(args), node.params)
    *scales, shift = _places(node)
    weights = (1.0 if i == FIXED else values[i] for i in scales)
    return linear(zip(weights, args, strict=True), 0.0 if shift == FIXED else values[shift])


@dataclass(eq=False)
class _Loosened:
    """Puts holes into formulas, and counts them."""

    grammar: Grammar
    starts: list[float] = field(default_factory=list)

    def term(self, node: Node) -> Node:
        """A formula whose own weight is solved for."""
        if node.op in ("tap", "const"):
            return node
        if node.op == "linear":
            return self.argument(node, fixed=True)[0]
        return self.function(node)[0]

    def function(self, node: Node) -> tuple[Node, float]:
        """A call with holes in its arguments, and how many times larger it is to be: factors that
        come out of it again are no holes, for there is a weight before it."""
        *own, together = _degrees(self.grammar[node.op], len(node.args))
        args, factor, over = [], 1.0, 1.0
        for place, (arg, degree) in enumerate(zip(node.args, own, strict=True)):
            common = together if place == 0 and degree is None else None
            fixed = degree is not None or common is not None
            inner, size = self.argument(arg, fixed=fixed, over=over)
            factor *= size ** (degree or common or 0.0)
            over = size if common is not None else over
            args.append(inner)
        return Node(node.op, tuple(args), node.params), factor

    def argument(self, node: Node, *, fixed: bool, over: float = 1.0) -> tuple[Node, float]:
        """What a function is of, `over` times smaller: a sum with holes. Where `fixed`, its first
        weight is a sign, and the sum is to be as many times larger as is said beside it."""
        pairs, bias = terms_of(node)
        if not pairs:
            return holed((), (), self.hole(bias / over)), 1.0
        parts = [(a, 1.0) if a.op == "tap" else self.function(a) for _, a in pairs]
        weights = [w * more / over for (w, _), (_, more) in zip(pairs, parts, strict=True)]
        inner, size = [part for part, _ in parts], abs(weights[0]) if fixed else 1.0
        first = FIXED if fixed else self.hole(weights[0])
        scales = [first, *(self.hole(weight / size) for weight in weights[1:])]
        if fixed and weights[0] < 0:
            inner[0] = linear([(-1.0, inner[0])])
        return holed(inner, scales, self.hole(bias / over / size)), size

    def hole(self, start: float) -> int:
        self.starts.append(start)
        return len(self.starts) - 1


@lru_cache(maxsize=256)
def _degrees(primitive: Primitive, arity: int) -> tuple[float | None, ...]:
    """For each argument, and then for all together, the degree d with which a factor above zero
    before it comes out, f(2x) = 2^d f(x), tried on numbers; None where it does not."""
    params = {name: spec.default for name, spec in primitive.parameters}
    algebra, points = (
        TorchAlgebra(_no_tap),
        torch.tensor([0.5, 1.0, 1.5, 40.0], dtype=torch.float64),
    )

    def degree(which: Sequence[int]) -> float | None:
        ratios = []
        for sign in (1.0, -1.0):
            args = [sign * points if i in which else points.flip(0) + 1 for i in range(arity)]
            more = [2 * a if i in which else a for i, a in enumerate(args)]
            pair = (primitive.body(algebra, *a, **params) for a in (args, more))
            one, two = (torch.as_tensor(v, dtype=torch.float64) for v in pair)
            if (two[one == 0] != 0).any():
                return None
            ratios.append(two[one != 0] / one[one != 0])
        ratio = torch.cat(ratios)
        alike = len(ratio) and ratio[0] > 0 and torch.isclose(ratio, ratio[:1], rtol=1e-9).all()
        return math.log2(float(ratio[0])) if alike else None

    return (*(degree([i]) for i in range(arity)), degree(range(arity)))


def _no_tap(*_: object) -> None:
    raise KeyError("a function of values reads no tap")
