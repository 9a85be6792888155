"""A primitive: one function in one file, its body written once over a small algebra.

    @primitive(tags=("core", "head"))
    def relu(k, x: Field) -> Field:
        \"\"\"max(x, 0), elementwise; any shape to the same shape.\"\"\"
        return k.max(x, k.const(0.0))

The signature is the declaration: positional arguments carry their sort, keyword-only arguments
carry `real(…)` or `integer(…)` with range, default and human grid.
"""

import ast
import inspect
import keyword
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from grammars.program import Sort

Field = Annotated[Any, Sort.FIELD]
Atom = Annotated[Any, Sort.ATOM]
Weights = Annotated[Any, Sort.WEIGHTS]
Bank = Annotated[Any, Sort.BANK]

STRUCTURE = frozenset({"tap", "const", "linear", "shift"})
"""What every grammar has: the nodes that text writes as names, numbers, sums and `shift`."""

LEAVES_AND_SUMS = frozenset({"tap", "bank", "const", "linear"})
"""The nodes that text writes as names, numbers and sums, with parameters of kinds of their own."""

NEEDED = ("torch", "affine", "interval")
"""The interpreters that every primitive has a meaning in: programs are searched in torch, put
together by their affine parts and bounded by intervals."""

OPTIONAL = ("rational", "text", "z3")
"""Those that a primitive may lack, and then says so: no fraction is a cosine, and what text cannot
say is written as numbers."""


@dataclass(frozen=True)
class Real:
    """A real parameter in [low, high], with a human grid of `step` and a default on that grid.

    With a `period`, values that differ by it mean the same: an angle, a phase.

    Raises ValueError for an empty range, a step that is not positive or a default off the grid.
    """

    low: float
    high: float
    step: float
    default: float
    period: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"a Real needs finite low < high, not low={self.low}, high={self.high}"
            )
        if not self.step > 0:
            raise ValueError(f"a Real needs a positive step, not {self.step}")
        if self.index(self.default) is None:
            raise ValueError(f"the default {self.default} is not on the grid of step {self.step}")

    @cached_property
    def size(self) -> int:
        """The number of grid points."""
        span = Fraction(str(self.high)) - Fraction(str(self.low))
        return span // Fraction(str(self.step)) + 1

    def value(self, index: int) -> float:
        """The grid point `index`, as the float that a person would write."""
        return _point(self.low, self.step, index)

    def index(self, value: float) -> int | None:
        """Where `value` stands on the grid, or None."""
        near = round((value - self.low) / self.step)
        on_grid = 0 <= near < self.size and self.value(near) == value
        return near if on_grid else None

    def snap(self, value: float) -> float:
        """The nearest grid point."""
        if self.period is not None:
            value = self.low + (value - self.low) % self.period
            if value > (self.high + self.low + self.period) / 2:
                return self.low
        near = round((value - self.low) / self.step)
        return self.value(min(max(near, 0), self.size - 1))


@lru_cache(maxsize=1 << 14)  # programs of a layer share them, and exact fractions are slow
def _point(low: float, step: float, index: int) -> float:
    return float(Fraction(str(low)) + index * Fraction(str(step)))


@dataclass(frozen=True)
class Integer:
    """A whole parameter in low … high.

    Raises ValueError for an empty range or a default outside it.
    """

    low: int
    high: int
    default: int

    def __post_init__(self) -> None:
        if not self.low <= self.default <= self.high:
            raise ValueError(
                f"an Integer needs low ≤ default ≤ high, not low={self.low}, "
                f"default={self.default}, high={self.high}"
            )


Parameter = Real | Integer


def real(
    low: float, high: float, *, step: float, default: float, period: float | None = None
) -> Any:
    """A `Real` as a keyword's default; typed Any because the body receives the number itself."""
    return Real(low, high, step, default, period)


def integer(low: int, high: int, *, default: int) -> Any:
    """An `Integer` as a keyword's default; typed Any as the body receives the number itself."""
    return Integer(low, high, default)


@dataclass(frozen=True)
class Transcendental:
    """A named function that no finite algebra has, with what proofs may use of it.

    `function` maps a float to a float to within `ulps` units in the last place (4 by default: the C
    library's tanh is off by up to 2.2, Gladman et al. 2024); `torch` is its name in the torch
    namespace; `low` and `high` bound its range; it is monotone increasing, with Lipschitz constant
    `lipschitz`. One with a `turn` (a, b) decreases up to a and increases from b, and its minimum
    lies between. One with a `peak` takes its range once in 2π, from its maximum there to its
    minimum π later. With a `parity` of 1 or −1, f(−x) is f(x) or −f(x).
    """

    name: str
    function: Callable[[float], float]
    torch: str
    low: float
    high: float
    lipschitz: Fraction
    ulps: int = 4
    turn: tuple[float, float] | None = None
    peak: float | None = None
    parity: int = 0


