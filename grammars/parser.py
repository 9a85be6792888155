"""Program text read: the parser of what `grammars.text` writes, and of what people write."""

import ast
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import reduce

from grammars.evaluation import is_mix
from grammars.names import Names
from grammars.primitive import LEAVES_AND_SUMS, Integer, Primitive, Real
from grammars.program import (
    PRE,
    Node,
    Sort,
    Value,
    call,
    const,
    exact_product,
    linear,
    tap,
)
from grammars.tap_sums import read_sum, split_head
from grammars.text import format_program

SHORT = 200  # characters of a sum that the parser reads about as fast
LONGEST = 10_000_000  # characters that the parser is given; a longer text is not a program


class ParseError(ValueError):
    """Text that is no program, with the offending part and what was expected there.

    `place` is (line, first character, the one behind the last), counted from 0 in the text without
    blanks around it; None where no place is to blame.
    """

    def __init__(self, message: str, place: tuple[int, int, int] | None = None) -> None:
        super().__init__(message)
        self.place = place


def parse_program(text: str, names: Names, primitives: Mapping[str, Primitive]) -> Node:
    """The program that `text` says, canonical and with sorts checked.

    Raises ParseError, with the text, the place and what was expected.
    """
    text = text.strip()
    if len(text) > LONGEST:
        raise ParseError(f"a program of {len(text)} characters is longer than {LONGEST}")
    return _tap_sum(text, names, primitives) or _parsed(text, names, primitives)


def _tap_sum(text: str, names: Names, primitives: Mapping[str, Primitive]) -> Node | None:
    """A sum of taps, under a head or not, if `text` is what it is written as."""
    head, inner, rest = split_head(text)
    if len(inner) < SHORT or (head and head not in primitives):
        return None
    try:
        node = read_sum(inner, names.read)
        if node is not None and head:
            frame = _parsed(f"{head}(0.0{rest}", names, primitives)
            node = call(frame.op, node, **dict(frame.params))
    except (ParseError, KeyError):
        return None
    return node if node and format_program(node, names, primitives) == text else None


def _parsed(text: str, names: Names, primitives: Mapping[str, Primitive]) -> Node:
    try:
        return _Parser(text, names, primitives).value(ast.parse(text, mode="eval").body)
    except ParseError:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        message = f"not a Python expression: {error}\n  in: {_clip(text)}"
        raise ParseError(message, _place_of(error)) from None


