"""Programs as data: frozen trees over taps.

A program is a scalar function of *taps*: the values of source channels at offsets from the position
for which a unit is computed. Nodes hold no behaviour; meaning lives in the interpreters
(`grammars.evaluation`). Constants are Python floats, and every float is a dyadic rational, so that
exact interpreters lose nothing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

Value = float | int | str | tuple[float, ...]

PRE = ":pre"
"""Suffix of the bank that holds a layer's own pre-activations; no module path contains a colon."""


class Sort(StrEnum):
    """What a value of the language is, and so where it may stand."""

    WEIGHTS = "weights"  # a kernel
    ATOM = "atom"  # a tap or a convolution: readable at an offset
    FIELD = "field"  # a value at the current position
    BANK = "bank"  # all channels of a bank


@dataclass(frozen=True, slots=True)
class Node:
    """One operation over its arguments.

    `op` names a primitive, `args` are sub-programs, `params` are (keyword, value) pairs, all of
    them and in the order in which the primitive declares them. Build nodes by `tap`, `const`,
    `linear` and `call`, which keep them canonical, so that equal programs are equal by value.
    """

    op: str
    args: tuple["Node", ...] = ()
    params: tuple[tuple[str, Value], ...] = ()
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        if self.op == "linear":
            object.__setattr__(self, "params", _shared(self.params))
        object.__setattr__(self, "_hash", hash((self.op, self.args, self.params)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self):  # string hashes differ between processes: rebuild, never copy `_hash`
        if self.op == "tap":
            return tap, tuple(value for _, value in self.params)
        return Node, (self.op, self.args, self.params)

    def __getitem__(self, name: str) -> Value:
        for key, value in self.params:
            if key == name:
                return value
        raise KeyError(f"{self.op} has no parameter {name!r}")


def _shared(params: tuple[tuple[str, Value], ...]) -> tuple[tuple[str, Value], ...]:
    """Parameters whose equal numbers are one object: a thousand weights on a grid are few."""
    known: dict[float, float] = {}

    def shared(value: Value) -> Value:
        return tuple(map(known.setdefault, value, value)) if isinstance(value, tuple) else value

    return tuple((name, shared(value)) for name, value in params)


@lru_cache(maxsize=1 << 16)  # programs of a layer share their taps, and there are many programs
def tap(bank: str, channel: int, dy: int = 0, dx: int = 0) -> Node:
    """The value of `channel` of `bank`, `dy` rows down and `dx` columns right (input positions)."""
    where = (("channel", int(channel)), ("dy", int(dy)), ("dx", int(dx)))
    return Node("tap", (), (("bank", bank), *where))


def bank(name: str, channels: int) -> Node:
    """All `channels` of a bank, for what mixes them."""
    return Node("bank", (), (("name", name), ("channels", int(channels))))


def const(value: float) -> Node:
    """A number. Raises ValueError unless it is finite."""
    return Node("const", (), (("value", _finite(value)),))


def call(op: str, *args: Node, **params: Value) -> Node:
    """The primitive `op` applied to `args`; all its parameters, in the primitive's own order."""
    return Node(op, args, tuple(params.items()))


def linear(terms: Iterable[tuple[float, Node]], bias: float = 0.0) -> Node:
    """The canonical node of Σ weight · term + bias.

    Nested sums are flattened, equal terms merged, zeros dropped, terms sorted; a sum without terms
    is a constant and a single term of weight one is that term. The order of `terms` does not
    matter. Raises ValueError where merging would need a constant of more than 53 bits.
    """
    parts: dict[Node | None, list[float]] = {None: [_finite(bias)]}
    for weight, node in terms:
        for inner, atom in _flat(_finite(weight), node):
            parts.setdefault(atom, []).append(inner)
    merged = {atom: _total(values) for atom, values in parts.items()}
    total = merged.pop(None)
    atoms = sorted((a for a, w in merged.items() if a is not None and w), key=sort_key)
    if not atoms:
        return const(total)
    if len(atoms) == 1 and merged[atoms[0]] == 1.0 and total == 0.0:
        return atoms[0]
    return _linear(tuple(atoms), tuple(merged[a] for a in atoms), total)


def sum_of_taps(weights: Sequence[float], taps: Sequence[Node], bias: float = 0.0) -> Node:
    """`linear` of distinct taps that are sorted already, with finite weights none of which is zero.

    The same node, but made without looking at every term: programs of a thousand taps are common.
    """
    if len(taps) < 2:
        return linear(zip(weights, taps, strict=True), bias)
    return _linear(tuple(taps), tuple(weights), _finite(bias))


def terms_of(node: Node) -> tuple[tuple[tuple[float, Node], ...], float]:
    """Any program as ((weight, term), …) and bias; a node that is no sum is one term."""
    if node.op == "linear":
        weights: tuple[float, ...] = node["weights"]  # type: ignore[assignment]
        return tuple(zip(weights, node.args, strict=True)), float(node["bias"])  # type: ignore[arg-type]
    if node.op == "const":
        return (), float(node["value"])  # type: ignore[arg-type]
    return ((1.0, node),), 0.0


def is_sum_of_taps(node: Node) -> bool:
    """Whether a node is a sum that has taps alone for terms: they come first, so the last tells."""
    return node.op == "linear" and node.args[-1].op == "tap"


def walk(node: Node) -> Iterator[Node]:
    """Every node of the tree, parents first."""
    stack = [node]
    while stack:
        here = stack.pop()
        yield here
        stack.extend(reversed(here.args))


def taps_of(node: Node) -> tuple[Node, ...]:
    """The distinct taps of a program, sorted."""
    return tuple(sorted((leaf for leaf in leaves([node]) if leaf.op == "tap"), key=sort_key))


def leaves(programs: Iterable[Node]) -> set[Node]:
    """The distinct taps and banks of many programs."""
    found, todo = set(), list(programs)
    while todo:
        node = todo.pop()
        if node.op in ("tap", "bank"):
            found.add(node)
        elif is_sum_of_taps(node):
            found.update(node.args)
        else:
            todo.extend(node.args)
    return found


def channels_read(programs: Iterable[Node], name: str) -> set[int]:
    """The channels of bank `name` that many programs read, one by one or all at once."""
    found: set[int] = set()
    for leaf in leaves(programs):
        if leaf.op == "bank":
            found |= set(range(int(leaf["channels"]))) if leaf["name"] == name else set()  # type: ignore[arg-type]
        elif leaf["bank"] == name:
            found.add(int(leaf["channel"]))  # type: ignore[arg-type]
    return found


def count_terms(node: Node) -> int:
    """The number of leaves that a reader meets: taps, banks and constants, parameters of calls
    aside."""
    total, todo = 0, [node]
    while todo:
        here = todo.pop()
        total += here.op in ("tap", "const", "bank") or (
            here.op == "linear" and here["bias"] != 0.0
        )
        if is_sum_of_taps(here):
            total += len(here.args)
        else:
            todo.extend(here.args)
    return total


def sort_key(node: Node) -> tuple:
    """Taps first, by bank, channel, row and column; then other operations by name and contents."""
    if node.op == "tap":
        return (0, *(value for _, value in node.params))
    return (1, node.op, repr(node.params), tuple(sort_key(a) for a in node.args))


def exact_sum(a: float, b: float) -> float:
    """a + b where that is exact; raises ValueError otherwise."""
    total = a + b
    part = total - a
    if (a - (total - part)) + (b - part) == 0.0:  # nothing is lost (Knuth 1969, TwoSum)
        return total + 0.0
    return _exact(total, Fraction(a) + Fraction(b))


def exact_product(a: float, b: float) -> float:
    """a · b where that is exact; raises ValueError otherwise."""
    product = a * b
    plain = not a or not b or abs(a) == 1.0 or abs(b) == 1.0
    if plain or (_is_short(a) and _is_short(b) and 1e-290 < abs(product) < 1e290):
        return product + 0.0
    return _exact(product, Fraction(a) * Fraction(b))


def _is_short(value: float) -> bool:
    """Whether a float has at most 26 bits: the product of two such is exact (Veltkamp 1968)."""
    spread = 134217729.0 * value  # 2²⁷ + 1
    return spread - (spread - value) == value


def _linear(atoms: tuple[Node, ...], weights: tuple[float, ...], bias: float) -> Node:
    return Node("linear", atoms, (("weights", weights), ("bias", bias)))


def _flat(weight: float, node: Node) -> Iterator[tuple[float, Node | None]]:
    if node.op not in ("linear", "const"):
        yield weight, node
        return
    terms, bias = terms_of(node)
    yield exact_product(weight, bias), None
    for inner, atom in terms:
        yield exact_product(weight, inner), atom


def _total(values: list[float]) -> float:
    """The exact sum; only the end result has to be a float, whatever the order."""
    if len(values) <= 2:
        return exact_sum(*values) if len(values) == 2 else values[0]
    total = sum(map(Fraction, values), Fraction(0))
    return _exact(_nearest(total), total)


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _finite(value: float) -> float:
    value = float(value)
    if not math.isfinite(value):
        raise ValueError(f"a program's constants are finite numbers, not {value}")
    return value + 0.0  # -0.0 becomes 0.0, which prints and compares the same


def _exact(result: float, wanted: Fraction) -> float:
    if not math.isfinite(result) or Fraction(result) != wanted:
        raise ValueError(f"{wanted} has no exact float: use constants of fewer bits")
    return result + 0.0
