"""Kernels in the emitted file: each primitive as the function that its own source is.

The text of a kernel's body is copied as it stands, only that it calls the emitted `kernel` where it
called the algebra's `table`, and functions that it calls come along. So there is no second formula
to keep equal. Its numbers come from torch in the place of numpy, which may differ in the last bit;
that can change a weight only where it lies between two multiples of 2⁻¹⁰, so whoever writes a
kernel asks `KernelTexts.tells` first, which runs the text and compares the whole table.
"""

import ast
import builtins
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from grammars.grammar import Grammar
from grammars.kernels import table
from grammars.primitive import Primitive
from grammars.program import Node, Sort
from synth.emission import runtime
from synth.emission.helpers import (
    RESERVED,
    head_lines,
    names_loaded,
    renamed,
    support_names,
)

_ALGEBRA = SimpleNamespace(table=table)  # what a kernel's body needs of one
_KERNEL = "__kernel__"  # the supporting function where nothing is written, for no body to hide


@dataclass(frozen=True, eq=False)
class KernelTexts:
    """The kernels of a grammar as source."""

    grammar: Grammar

    @cached_property
    def carried(self) -> Mapping[str, Mapping[str, str]]:
        """By kernel, what its function refers to; without those that have no text.

        Two kernels that mean different things by one name cannot both be written: the first is.
        """
        taken = {p.name: "" for p in self.grammar.primitives} | dict.fromkeys(RESERVED, "")
        taken |= dict.fromkeys(support_names(), "")
        result = {}
        for primitive in self.grammar.primitives:
            if not is_kernel(primitive):
                continue
            try:
                parts = carried(primitive)
            except ValueError:
                continue
            if all(taken.get(name, text) == text for name, text in parts.items()):
                taken |= parts
                result[primitive.name] = parts
        return result

    def tells(self, node: Node) -> bool:
        """Whether the text of a kernel gives the very table that proofs speak of."""
        return node.op in self.carried and _same(self.grammar[node.op], node.params)


def is_kernel(primitive: Primitive) -> bool:
    """A family of kernels: it takes parameters alone."""
    return primitive.result is Sort.WEIGHTS and not primitive.args


def kernel_source(primitive: Primitive, kernel: str, hidden: Mapping[str, str]) -> str:
    """The function of a kernel, which makes each table once.

    `kernel` is what the supporting function is called, and `hidden` are built-in functions that
    have other names. ValueError where the body does more with the algebra than to call its `table`.
    """
    function = _definition(primitive)
    data, algebra = primitive.source.encode(), function.args.args[0].arg
    told = ast.get_docstring(function) is not None
    body = function.body[told:]
    first = function.body[0].end_lineno + 1 if told else body[0].lineno  # type: ignore[operator]
    start, end = _offset(data, first, 0), _span(data, body[-1])[1]
    calls = list(_table_calls(body, algebra))
    cuts = [(*_span(data, call.func), kernel.encode()) for call in calls]
    text = renamed(_replaced(data, start, end, cuts), hidden)
    return "\n".join(["@functools.cache", *head_lines(primitive), text])


def carried(primitive: Primitive) -> dict[str, str]:
    """Functions and numbers that a kernel's body refers to, as source by name.

    ValueError where it refers to anything else.
    """
    text = kernel_source(primitive, _KERNEL, {})
    found: dict[str, str] = {}
    todo = [(name, primitive.body.__globals__) for name in _unknown(text)]
    while todo:
        name, scope = todo.pop()
        if name in found:
            continue
        value = scope.get(name)
        found[name] = _carried(name, value)
        if isinstance(value, FunctionType):
            todo += [(inner, value.__globals__) for inner in _unknown(found[name])]
    return in_order(found)


def in_order(parts: Mapping[str, str]) -> dict[str, str]:
    """Sources by name, with numbers before the functions whose defaults they may be."""
    return dict(sorted(parts.items(), key=lambda pair: (pair[1].startswith("def "), pair[0])))


