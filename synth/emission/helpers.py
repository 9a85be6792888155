"""The vocabulary of `decompiled.py`: primitives as functions, generated from their bodies."""

import ast
import builtins
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from symtable import symtable
from typing import Any

from grammars.evaluation import Unsupported
from grammars.interpreters.text import HELPERS, TextAlgebra
from grammars.primitive import LEAVES_AND_SUMS, Primitive, Real
from grammars.program import Node, Sort, walk
from synth.emission import runtime
from synth.emission.layout import docstring, returned
from synth.emission.mixes import mix_text

MODULES = ("builtins", "functools", "json", "math", "operator", "pathlib", "torch")
BUILTINS = ("ValueError", "bool", "bytearray", "float", "getattr")
BUILTINS += ("int", "len", "range", "vars", "zip")
RESERVED = frozenset({*MODULES, *BUILTINS, "WEIGHTS", "forward"})
"""Names that the emitted file uses and no primitive can have."""

LONG = 150  # characters of a body from which on its repeated parts get names

KERNEL = "kernel"
"""The supporting function that makes the table of a kernel's formula."""

_RUNTIME = (
    *("atom", "channels", "convolution", "stack", "joined", "head", "pre", "load_weights", "table"),
    *("Numpy", "float64", KERNEL),
)


@dataclass(frozen=True)
class Use:
    """How programs use a primitive: with so many arguments and these parameters.

    `channels` are those of the bank that it takes, if it takes one.
    """

    arity: int
    params: tuple[tuple[str, Any], ...]
    channels: int | None = None


@dataclass(frozen=True)
class Offset:
    """A row or column that only the running code knows, as an expression."""

    text: str

    def __add__(self, other: Any) -> "Offset":
        return Offset(f"{self} + {other}")

    def __radd__(self, other: Any) -> "Offset":
        return Offset(f"{other} + {self}")

    def __str__(self) -> str:
        return self.text


def uses_of(programs: Iterable[Node]) -> dict[str, tuple[Use, ...]]:
    """Each operation that the text of the programs calls, by name, and how."""
    found: dict[str, dict[Use, None]] = {}
    for node in (n for program in programs for n in walk(program)):
        if node.op == "tap" and (node["dy"] or node["dx"]):
            found.setdefault("shift", {})[Use(1, node.params[2:])] = None
        elif node.op not in LEAVES_AND_SUMS:
            found.setdefault(node.op, {})[use_of(node)] = None
    return {op: tuple(sorted(found[op], key=repr)) for op in sorted(found)}


def use_of(node: Node) -> Use:
    """How a call uses its primitive."""
    banks = [int(arg["channels"]) for arg in node.args if arg.op == "bank"]  # type: ignore[arg-type]
    return Use(len(node.args), node.params, banks[0] if banks else None)


def check_names(
    primitives: Iterable[Primitive], units: Iterable[str], carried: Iterable[str] = ()
) -> None:
    """ValueError where a primitive has a name that the emitted file needs, or a unit has one.

    `carried` are the names that the sources of primitives bring along.
    """
    names = {p.name for p in primitives}
    for name in sorted(names & RESERVED):
        raise ValueError(f"the primitive {name!r} cannot be emitted under this name: rename it")
    for name in sorted((names | RESERVED | {"pre", *carried}) & set(units)):
        raise ValueError(f"a unit cannot be named {name!r} in the emitted file: give another name")


def words_of(primitives: Iterable[Primitive]) -> set[str]:
    """Every name that the functions of these primitives bring along."""
    return {
        word for p in primitives for word in (p.name, *_arguments(p), *(n for n, _ in p.parameters))
    }


def support_names() -> tuple[str, ...]:
    """The supporting functions, in the order of the emitted file."""
    return (*_algebra(), *_RUNTIME)


def hidden_builtins(primitives: Iterable[Primitive]) -> dict[str, str]:
    """Built-in functions that primitives such as `max` hide, and how they are called then."""
    return {p.name: f"builtins.{p.name}" for p in primitives if hasattr(builtins, p.name)}