class _Parser:
    """One pass over Python's own tree; every method returns a node of the sort it names."""

    def __init__(self, text: str, names: Names, primitives: Mapping[str, Primitive]) -> None:
        self.text, self.names, self.primitives = text, names, primitives

    def field(self, tree: ast.expr) -> Node:
        match tree:
            case ast.Constant() | ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
                return const(self.number(tree))
            case ast.Name():
                return self.named(tree)
            case ast.Call():
                return self.called(tree)
            case ast.UnaryOp(op=ast.USub()):
                return linear([(-1.0, self.value(tree.operand))])
            case ast.BinOp():
                return self.binary(tree)
        raise self.error(tree, "expected a number, a name, a sum, a product or a call")

    def value(self, tree: ast.expr) -> Node:
        """What may be a program, or a term of a sum."""
        return self.of_sort(tree, self.field(tree), Sort.FIELD)

    def of_sort(self, tree: ast.expr, node: Node, sort: Sort) -> Node:
        """A node that may stand where `sort` is wanted."""
        have = self.primitives[node.op].result
        if have is sort or (sort is Sort.FIELD and have is Sort.ATOM):
            return node
        if sort is Sort.ATOM and is_mix(node, self.primitives):
            return node
        raise self.error(tree, f"expected {_article(sort)}, not {_article(have)}")

    def binary(self, tree: ast.BinOp) -> Node:
        match tree.op:
            case ast.Add() | ast.Sub():
                return self.sum(tree)
            case ast.Mult():
                return self.scaled(tree)
            case ast.Div():
                return self.divided(tree)
        raise self.error(tree, "expected +, -, * or /")

    def sum(self, tree: ast.BinOp) -> Node:
        """A chain of + and −, and chains in it, gathered at once: merging term by term is
        quadratic."""
        terms: list[tuple[float, Node]] = []
        todo: list[tuple[float, ast.expr]] = [(1.0, tree)]
        while todo:
            sign, here = todo.pop()
            match here:
                case ast.BinOp(left=left, op=ast.Add(), right=right):
                    todo += ((sign, left), (sign, right))
                case ast.BinOp(left=left, op=ast.Sub(), right=right):
                    todo += ((sign, left), (-sign, right))
                case ast.BinOp(left=ast.Constant() as left, op=ast.Mult(), right=right):
                    terms.append((sign * self.number(left), self.value(right)))
                case _:
                    terms.append((sign, self.value(here)))
        return self.exact(tree, terms)

    def scaled(self, tree: ast.BinOp) -> Node:
        """A chain of products: its numbers are one weight, its other factors `mul` of another."""
        weight, factors = 1.0, list[Node]()
        for part in _factors(tree):
            node = self.value(part)
            if node.op != "const":
                factors.append(node)
                continue
            try:
                weight = exact_product(weight, float(node["value"]))  # type: ignore[arg-type]
            except ValueError as error:
                raise self.error(tree, str(error)) from None
        if len(factors) > 1 and "mul" not in self.primitives:
            more = "the tag 'formula' has products of two"
            raise self.error(tree, f"expected a product of a number and a program; {more}")
        product = reduce(lambda a, b: call("mul", a, b), factors) if factors else const(1.0)
        return self.exact(tree, [(weight, product)])

    def divided(self, tree: ast.BinOp) -> Node:
        divisor = self.number(tree.right)
        if not divisor or Fraction(1.0 / divisor) * Fraction(divisor) != 1:
            raise self.error(tree.right, "expected a power of two to divide by")
        return self.exact(tree, [(1.0 / divisor, self.value(tree.left))])

    def exact(self, tree: ast.expr, terms: list[tuple[float, Node]]) -> Node:
        try:
            return linear(terms)
        except ValueError as error:
            raise self.error(tree, str(error)) from None

    def number(self, tree: ast.expr) -> float:
        sign = 1.0
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            sign, tree = -1.0, tree.operand
        value = tree.value if isinstance(tree, ast.Constant) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(tree, "expected a number")
        try:
            return float(const(sign * value)["value"])  # type: ignore[arg-type]
        except (ValueError, OverflowError) as error:
            raise self.error(tree, f"expected a finite number ({error})") from None

    def named(self, tree: ast.Name) -> Node:
        found = self.names.tap(tree.id)
        if found is not None:
            return tap(*found)
        whole = self.names.bank(tree.id) if "bank" in self.primitives else None
        if whole is None:
            raise self.error(tree, f"unknown name {tree.id!r}{near(tree.id, self.names)}")
        return whole

    def called(self, tree: ast.Call) -> Node:
        if not isinstance(tree.func, ast.Name):
            raise self.error(tree, "expected a call of a primitive by its name")
        if tree.func.id == "pre":
            return self.pre(tree)
        primitive = self.primitives.get(tree.func.id)
        if primitive is None or primitive.name in LEAVES_AND_SUMS:
            called = [name for name in self.primitives if name not in LEAVES_AND_SUMS]
            near_by = near(tree.func.id, called)
            raise self.error(tree, f"unknown primitive {tree.func.id!r}{near_by}")
        params = self.parameters(tree, primitive)
        args = tuple(
            self.of_sort(a, self.field(a), s) for a, s in self.sorted_arguments(tree, primitive)
        )
        if primitive.name == "shift" and args[0].op == "tap":
            return _moved(args[0], params)
        return call(primitive.name, *args, **params)

    def pre(self, tree: ast.Call) -> Node:
        if len(tree.args) != 1 or tree.keywords or not isinstance(tree.args[0], ast.Name):
            raise self.error(tree, "expected pre(name of a sibling unit)")
        inner = self.named(tree.args[0])
        return tap(f"{inner['bank']}{PRE}", inner["channel"])  # type: ignore[arg-type]

    def sorted_arguments(self, tree: ast.Call, primitive: Primitive) -> list[tuple[ast.expr, Sort]]:
        count = len(tree.args)
        sorts = primitive.args * count if primitive.variadic else primitive.args
        if count != len(sorts) or (primitive.variadic and not count):
            wanted = "at least 1" if primitive.variadic else str(len(sorts))
            plural = "" if wanted.endswith("1") else "s"
            raise self.error(tree, f"{primitive.name} takes {wanted} argument{plural}, not {count}")
        return list(zip(tree.args, sorts, strict=True))

    def parameters(self, tree: ast.Call, primitive: Primitive) -> dict[str, Value]:
        known = dict(primitive.parameters)
        given: dict[str, ast.expr] = {}
        for word in tree.keywords:
            name = word.arg or "**"
            if name not in known:
                raise self.error(
                    tree, f"{primitive.name} has no parameter {name!r}{near(name, known)}"
                )
            if name in given:
                raise self.error(tree, f"the parameter {name!r} is given twice")
            given[name] = word.value
        return {n: self.parameter(n, s, given.get(n)) for n, s in known.items()}

    def parameter(self, name: str, spec: Real | Integer, tree: ast.expr | None) -> Value:
        if tree is None:
            return spec.default
        value = self.number(tree)
        if not spec.low <= value <= spec.high:
            raise self.error(
                tree, f"expected {name} between {spec.low} and {spec.high}, not {value}"
            )
        if isinstance(spec, Real):
            return value
        if value != int(value):
            raise self.error(tree, f"expected a whole number for {name}, not {value}")
        return int(value)

    def error(self, tree: ast.expr, message: str) -> ParseError:
        part = ast.get_source_segment(self.text, tree) or ""
        place = _place_in(self.text, tree, part)
        return ParseError(f"{message}\n  in: {_clip(self.text)}\n  at: {_clip(part)}", place)