def local_words(primitive: Primitive) -> set[str]:
    """Names that mean something of its own inside the function of a kernel."""
    nodes = list(ast.walk(_definition(primitive)))
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    inner = {n.name for n in nodes if isinstance(n, ast.FunctionDef)} - {primitive.body.__name__}
    return stored | inner | {n.arg for n in nodes if isinstance(n, ast.arg)}


def plain_source(function: Callable[..., Any]) -> str:
    """The source of a function without its annotations."""
    source = inspect.getsource(function)
    data, (parsed,) = source.encode(), ast.parse(source).body
    if not isinstance(parsed, ast.FunctionDef) or parsed.decorator_list:
        raise ValueError(f"{function.__name__} is no plain function")
    cuts = []
    for argument in (n for n in ast.walk(parsed) if isinstance(n, ast.arg) and n.annotation):
        start, end = _span(data, argument)
        cuts.append((start + len(argument.arg.encode()), end, b""))
    if parsed.returns is not None:
        start, end = _span(data, parsed.returns)
        cuts.append((data.rindex(b"->", 0, start) - 1, end, b""))
    return _replaced(data, 0, len(data), cuts).strip()


# what functions refer to


def _unknown(text: str) -> list[str]:
    """Names that a source refers to and the emitted file would not have."""
    known = {_KERNEL, "functools", "math", *dir(builtins)}
    known |= {n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}
    return sorted(names_loaded(text) - known)


def _carried(name: str, value: Any) -> str:
    if isinstance(value, FunctionType) and value.__name__ == name:
        return plain_source(value)
    if isinstance(value, int | float) and math.isfinite(value):
        return f"{name} = {value!r}"
    kind = "module" if isinstance(value, ModuleType) else type(value).__name__
    raise ValueError(f"the emitted file cannot have {name!r}, a {kind}: use functions and numbers")


def _table_calls(body: list[ast.stmt], algebra: str) -> Iterator[ast.Call]:
    nodes = [node for part in body for node in ast.walk(part)]
    count = 0
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="table")):
                if name == algebra:
                    count += 1
                    yield node
    if count != sum(isinstance(n, ast.Name) and n.id == algebra for n in nodes):
        raise ValueError("a kernel's body calls the algebra's table, and nothing else of it")


# its own text, and what that gives


def _definition(primitive: Primitive) -> ast.FunctionDef:
    for node in ast.parse(primitive.source).body:
        if isinstance(node, ast.FunctionDef) and node.name == primitive.body.__name__:
            return node
    raise ValueError(f"the function {primitive.name} is not in {primitive.path}")


def _span(data: bytes, node: Any) -> tuple[int, int]:
    """Where the source of a node begins and ends in bytes."""
    first = _offset(data, node.lineno, node.col_offset)
    return first, _offset(data, node.end_lineno, node.end_col_offset)


def _offset(data: bytes, line: int, column: int) -> int:
    return sum(map(len, data.splitlines(keepends=True)[: line - 1])) + column


def _replaced(data: bytes, start: int, end: int, cuts: list[tuple[int, int, bytes]]) -> str:
    """`data[start:end]` with each (start, end, new) of the cuts replaced."""
    for first, last, new in sorted(cuts, reverse=True):
        data = data[:first] + new + data[last:]
        end += len(new) - (last - first)
    return data[start:end].decode()


@lru_cache(maxsize=1024)
def _same(primitive: Primitive, params: tuple[tuple[str, Any], ...]) -> bool:
    try:
        wanted = primitive.body(_ALGEBRA, **dict(params))
        found = _function(primitive)(**dict(params))
    except Exception:  # whatever a body does with torch that it may do with numpy
        return False
    reach = len(found) // 2
    places = found.nonzero().tolist()
    return {(y - reach, x - reach): float(found[y, x]) for y, x in places} == wanted


@lru_cache(maxsize=64)
def _function(primitive: Primitive) -> Callable[..., Any]:
    """The function that is written, as Python runs it."""
    texts = [*carried(primitive).values(), kernel_source(primitive, _KERNEL, {})]
    scope: dict[str, Any] = {_KERNEL: runtime.kernel, "functools": functools, "math": math}
    exec("\n\n".join(texts), scope)  # the source of a primitive, which runs in any case
    return scope[primitive.name]