def support_sources(hidden: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """The source of every supporting function, by the name that `names` gives it.

    They mean the built-in functions that are `hidden`.
    """
    found = _algebra() | {
        name: inspect.getsource(getattr(runtime, name)).strip() for name in _RUNTIME
    }
    return {names[old]: renamed(source, {**hidden, **names}) for old, source in found.items()}


def _algebra() -> dict[str, str]:
    """What the text of a body refers to beside torch."""
    functions = (part for part in ast.parse(HELPERS).body if isinstance(part, ast.FunctionDef))
    return {part.name: ast.get_source_segment(HELPERS, part) or "" for part in functions}


def needed(sources: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Those of `sources` that are among `names`, or that those use in turn, in order."""
    wanted: set[str] = set()
    queue = [frozenset(names)]
    while queue:
        new = (queue.pop() & sources.keys()) - wanted
        wanted |= new
        queue += [names_loaded(sources[name]) for name in new]
    return [name for name in sources if name in wanted]


def names_loaded(source: str) -> frozenset[str]:
    """The names that some source refers to and does not define inside a function."""
    found: set[str] = set()
    scopes = [symtable(source, "decompiled.py", "exec")]
    while scopes:
        scope = scopes.pop()
        inner = scope.get_type() == "function"
        known = (s for s in scope.get_symbols() if s.is_referenced())
        found |= {s.get_name() for s in known if s.is_global() or not inner}
        scopes += scope.get_children()
    return frozenset(found)


def renamed(source: str, names: Mapping[str, str]) -> str:
    """`source` with supporting functions under other names, where those differ."""
    changed = {old: new for old, new in names.items() if old != new}
    if not changed:
        return source
    pattern = rf"(?<![\w.])({'|'.join(map(re.escape, changed))})(?=\()"
    return re.sub(pattern, lambda match: changed[match[1]], source)


def primitive_source(
    primitive: Primitive, uses: Sequence[Use], support: Mapping[str, str], *, remember: bool
) -> str:
    """A function that computes `primitive`, at least for these uses.

    With `remember`, a head keeps its argument for `pre`. ValueError for a primitive that has no
    text.
    """
    decorated = remember and "head" in primitive.tags and primitive.args == (Sort.FIELD,)
    lines = [f"@{support['head']}"] if decorated else []
    lines += head_lines(primitive)
    body = _general(primitive, uses)
    lines += _cases(primitive, uses, support) if body is None else [_return(body, 4, support)]
    return "\n".join(lines)


def head_lines(primitive: Primitive) -> list[str]:
    """The first lines of a function: its signature, and what it does."""
    doc = " ".join(primitive.doc.split("\n\n")[0].split())
    return [
        f"def {primitive.name}({_signature(primitive)}):",
        docstring([doc or f"{primitive.name}."]),
    ]


def _cases(primitive: Primitive, uses: Sequence[Use], support: Mapping[str, str]) -> list[str]:
    """One branch for each use, where the body depends on numbers that shape its text."""
    names = [n for n, _ in primitive.parameters]
    several = len({use.channels for use in uses}) > 1
    lines: list[str] = []
    for use in uses:
        values = dict(use.params)
        tests = [f"{name} == {values[name]!r}" for name in names]
        tests += [f"{_arguments(primitive)[0]}.shape[1] == {use.channels}"] * several
        tests += [f"len({_arguments(primitive)[0]}) == {use.arity}"] * primitive.variadic
        body = _expression(primitive, use, values)
        if not tests:
            return [_return(body, 4, support)]
        lines += [f"    if {' and '.join(tests)}:", _return(body, 8, support)]
    message = f"{primitive.name} is written out here for the arguments above only"
    return [*lines, f'    raise ValueError("{message}")']


def _general(primitive: Primitive, uses: Sequence[Use]) -> str | None:
    """A body in which parameters are names, if it says the same as every use written out."""
    symbols = {name: name for name, _ in primitive.parameters}
    texts = set()
    for use in uses:
        try:
            text = _expression(primitive, use, symbols)
        except Exception:  # a body may do anything with a number, and a name is none
            return None
        if _substituted(text, use.params) != _expression(primitive, use, dict(use.params)):
            return None
        texts.add(text)
    return texts.pop() if len(texts) == 1 else None


def _substituted(text: str, params: tuple[tuple[str, Any], ...]) -> str:
    for name, value in params:
        text = re.sub(rf"\b{name}\b", lambda _, value=value: repr(value), text)
    return _tidy(text)


def _expression(primitive: Primitive, use: Use, params: Mapping[str, Any]) -> str:
    """The body as a Python expression of the arguments."""
    where = f"the primitive {primitive.name!r} cannot be emitted"
    if primitive.args == (Sort.BANK,) and primitive.result is Sort.ATOM:
        return _tidy(mix_text(primitive, _arguments(primitive)[0], use.channels or 0, params))
    if {*primitive.args, primitive.result} - {Sort.FIELD, Sort.ATOM}:
        raise ValueError(f"{where}: of whole banks, only mixes have a text")
    names = _arguments(primitive)
    sorts: Sequence[Sort] = primitive.args
    if primitive.variadic:
        names, sorts = [f"{names[0]}[{i}]" for i in range(use.arity)], sorts * use.arity
    values = [_value(name, sort) for name, sort in zip(names, sorts, strict=True)]
    try:
        result = primitive.body(TextAlgebra(_no_reader), *values, **params)
    except Unsupported as gap:
        raise ValueError(f"{where}: {gap}; declare what it does in text") from None
    if primitive.result is Sort.ATOM:
        row, column = (_unlike(primitive, name) for name in ("i", "j"))
        text = result(Offset(row), Offset(column))
        return f"atom(lambda {row}, {column}: {_tidy(text)})"
    return _tidy(result)


def _value(name: str, sort: Sort) -> str | Callable[[Any, Any], str]:
    return name if sort is Sort.FIELD else lambda i, j: f"{name}.read({i}, {j})"


def _unlike(primitive: Primitive, name: str) -> str:
    while name in words_of([primitive]):
        name += "_"
    return name


def _no_reader(*_: Any) -> str:
    raise Unsupported("its body reads taps that are not its arguments")


def _tidy(expression: str) -> str:
    """Without the brackets that Python does not need."""
    return ast.unparse(ast.parse(expression, mode="eval"))


def _return(body: str, indent: int, support: Mapping[str, str]) -> str:
    parts, rest = named_parts(body)
    lines = [f"{' ' * indent}{name} = {renamed(part, support)}" for name, part in parts.items()]
    return "\n".join([*lines, returned(renamed(rest, support), indent=indent)])


def named_parts(body: str) -> tuple[dict[str, str], str]:
    """Calls that a long text repeats, under names of their own, innermost first; and the rest."""
    parts: dict[str, str] = {}
    taken = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    free = (name for i in count(1) if (name := f"part_{i}") not in taken)
    while len(body) > LONG and "lambda" not in body and (part := _repeated(body)):
        name = next(free)
        parts[name] = part
        body = ast.unparse(_Named(part, name).visit(ast.parse(body, mode="eval")))
    return parts, body


def _repeated(body: str) -> str:
    """The shortest call that is more than once in a text; empty if there is none."""
    calls = (node for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Call))
    found = Counter(map(ast.unparse, calls))
    return min((call for call, times in found.items() if times > 1), key=len, default="")


@dataclass(frozen=True)
class _Named(ast.NodeTransformer):
    """Puts a name in the place of every call of a text."""

    call: str
    name: str

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if ast.unparse(node) == self.call:
            return ast.Name(self.name)
        return self.generic_visit(node)


def _arguments(primitive: Primitive) -> list[str]:
    parameters = list(inspect.signature(primitive.body).parameters.values())[1:]
    names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return [f"{name}_" if name in RESERVED or name == primitive.name else name for name in names]


def _signature(primitive: Primitive) -> str:
    names = _arguments(primitive)
    parts = [f"*{names[0]}"] if primitive.variadic else list(names)
    if primitive.parameters and not primitive.variadic:
        parts.append("*")
    for name, spec in primitive.parameters:
        default = float(spec.default) if isinstance(spec, Real) else int(spec.default)
        parts.append(f"{name}={default!r}")
    return ", ".join(parts)
