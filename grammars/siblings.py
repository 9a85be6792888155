"""Programs that refer to another unit of their own bank, and their expansion before a proof."""

from collections.abc import Callable, Mapping

from grammars.evaluation import argument_sorts
from grammars.primitive import Primitive
from grammars.program import PRE, Node, Sort, is_sum_of_taps, linear, terms_of


def pre_of(program: Node, primitives: Mapping[str, Primitive]) -> Node:
    """The pre-activation of a program: what its outermost head is applied to."""
    is_head = "head" in primitives[program.op].tags and len(program.args) == 1
    return program.args[0] if is_head else program


def references(program: Node, bank: str) -> tuple[int, ...]:
    """The channels of its own `bank` that a program reads, activations or pre-activations."""
    own, found, todo = (bank, f"{bank}{PRE}"), set(), [program]
    while todo:
        node = todo.pop()
        if node.op == "tap" and node["bank"] in own:
            found.add(node["channel"])
        elif not _is_elsewhere(node, own):
            todo.extend(node.args)
    return tuple(sorted(found))


def _is_elsewhere(node: Node, own: tuple[str, str]) -> bool:
    """Whether a sum reads taps of one other bank alone; they are sorted by bank, and many."""
    if not is_sum_of_taps(node):
        return False
    first, last = node.args[0]["bank"], node.args[-1]["bank"]
    return first == last and first not in own


def expand(
    program: Node,
    bank: str,
    sibling: Callable[[int], Node],
    primitives: Mapping[str, Primitive],
) -> Node:
    """`program` with every reference to its own bank replaced by what the sibling computes.

    `sibling(channel)` gives a sibling's program, itself free of references. Raises ValueError for a
    reference that is shifted or pooled, because a sibling has no value beside the position, and
    where the expanded weights need more than 53 bits.
    """

    def visit(node: Node) -> Node:
        if node.op == "tap":
            return reference(node)
        if node.op == "linear":
            terms, bias = terms_of(node)
            return linear([(w, visit(a)) for w, a in terms], bias)
        sorts = argument_sorts(node, primitives[node.op])
        if any(
            s is Sort.ATOM and references(a, bank) for a, s in zip(node.args, sorts, strict=True)
        ):
            raise ValueError(f"a sibling of {bank!r} cannot be read at offsets, as {node.op} does")
        return Node(node.op, tuple(visit(a) for a in node.args), node.params)

    def reference(node: Node) -> Node:
        if node["bank"] not in (bank, f"{bank}{PRE}"):
            return node
        if node["dy"] or node["dx"]:
            raise ValueError(f"a sibling of {bank!r} cannot be read at an offset")
        target = sibling(int(node["channel"]))  # type: ignore[arg-type]
        return target if node["bank"] == bank else pre_of(target, primitives)

    return visit(program) if references(program, bank) else program
