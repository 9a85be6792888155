"""Hoisting: every maximal affine subtree becomes a row of one matrix (or convolution).

What is left is a skeleton over rows: `relu(row)` for most units. Skeletons of equal text run
vectorised over their rows. The replacement module, the affine form of a proof and the emission all
come from this one pass.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from grammars.evaluation import Known, Unsupported, argument_sorts, evaluate
from grammars.interpreters.affine import Affine, AffineAlgebra, TapKey
from grammars.primitive import Primitive
from grammars.program import Node, Sort, const, is_sum_of_taps, linear, tap, terms_of

ROWS = ":rows"
"""The bank of a skeleton's rows; row i is its channel i."""


Row = TypeVar("Row")


@dataclass(frozen=True)
class Hoisted(Generic[Row]):
    """A program as a skeleton over affine rows; taps read as atoms stay in the skeleton."""

    skeleton: Node
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Group:
    """Units of one skeleton: `units[i]` reads rows `rows[i]` of the common matrix."""

    skeleton: Node
    units: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]


class Hoister:
    """Hoists programs one after another; what they have in common is worked out once.

    `window` has the taps that may be read, to which kernels are cut; by default all.
    """

    def __init__(
        self, primitives: Mapping[str, Primitive], window: Container[TapKey] | None = None
    ) -> None:
        self.primitives = primitives
        self._algebra, self._known = AffineAlgebra(window), Known()

    def hoisted(self, program: Node) -> Hoisted[Affine]:
        """A program as rows and a skeleton, which over its rows is the program, exactly."""
        return _hoisted(program, self.primitives, self._affine)

    def _affine(self, node: Node) -> Affine | None:
        try:
            return evaluate(node, self._algebra, self.primitives, self._known)
        except Unsupported:
            return None


def hoist(
    program: Node,
    primitives: Mapping[str, Primitive],
    window: Container[TapKey] | None = None,
) -> Hoisted[Affine]:
    """One program by a `Hoister` of its own."""
    return Hoister(primitives, window).hoisted(program)


def _hoisted(
    program: Node,
    primitives: Mapping[str, Primitive],
    affine: Callable[[Node], Affine | None],
) -> Hoisted[Affine]:
    rows: list[Affine] = []

    def visit(node: Node) -> Node:
        form = affine(node)
        if form is not None and not form.weights:
            return const(form.bias)
        if form is not None:
            rows.append(form)
            return tap(ROWS, len(rows) - 1)
        return _sum(node) if node.op == "linear" else _operation(node)

    def _sum(node: Node) -> Node:
        terms, bias = terms_of(node)
        straight = [(w, a) for w, a in terms if affine(a) is not None]
        together = linear(straight, bias)
        if not straight or affine(together) is None:  # its exact weights do not fit
            return linear([(w, _unfolded(a)) for w, a in terms], bias)
        bent = [(w, visit(a)) for w, a in terms if affine(a) is None]
        return linear([(1.0, visit(together)), *bent])

    def _unfolded(atom: Node) -> Node:
        """`visit`, but a constant stays as it is written: its product may not be exact."""
        form = affine(atom)
        return atom if form is not None and not form.weights else visit(atom)

    def _operation(node: Node) -> Node:
        pairs = zip(node.args, argument_sorts(node, primitives[node.op]), strict=True)
        args = tuple(visit(a) if s is Sort.FIELD else a for a, s in pairs)
        return Node(node.op, args, node.params)

    skeleton = visit(program)
    return Hoisted(skeleton, tuple(rows))


def headed_sum(program: Node, primitives: Mapping[str, Primitive]) -> Hoisted[Node] | None:
    """A sum of taps, or one under a head that bends it, with the sum as it stands for its row.

    `hoist` would say the same, but it looks at every term, and most programs are such long sums.
    """
    if is_sum_of_taps(program):
        return Hoisted(tap(ROWS, 0), (program,))
    if len(program.args) != 1 or not is_sum_of_taps(program.args[0]):
        return None
    (inner,) = program.args
    headed = Node(program.op, (tap(ROWS, 0),), program.params)
    one = Node(program.op, inner.args[:1], program.params)  # bent as many are, or as straight
    return Hoisted(headed, (inner,)) if hoist(one, primitives).skeleton == headed else None


def grouped(hoisted: Sequence[Hoisted[Row]]) -> tuple[tuple[Row, ...], tuple[Group, ...]]:
    """All rows in order, and the units grouped by equal skeleton (first come, first)."""
    rows: list[Row] = []
    members: dict[Node, list[tuple[int, tuple[int, ...]]]] = {}
    for unit, one in enumerate(hoisted):
        span = tuple(range(len(rows), len(rows) + len(one.rows)))
        rows.extend(one.rows)
        members.setdefault(one.skeleton, []).append((unit, span))
    groups = tuple(
        Group(skeleton, tuple(u for u, _ in pairs), tuple(r for _, r in pairs))
        for skeleton, pairs in members.items()
    )
    return tuple(rows), groups