def _place_in(text: str, tree: ast.expr, part: str) -> tuple[int, int, int] | None:
    """Where the `part` of a text begins that is a tree, which counts bytes."""
    if not part:
        return None
    row = tree.lineno - 1
    before = re.split(r"\r\n?|\n", text)[row].encode()[: tree.col_offset].decode(errors="ignore")
    return row, len(before), len(before) + len(part.partition("\n")[0])


def _place_of(error: Exception) -> tuple[int, int, int] | None:
    """Where Python stopped reading."""
    if not isinstance(error, SyntaxError) or not error.lineno or not error.offset:
        return None
    end = error.end_offset if error.end_lineno == error.lineno else None
    return error.lineno - 1, error.offset - 1, max((end or 0) - 1, error.offset)


def _factors(tree: ast.expr) -> Iterator[ast.expr]:
    """The factors of a product from left to right; a sign before the first is one."""
    match tree:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            yield from _factors(left)
            yield right
        case ast.UnaryOp(op=ast.USub(), operand=operand) if not isinstance(operand, ast.Constant):
            yield ast.Constant(-1.0)
            yield from _factors(operand)
        case _:
            yield tree


def near(name: str, known: Iterable[str]) -> str:
    """'; did you mean …?' with the nearest known names, or nothing."""
    close = difflib.get_close_matches(name, list(known), 3)
    return f"; did you mean {', '.join(close)}?" if close else ""


def _moved(node: Node, params: dict[str, Value]) -> Node:
    dy, dx = (int(node[k]) + int(params[k]) for k in ("dy", "dx"))  # type: ignore[arg-type]
    return tap(str(node["bank"]), int(node["channel"]), dy, dx)  # type: ignore[arg-type]


def _article(sort: Sort) -> str:
    known = {
        "atom": "an atom (a tap, a convolution or a mix of such)",
        "field": "a value",
        "weights": "a kernel",
        "bank": "a bank by its name",
    }
    return known.get(sort, f"a {sort}")


def _clip(text: str, width: int = 160) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
