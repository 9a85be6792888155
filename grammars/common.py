"""Common values: what several programs of a bank say alike, named once and read by its name.

A reading of one is a tap of the bank `layer:common`, so that a sum of named values is a sum of taps
to text and stream. `grammars.siblings.expand` over that bank spells programs out again.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from grammars.evaluation import argument_sorts
from grammars.primitive import Primitive
from grammars.program import Node, Sort, exact_product, is_sum_of_taps, linear, tap, terms_of
from grammars.scope import COMMON
from grammars.siblings import expand, references


@dataclass(frozen=True)
class Common:
    """The common values of a bank, each over taps and those before it, and for each program that
    reads them what is written in its place."""

    values: tuple[Node, ...] = ()
    written: Mapping[Node, Node] = field(default_factory=dict)


def reading(bank: str, number: int) -> Node:
    """A reading of the common value `number` of a bank."""
    return tap(f"{bank}{COMMON}", number)


def numbers_read(program: Node, values: Sequence[Node], bank: str) -> set[int]:
    """The common values that a program reads, those that one reads by another included."""
    found, todo = set[int](), [program]
    while todo:
        new = {*references(todo.pop(), f"{bank}{COMMON}")} - found
        found |= new
        todo += [values[number] for number in new]
    return found


def spelled_out(
    programs: Sequence[Node],
    values: Sequence[Node],
    bank: str,
    primitives: Mapping[str, Primitive],
) -> list[Node]:
    """Programs with common values in the place of their readings.

    Raises ValueError for weights that need more than 53 bits and for values read beside the
    position, IndexError for a value that reads itself or one behind it.
    """
    known: list[Node] = []
    for value in values:
        known.append(expand(value, f"{bank}{COMMON}", known.__getitem__, primitives))
    return [expand(p, f"{bank}{COMMON}", known.__getitem__, primitives) for p in programs]


def referring(program: Node, value: Node, name: Node, primitives: Mapping[str, Primitive]) -> Node:
    """The program with the reading `name` wherever it says `value`, or as a multiple among the
    terms of a sum."""

    def visit(node: Node) -> Node:
        if node == value:
            return name
        if node.op == "linear":
            return _sum(node)
        if not node.args:
            return node
        pairs = zip(node.args, argument_sorts(node, primitives[node.op]), strict=True)
        args = tuple(visit(a) if sort is Sort.FIELD else a for a, sort in pairs)
        return Node(node.op, args, node.params)

    def _sum(node: Node) -> Node:
        terms, bias = terms_of(node)
        gain = gain_of(value, {atom: weight for weight, atom in terms})
        if gain is not None:
            terms = ((gain, name), *(t for t in terms if t[1] not in value.args))
        if value.op == "linear" and is_sum_of_taps(node):
            return linear(terms, bias) if gain is not None else node
        return linear([(w, visit(atom)) for w, atom in terms], bias)

    return visit(program)


def gain_of(value: Node, weights: Mapping[Node, float]) -> float | None:
    """How many times the sum `value` is among the terms of another, given by their weights; None
    where it is not."""
    if value.op != "linear" or any(atom not in weights for atom in value.args):
        return None
    gain = weights[value.args[0]] / value["weights"][0]  # type: ignore[index]
    own = zip(value.args, value["weights"], strict=True)  # type: ignore[arg-type]
    try:
        same = all(exact_product(gain, w) == weights[atom] for atom, w in own)
    except ValueError:  # the quotient was rounded
        return None
    return gain if same else None


def primitive_sum(terms: Sequence[tuple[float, Node]]) -> Node:
    """The sum of which all multiples have these ratios: whole weights without a common factor, the
    first of them positive."""
    ratios = [weight.as_integer_ratio() for weight, _ in terms]
    whole = math.lcm(*(below for _, below in ratios))
    integers = [above * (whole // below) for above, below in ratios]
    factor = math.gcd(*integers) * (1 if integers[0] > 0 else -1)
    return linear([(i // factor, atom) for i, (_, atom) in zip(integers, terms, strict=True)])


def fields(program: Node, primitives: Mapping[str, Primitive]) -> Iterator[Node]:
    """Every node of a program that stands where a value is wanted; of sums of taps no taps."""
    todo = [program]
    while todo:
        node = todo.pop()
        yield node
        if node.args and not is_sum_of_taps(node):
            sorts = argument_sorts(node, primitives[node.op])
            todo += [a for a, sort in zip(node.args, sorts, strict=True) if sort is Sort.FIELD]
