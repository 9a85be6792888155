"""Programs of a finished run, read back from their texts: no network and no torch."""

from collections.abc import Set
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

from grammars.common import spelled_out
from grammars.names import Names
from grammars.parser import parse_program
from grammars.program import Node
from grammars.scope import COMMON
from grammars.siblings import expand
from grammars.text import format_program
from synth.errors import InputError
from synth.unfolding import unfolded

if TYPE_CHECKING:
    from synth.folder import Finished


def reread(run: "Finished", layer: str) -> "Reread | None":
    """The programs of a layer as trees; None where its certificates do not know it."""
    try:
        return Reread(run, layer)
    except (InputError, KeyError, TypeError, AttributeError, ValueError):
        return None


class Reread:
    """The programs of one layer as trees.

    Raises KeyError, TypeError or AttributeError for a layer that the certificates do not know, and
    its methods also ValueError for a text that is no program: a folder may have been edited.
    """

    def __init__(self, run: "Finished", layer: str) -> None:
        self.rows, self.grammar = run.layers[layer], run.grammar
        self.common = [row for row in run.common if row["layer"] == layer]
        self.own = f"units of {layer}"
        self.known: dict[str, Any] = run.certified["layers"][layer]
        channels, texts = self.known["channels"], self.known["names"]
        names = {channel: name for name, channel in texts.items()}
        self.bank = run.sources.get(layer) or names[0].removesuffix("_0")
        given = {(self.bank, channel): name for channel, name in names.items()}
        given |= {(self.own, row["channel"]): row["name"] for row in self.rows}
        given |= {(f"{self.own}{COMMON}", row["number"]): row["name"] for row in self.common}
        self.names = Names({self.bank: channels}, given=given)

    @cached_property
    def window(self) -> Set[tuple[Any, ...]]:
        """The taps that the layer reads."""
        rows, columns = self.known["rows"], self.known["columns"]
        return frozenset(product((self.bank,), range(self.known["channels"]), rows, columns))

    def program(self, channel: int) -> Node:
        """What stands in a unit's place."""
        return parse_program(self.rows[channel]["program"], self.names, self.grammar)

    def is_written_so(self, channel: int) -> bool:
        """Whether what is written of a unit by common values is its program."""
        texts = [*(row["program"] for row in self.common), self.rows[channel]["written"]]
        *values, said = (parse_program(text, self.names, self.grammar) for text in texts)
        return spelled_out([said], values, self.own, self.grammar) == [self.program(channel)]

    def plain(self, channel: int) -> Node:
        """The same free of siblings and kernels."""
        program = expand(self.program(channel), self.own, self.program, self.grammar)
        return unfolded(program, self.window, self.grammar)

    def text(self, program: Node) -> str:
        """A program in the words of the certificates."""
        return format_program(program, self.names, self.grammar, full=True)
