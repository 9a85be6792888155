"""The canonical form of a program: programs that the rules make equal have equal text.

Rules (`grammars.canonical.rules`) are tried on every node, inner ones first, until none changes
anything. What a rule gives is compared with what it was given, in exact fractions at random points
(`grammars.canonical.points`); where they differ the rewrite is dropped. So √(x²) does not become
|x|: `sqrt` holds its argument above 2⁻⁴⁰.

Constants are dyadic, and merged without rounding; none is moved to a rounder number near it. That
would be another function, a fit, and belongs to the engines.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from grammars.canonical.laws import Checker, is_function, laws_of
from grammars.canonical.rules import RULES, Rule, signs_inside
from grammars.grammar import Grammar
from grammars.program import Node, is_sum_of_taps, linear, terms_of


def canonical(program: Node, grammar: Grammar) -> Node:
    """The canonical form of a program, the same function in exact arithmetic.

    A sum of taps or kernels, under a head or not, is canonical, and comes back at once.
    """
    return program if is_plain(program, grammar) else Canonicaliser(grammar).canonical(program)


def is_plain(program: Node, grammar: Grammar) -> bool:
    """Whether a program is a tap, a sum of taps or kernels, or one of these under a head."""
    inner = program
    if len(program.args) == 1 and "head" in grammar[program.op].tags:
        if laws_of(grammar[program.op], program.params).parity == 1:
            return False
        (inner,) = program.args
    if inner.op == "tap" or is_sum_of_taps(inner):
        return True
    return inner.op == "linear" and not any(is_function(grammar[a.op]) for a in inner.args)


@dataclass(eq=False)
class Canonicaliser:
    """Rewrites a program by rules, and keeps what is checked; equal parts are rewritten once."""

    grammar: Grammar
    rules: Sequence[Rule] = RULES
    _known: dict[Node, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.checker = Checker(self.grammar)

    def canonical(self, program: Node) -> Node:
        found = self.normal(program)
        return self._checked(found, signs_inside) or found

    def normal(self, node: Node) -> Node:
        """A program that no rule changes, with signs before functions."""
        if node not in self._known:
            self._known[node] = node  # what leads back here has changed nothing
            inside = self._inside(node)
            self._known[node] = self._rewritten(node) if inside == node else self.normal(inside)
        return self._known[node]

    def _inside(self, node: Node) -> Node:
        """The node with its arguments rewritten."""
        if is_sum_of_taps(node) or not (node.op == "linear" or is_function(self.grammar[node.op])):
            return node
        args = tuple(map(self.normal, node.args))
        if args == node.args or node.op != "linear":
            return Node(node.op, args, node.params)
        terms, bias = terms_of(node)
        try:
            return linear([(w, arg) for (w, _), arg in zip(terms, args, strict=True)], bias)
        except ValueError:  # merged, the numbers need more bits than a float has
            return node

    def _rewritten(self, node: Node) -> Node:
        if not is_function(self.grammar[node.op]):
            return node
        found = (self._checked(node, rule) for rule in self.rules)
        first = next((other for other in found if other is not None), None)
        return node if first is None else self.normal(first)

    def _checked(self, before: Node, rule: Rule) -> Node | None:
        """What a rule makes of a node, if it is another node and the same function."""
        try:
            after = rule(before, self.grammar)
        except Exception:  # numbers of too many bits, or whatever a user's body raises
            return None
        if after is None or after == before or not self.checker.same(before, after):
            return None
        return after
