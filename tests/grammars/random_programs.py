"""Hypothesis strategies: random canonical programs over every primitive of the core."""

from functools import cache

from hypothesis import strategies as st

from grammars.grammar import Grammar, load_grammar
from grammars.primitive import STRUCTURE, Primitive, Real
from grammars.program import PRE, Node, Sort, Value, call, const, linear, tap

BANKS = {"conv1": 6, "features.0": 4}
OWN = "conv2"

weights = st.integers(-64, 64).filter(bool).map(lambda n: n / 16)
numbers = st.integers(-256, 256).map(lambda n: n / 16)


@cache
def core() -> Grammar:
    """The core grammar, without what happens to be installed."""
    return load_grammar(installed=False)


@st.composite
def taps(draw: st.DrawFn, *, siblings: bool = False) -> Node:
    """A tap of a source, or of the unit's own bank and its pre-activations."""
    if siblings and draw(st.integers(0, 4)) == 0:
        return tap(draw(st.sampled_from([OWN, f"{OWN}{PRE}"])), draw(st.integers(0, 3)))
    bank = draw(st.sampled_from(sorted(BANKS)))
    offsets = draw(st.tuples(st.integers(-1, 1), st.integers(-1, 1)))
    return tap(bank, draw(st.integers(0, BANKS[bank] - 1)), *offsets)


@st.composite
def parameters(draw: st.DrawFn, primitive: Primitive) -> dict[str, Value]:
    """Values on the grid, the default, or any dyadic number in the range of a real."""
    values: dict[str, Value] = {}
    for name, spec in primitive.parameters:
        if isinstance(spec, Real):
            grid = st.integers(0, spec.size - 1).map(spec.value)
            free = st.floats(spec.low, spec.high).map(lambda v: v + 0.0)
            values[name] = draw(st.just(spec.default) | grid | free)
        else:
            values[name] = draw(st.just(spec.default) | st.integers(spec.low, min(spec.high, 4)))
    return values


@st.composite
def programs(
    draw: st.DrawFn, *, depth: int = 3, grammar: Grammar | None = None, siblings: bool = False
) -> Node:
    """A canonical program: sums and calls of all primitives, at most `depth` deep."""
    grammar = grammar or core()
    shape = draw(st.integers(0, 5)) if depth else draw(st.integers(0, 1))
    if shape == 0:
        return draw(taps(siblings=siblings))
    below = programs(depth=max(depth - 1, 0), grammar=grammar, siblings=siblings)
    if shape == 1:
        return const(draw(numbers))
    if shape == 2:
        terms = draw(st.lists(st.tuples(weights, below), min_size=1, max_size=4))
        return linear(terms, draw(numbers))
    ops = sorted(p for p in grammar if p not in STRUCTURE)
    primitive = grammar[draw(st.sampled_from(ops))]
    args = [
        draw(taps() if sort is Sort.ATOM else below)
        for sort in primitive.args * (draw(st.integers(1, 3)) if primitive.variadic else 1)
    ]
    return call(primitive.name, *args, **draw(parameters(primitive)))
