"""Programs of one shape as one text, with a name wherever they differ: a template and its table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grammars.names import Names
from grammars.primitive import Primitive
from grammars.program import Node
from grammars.shapes import aligned
from grammars.text import GROUP, parameter_texts, sum_text


@dataclass(frozen=True)
class Template:
    """The text, and for each name in it what stands there in each of the programs."""

    text: str
    columns: Mapping[str, tuple[str, ...]]


def template_of(
    programs: Sequence[Node], names: Names, primitives: Mapping[str, Primitive]
) -> Template:
    """The template of programs of one shape, of which `names` knows the taps.

    Its own names are those of parameters, `gain`, `bias` and `source`, numbered where there are
    several, and none of `names`. ValueError for programs of several shapes.
    """
    writer = _Writer(names, primitives)
    text = writer.text(aligned(programs, primitives))
    return Template(text, writer.columns)


@dataclass(frozen=True, eq=False)
class _Writer:
    names: Names
    primitives: Mapping[str, Primitive]
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def text(self, nodes: Sequence[Node]) -> str:
        first = nodes[0]
        if first.op == "tap":
            return self.same_or_named("source", [self.names.texts[node] for node in nodes])
        if first.op == "bank":
            return self.same_or_named("source", [self.names.of_bank(node) for node in nodes])
        if first.op == "const":
            return self.same_or_named("value", [repr(node["value"]) for node in nodes])
        if first.op == "linear":
            return self.sum(nodes)
        inner = (self.text([n.args[i] for n in nodes]) for i in range(len(first.args)))
        return f"{first.op}({', '.join([*inner, *self.parameters(nodes)])})"

    def sum(self, nodes: Sequence[Node]) -> str:
        terms: list[tuple[float | str, str]] = []
        for i in range(len(nodes[0].args)):
            weights = [node["weights"][i] for node in nodes]  # type: ignore[index]
            atom = self.text([node.args[i] for node in nodes])
            terms.append((self.number("gain", weights), atom))
        return sum_text(terms, self.number("bias", [node["bias"] for node in nodes]), GROUP)

    def parameters(self, nodes: Sequence[Node]) -> list[str]:
        primitive, found = self.primitives[nodes[0].op], []
        written = [parameter_texts(node, primitive, full=True) for node in nodes]
        shown = {text.partition("=")[0] for text in parameter_texts(nodes[0], primitive)}
        for texts in zip(*written, strict=True):
            name = texts[0].partition("=")[0]
            if len(set(texts)) > 1:
                values = [text.partition("=")[2] for text in texts]
                found.append(f"{name}={self.same_or_named(name, values)}")
            elif name in shown:
                found.append(texts[0])
        return found

    def number(self, name: str, values: Sequence[object]) -> float | str:
        if len(set(values)) == 1:
            return values[0]  # type: ignore[return-value]
        return self.same_or_named(name, list(map(repr, values)))

    def same_or_named(self, name: str, texts: Sequence[str]) -> str:
        """The text that all have, or a name for them, which is that of an equal column."""
        if len(set(texts)) == 1:
            return texts[0]
        for known, column in self.columns.items():
            if column == tuple(texts) and known.rstrip("_0123456789") == name:
                return known
        number, free = 1, name
        while free in self.columns or self.names.tap(free) or self.names.bank(free):
            number += 1
            free = f"{name}_{number}"
        self.columns[free] = tuple(texts)
        return free
