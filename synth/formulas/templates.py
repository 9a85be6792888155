"""Templates: one-line programs with holes, such as `_*tanh(S) + _*x*y`.

`_` is a number to be found, a lower-case letter one of the inputs, a capital letter a sum of any
inputs with weights and a constant to be found. The weights of the terms of the outermost sum are
found whether they are written or not.
"""

import ast
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

from grammars.grammar import Grammar
from grammars.parser import near
from grammars.primitive import STRUCTURE
from grammars.program import Node, Sort, call, const, linear, tap
from synth.formulas.forms import FIXED, Form, holed

INPUT, SUM = "template:input", "template:sum"  # banks of taps that stand for what is to be chosen


class TemplateError(ValueError):
    """Text that is no template, with the offending part and what was expected there."""


@dataclass(frozen=True, eq=False)
class Template:
    """The terms of a template and its `inputs` and `sums`, by their letters."""

    text: str
    terms: tuple[Node, ...]
    holes: int
    inputs: tuple[str, ...]
    sums: tuple[str, ...]

    def form(self, inputs: Sequence[Node], taps: Sequence[Node], start: float = 1.0) -> Form:
        """The form over taps: one for each letter of `inputs`, and sums over all `taps`."""
        chosen = dict(zip(self.inputs, inputs, strict=True))
        filling = _Filling(chosen, taps, [start] * self.holes)
        terms = tuple(filling.node(term) for term in self.terms)
        return Form(terms, tuple(filling.starts))


def parse_template(text: str, grammar: Grammar) -> Template:
    """Raises TemplateError, with the text, the place and what was expected."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise TemplateError(f"not a Python expression: {error}\n  in: {text}") from None
    parser = _Parser(text.strip(), grammar)
    terms = tuple(node for node in map(parser.term, parser.parts(tree)) if node.op != "const")
    if not (parser.inputs or parser.sums):
        raise parser.error(tree, "expected an input (a lower-case letter) or a sum (a capital)")
    return Template(
        text.strip(), terms, parser.holes, tuple(sorted(parser.inputs)), tuple(sorted(parser.sums))
    )


@dataclass(eq=False)
class _Parser:
    """One pass over Python's own tree."""

    text: str
    grammar: Grammar
    holes: int = 0
    inputs: set[str] = field(default_factory=set)
    sums: set[str] = field(default_factory=set)

    def parts(self, tree: ast.expr) -> Iterator[ast.expr]:
        """The terms of the outermost sum; its signs do not matter."""
        match tree:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                yield from self.parts(left)
                yield from self.parts(right)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                yield from self.parts(operand)
            case _:
                yield tree

    def term(self, tree: ast.expr) -> Node:
        """A term of the outermost sum without its weight, which is solved for."""
        factors = [f for f in _factors(tree) if not self.is_number(f)]
        return self.product(factors) if factors else const(1.0)

    def node(self, tree: ast.expr) -> Node:
        match tree:
            case ast.Constant(value=int() | float() as value):
                return const(float(value))
            case ast.Name(id=name):
                return self.named(tree, name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return linear([(-1.0, self.node(operand))])
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                return self.sum(tree)
            case ast.BinOp(op=ast.Mult()):
                return self.product(list(_factors(tree)))
            case ast.Call():
                return self.called(tree)
        raise self.error(tree, "expected a number, _, a letter, a sum, a product or a call")

    def named(self, tree: ast.expr, name: str) -> Node:
        if name == "_":
            return holed((), (), self.hole())
        if len(name) != 1 or name not in string.ascii_letters:
            wanted = "expected _, a lower-case letter for an input or a capital for a sum"
            raise self.error(tree, wanted + near(name, self.grammar))
        (self.inputs if name.islower() else self.sums).add(name)
        return tap(INPUT if name.islower() else SUM, ord(name))

    def sum(self, tree: ast.BinOp) -> Node:
        sign = 1.0 if isinstance(tree.op, ast.Add) else -1.0
        left, right = self.node(tree.left), self.node(tree.right)
        try:
            return linear([(1.0, left), (sign, right)])
        except ValueError as error:
            raise self.error(tree, str(error)) from None

    def product(self, factors: Sequence[ast.expr]) -> Node:
        """Numbers and holes are one weight before the product of all else."""
        weight, is_hole, others = 1.0, False, list[Node]()
        for factor in factors:
            if isinstance(factor, ast.Constant):
                weight *= float(factor.value)  # type: ignore[arg-type]
            elif self.is_number(factor):
                is_hole = True
            else:
                others.append(self.node(factor))
        if len(others) > 1 and "mul" not in self.grammar:
            message = "a product of two values needs `mul`: add the tag 'formula'"
            raise self.error(factors[0], message)
        found = reduce(lambda a, b: call("mul", a, b), others) if others else const(1.0)
        if is_hole:
            return holed((found,), (self.hole(),), FIXED)
        return linear([(weight, found)])

    def called(self, tree: ast.Call) -> Node:
        name = tree.func.id if isinstance(tree.func, ast.Name) else ""
        primitive = self.grammar.get(name)
        if primitive is None or name in STRUCTURE or primitive.result is not Sort.FIELD:
            raise self.error(tree, f"expected a function of values{near(name, self.grammar)}")
        if len(tree.args) != len(primitive.args) or tree.keywords:
            wanted = f"{name} takes {len(primitive.args)} values, and its defaults"
            raise self.error(tree, f"expected {wanted}")
        args = (self.node(a) for a in tree.args)
        return call(name, *args, **{n: spec.default for n, spec in primitive.parameters})

    def is_number(self, tree: ast.expr) -> bool:
        return isinstance(tree, ast.Constant) or (isinstance(tree, ast.Name) and tree.id == "_")

    def hole(self) -> int:
        self.holes += 1
        return self.holes - 1

    def error(self, tree: ast.expr, message: str) -> TemplateError:
        part = ast.get_source_segment(self.text, tree) or ""
        return TemplateError(f"{message}\n  in: {self.text}\n  at: {part}")


@dataclass(eq=False)
class _Filling:
    """Puts taps in the place of letters, and more holes for the weights of sums."""

    inputs: Mapping[str, Node]
    taps: Sequence[Node]
    starts: list[float]
    sums: dict[str, Node] = field(default_factory=dict)

    def node(self, node: Node) -> Node:
        if node.op == "tap" and node["bank"] == INPUT:
            return self.inputs[_letter(node)]
        if node.op == "tap":
            return self.sum(_letter(node))
        args = tuple(map(self.node, node.args))
        return Node(node.op, args, node.params)

    def sum(self, letter: str) -> Node:
        """The sum of a letter: the same wherever it stands."""
        if letter not in self.sums:
            first = len(self.starts)
            self.starts += [0.0] * (len(self.taps) + 1)
            places = range(first, first + len(self.taps))
            self.sums[letter] = holed(self.taps, places, first + len(self.taps))
        return self.sums[letter]


def _letter(node: Node) -> str:
    return chr(int(node["channel"]))  # type: ignore[arg-type]


def _factors(tree: ast.expr) -> Iterator[ast.expr]:
    match tree:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            yield from _factors(left)
            yield from _factors(right)
        case _:
            yield tree