@dataclass(frozen=True)
class Primitive:
    """One operation of the grammar; `body(k, *args, **params)` is its meaning in an algebra `k`."""

    name: str
    body: Callable[..., Any]
    args: tuple[Sort, ...]
    variadic: bool
    result: Sort
    parameters: tuple[tuple[str, Parameter], ...]
    tags: frozenset[str]
    weight: float
    gaps: frozenset[str]
    folded: Callable[..., dict[str, Any]] | None
    core: bool
    path: Path
    source: str

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.body) or ""

    @property
    def fingerprint(self) -> str:
        """The source without comments, docstrings and layout: what a key may depend on."""
        return normalised_source(self.source)

    def parameter(self, name: str) -> Parameter:
        return dict(self.parameters)[name]


@dataclass(frozen=True)
class Declaration:
    """What the decorator leaves on a function, until discovery makes a `Primitive` of it."""

    body: Callable[..., Any]
    tags: tuple[str, ...]
    weight: float
    gaps: tuple[str, ...]
    folded: Callable[..., dict[str, Any]] | None


def primitive(
    *,
    tags: tuple[str, ...] = ("user",),
    weight: float = 1.0,
    gaps: tuple[str, ...] = (),
    folded: Callable[..., dict[str, Any]] | None = None,
) -> Callable[[Callable[..., Any]], Declaration]:
    """Declare the decorated function as a primitive.

    `tags` select it, `weight` is its prior frequency (frequent primitives cost fewer bits), `gaps`
    name the interpreters in which it has no meaning, out of rational, text and z3. Where several
    parameters repeat together, `folded(np, **params)` gives those that change on the way to the
    simplest ones of the same meaning, but for its sign, from arrays of all of them. Raises
    ValueError for another interpreter or a weight that is not positive.
    """
    if wrong := sorted(set(gaps) - set(OPTIONAL)):
        needed = f"in {', '.join(NEEDED)} every primitive needs a meaning"
        raise ValueError(f"gaps may name {', '.join(OPTIONAL)} and not {wrong}: {needed}")
    if not 0 < weight < math.inf:
        raise ValueError(f"a primitive's weight is positive and finite, not {weight}")
    return lambda body: Declaration(body, tags, weight, gaps, folded)


def define(declaration: Declaration, *, core: bool, path: Path) -> Primitive:
    """Read the signature of a declared function. Raises TypeError that says what is missing."""
    body = declaration.body
    name = _name(body.__name__)
    where = f"primitive {name!r} in {path}"
    hints = get_type_hints(body, include_extras=True)
    parameters = list(inspect.signature(body).parameters.values())
    if not parameters or _sorts(hints.get(parameters[0].name)):
        raise TypeError(f"{where} takes the algebra first: def {name}(k, x: Field) -> Field")
    parameters = parameters[1:]
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in positional)
    if variadic and len(positional) > 1:
        raise TypeError(f"{where} takes arguments beside *{positional[-1].name}: give it one kind")
    keywords = tuple((p.name, p.default) for p in parameters if p.kind is p.KEYWORD_ONLY)
    return Primitive(
        name=name,
        body=body,
        args=tuple(_argument_sort(p, hints, where) for p in positional),
        variadic=variadic,
        result=_sort(hints.get("return"), f"the result of {where}"),
        parameters=() if name in LEAVES_AND_SUMS else _specs(keywords, where),
        tags=frozenset(declaration.tags),
        weight=declaration.weight,
        gaps=frozenset(declaration.gaps),
        folded=declaration.folded,
        core=core,
        path=path,
        source=path.read_text(encoding="utf-8"),
    )


def normalised_source(source: str) -> str:
    """Python source with comments, docstrings and layout removed."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _name(function: str) -> str:
    """The text's name: `abs_` and `max_` do not hide the built-ins, `not_` stays as it is."""
    name = function.rstrip("_")
    if name == "pre" or not name.isidentifier():
        raise TypeError(f"{function!r} cannot name a primitive: define it under another name")
    return function if keyword.iskeyword(name) else name


def _specs(keywords: tuple[tuple[str, Any], ...], where: str) -> tuple[tuple[str, Parameter], ...]:
    for name, spec in keywords:
        if not isinstance(spec, Real | Integer):
            raise TypeError(f"parameter {name!r} of {where} needs a default real(…) or integer(…)")
    return keywords


def _argument_sort(parameter: inspect.Parameter, hints: dict[str, Any], where: str) -> Sort:
    if isinstance(parameter.default, Real | Integer):
        raise TypeError(f"parameter {parameter.name!r} of {where} is keyword-only: put * before it")
    return _sort(hints.get(parameter.name), f"argument {parameter.name!r} of {where}")


def _sort(hint: Any, where: str) -> Sort:
    for sort in _sorts(hint):
        return sort
    raise TypeError(f"{where} has no sort: annotate it with Field, Atom, Weights or Bank")


def _sorts(hint: Any) -> list[Sort]:
    return [extra for extra in get_args(hint)[1:] if isinstance(extra, Sort)]
