"""Program text: valid Python that parses back to the same program.

    relu(0.75*conv1_3 - 0.125*shift(conv1_4, dy=1, dx=-1) + 0.5)

Of a product of two values, `mul(a, b)`, the text is `a*b` where that is read as the same product.
A tap is its channel's name, `shift(name, dy=…, dx=…)` away from the centre and `pre(name)` for a
sibling's pre-activation. Long sums are printed as sums of parenthesised groups, because Python's
parser recurses once a term.
"""

from collections.abc import Mapping
from functools import lru_cache

from grammars.names import Names
from grammars.primitive import Primitive, Real
from grammars.program import Node, is_sum_of_taps, terms_of

GROUP = 32  # terms in a parenthesised group


def format_program(
    program: Node,
    names: Names,
    primitives: Mapping[str, Primitive],
    *,
    group: int = GROUP,
    full: bool = False,
) -> str:
    """The text of a canonical program. Raises KeyError for a tap that `names` does not know.

    `full` writes parameters out that are at their default, for readers that know no grammar.
    """

    def visit(node: Node) -> str:
        if node.op == "tap":
            return names.texts[node]
        if node.op == "bank":
            return names.of_bank(node)
        if node.op == "const":
            return repr(node["value"])
        if node.op == "linear":
            terms, bias = terms_of(node)
            write = names.texts.__getitem__ if is_sum_of_taps(node) else visit
            return sum_text([(w, write(atom)) for w, atom in terms], bias, group)
        if _is_infix(node):
            factors = zip(map(visit, node.args), map(_is_long, node.args), strict=True)
            return "*".join(f"({text})" if long else text for text, long in factors)
        arguments = [visit(a) for a in node.args] + parameter_texts(
            node, primitives[node.op], full=full
        )
        return f"{node.op}({', '.join(arguments)})"

    return visit(program)


def _is_infix(node: Node) -> bool:
    """Whether a product is written a*b: as long as it is read back as the same product."""
    if node.op != "mul":
        return False
    left, right = node.args
    able = [_is_long(a) or a.op not in ("linear", "const", "mul") for a in (left, right)]
    return (able[0] or _is_infix(left)) and able[1]


def _is_long(node: Node) -> bool:
    """Whether a node is written as several terms."""
    if node.op != "linear":
        return False
    terms, bias = terms_of(node)
    return len(terms) + bool(bias) > 1


def sum_text(pieces: list[tuple[float | str, str]], bias: float | str, group: int) -> str:
    """Σ weight · term + bias; a text in the place of a number is the name of one."""
    if bias or not pieces:
        pieces = [*pieces, (bias, "")]
    if len(pieces) <= group:
        return _signed(pieces)
    groups = [pieces[i : i + group] for i in range(0, len(pieces), group)]
    return " + ".join(f"({_signed(g)})" for g in groups)


def _signed(pieces: list[tuple[float | str, str]]) -> str:
    text = "".join([_factor(weight, constant=not atom) + atom for weight, atom in pieces])
    sign, rest = text[1], text[3:]
    return rest if sign == "+" else f"-{rest}"


@lru_cache(maxsize=1 << 12, typed=True)  # a thousand weights on a grid are few
def _factor(weight: float | str, *, constant: bool) -> str:
    """A weight with its sign, as it stands before a term, or as the constant at the end."""
    if isinstance(weight, str):
        return f" + {weight}" if constant else f" + {weight}*"
    sign, size = "-" if weight < 0 else "+", abs(weight)
    if constant:
        return f" {sign} {size!r}"
    return f" {sign} " if size == 1.0 else f" {sign} {size!r}*"


def parameter_texts(node: Node, primitive: Primitive, *, full: bool = False) -> list[str]:
    """name=value of each parameter that is not at its default, or of all."""
    texts = []
    for name, spec in primitive.parameters:
        value = node[name]
        if full or value != spec.default:
            number = float(value) if isinstance(spec, Real) else int(value)  # type: ignore[arg-type]
            texts.append(f"{name}={number!r}")
    return texts
