"""What is written of a layer's units: a line each, or one expression for many of one form."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from grammars.common import numbers_read
from grammars.grammar import Grammar
from grammars.hoist import ROWS
from grammars.interpreters.affine import TapKey
from grammars.program import Node, tap, walk
from grammars.siblings import references
from synth.assembly import LayerChoice, bank_module
from synth.bank_module import BankModule
from synth.emission.kernels import KernelTexts
from synth.emission.maps import has_kernels, is_told
from synth.layers import Layer

LONGEST = 64  # taps of a sum that people still read; the weights of a longer one are stored
MANY = 32  # units of one form that are one expression rather than a line each

STORED = ":stored"
"""The bank of the rows that are read from the stored weights; row i is its channel i."""

ROW = tap(ROWS, 0)


@dataclass(frozen=True)
class Block:
    """Units of one form: `skeleton` over one row each, stored or else of a table in the text."""

    skeleton: Node
    units: tuple[int, ...]
    rows: tuple[int, ...]
    stored: bool


@dataclass(frozen=True)
class Form:
    """A unit as a skeleton over rows of the layer's weight, and what it reads beside them.

    `rows` says which row each tap of the bank ROWS is.
    """

    skeleton: Node
    rows: Mapping[Node, int]
    beside: bool

    @property
    def is_head(self) -> bool:
        """An activation function, or nothing, over one row and nothing else."""
        return list(self.rows) == [ROW] and not self.beside

    def stored(self) -> Node:
        """The skeleton over the stored rows themselves."""
        return _replaced(self.skeleton, {old: tap(STORED, row) for old, row in self.rows.items()})

    @staticmethod
    def of(skeleton: Node, rows: Mapping[TapKey, int]) -> "Form":
        own = {tap(*key): row for key, row in rows.items() if key[0] == ROWS}
        return Form(skeleton, own, len(own) < len(rows))


@dataclass(frozen=True, eq=False)
class Plan:
    """How the units of one layer are written.

    Opaque units and those with a sum of more than LONGEST taps read stored rows, as do those whose
    kernels no line can hold. MANY units alike over stored rows make a block, as do those of a
    grouped layer with a few weights each, whose rows are a table. All others are lines.
    """

    choice: LayerChoice
    kernels: KernelTexts

    @property
    def grammar(self) -> Grammar:
        return self.kernels.grammar

    @property
    def layer(self) -> Layer:
        return self.choice.layer

    @cached_property
    def module(self) -> BankModule:
        """What the stored weights are made from."""
        return bank_module(self.choice, self.grammar)

    @cached_property
    def opaque(self) -> frozenset[int]:
        """Units that keep their weights."""
        return frozenset(u.channel for u in self.choice.units if u.program is None)

    @cached_property
    def stored(self) -> Mapping[int, Form]:
        """Units over stored rows; an opaque one that is constant has none."""
        wanted = (
            self.opaque
            | self._untold
            | {u.channel for u in self.choice.units if u.program is not None and is_long(u.program)}
        )
        forms = self._forms if wanted else {}
        return {unit: forms[unit] for unit in sorted(wanted) if forms[unit].rows}

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Units written as one, by their first."""
        members: dict[tuple[Node, bool], list[int]] = {}
        for unit in self._alone:
            key = (self._forms[unit].skeleton, unit in self.stored)
            members.setdefault(key, []).append(unit)
        every = self.layer.units
        return tuple(
            Block(skeleton, tuple(units), tuple(self._forms[u].rows[ROW] for u in units), stored)
            for (skeleton, stored), units in members.items()
            if len(units) >= MANY or (stored and len(units) == every)
        )

    @cached_property
    def lines(self) -> Mapping[int, Node]:
        """What the line of each other unit says."""
        together = {unit for block in self.blocks for unit in block.units}
        programs, instead = self.choice.written(), {*self.stored, *self._untold}
        return {
            unit: self._forms[unit].stored() if unit in instead else programs[unit]
            for unit in range(self.layer.units)
            if unit not in together
        }

    @cached_property
    def values(self) -> Mapping[int, Node]:
        """The common values that lines read, by number."""
        values, bank = self.choice.common.values, self.layer.name
        read = (numbers_read(line, values, bank) for line in self.lines.values() if values)
        return {number: values[number] for number in sorted(set().union(*read))}

    @property
    def texts(self) -> tuple[Node, ...]:
        """Every program that is written."""
        skeletons = (block.skeleton for block in self.blocks)
        return (*skeletons, *self.values.values(), *self.lines.values())

    @cached_property
    def _forms(self) -> Mapping[int, Form]:
        return {
            int(unit): Form.of(group.skeleton, {key: int(r[i]) for key, r in group.rows.items()})
            for group in self.module.bank.groups
            for i, unit in enumerate(group.units)
        }

    @cached_property
    def _untold(self) -> frozenset[int]:
        """Units with kernels that no line can hold."""
        return frozenset(
            u.channel
            for u in self.choice.units
            if u.program is not None and not is_told(u.program, self.layer.source, self.kernels)
        )

    @cached_property
    def _with_kernels(self) -> frozenset[int]:
        """Units whose lines say more than a table would."""
        return frozenset(
            u.channel
            for u in self.choice.units
            if u.program is not None and has_kernels(u.program, self.grammar)
        )

    @property
    def _alone(self) -> Iterator[int]:
        """Units that may be in a block: a head over one row, and no sibling's business."""
        table = self.layer.groups > 1 and self.layer.fan <= LONGEST and self.layer.units >= MANY
        if not table and not self.stored:
            return
        tied = self._tied
        tabled = frozenset(range(self.layer.units)) - self._with_kernels if table else frozenset()
        for unit in range(self.layer.units):
            if unit in tied or not self._forms[unit].is_head:
                continue
            if unit in self.stored or unit in tabled:
                yield unit

    @property
    def _tied(self) -> set[int]:
        """Units that refer to siblings in the text, and those that they refer to."""
        named = {
            u.channel: references(u.program, self.layer.name)
            for u in self.choice.units
            if u.program is not None and u.channel not in self.stored
        }
        return {u for unit, found in named.items() if found for u in (unit, *found)}


def is_long(program: Node) -> bool:
    """Whether some sum reads more than LONGEST taps."""
    sums = (node for node in walk(program) if node.op == "linear" and len(node.args) > LONGEST)
    return any(sum(arg.op == "tap" for arg in node.args) > LONGEST for node in sums)


def _replaced(node: Node, taps: Mapping[Node, Node]) -> Node:
    """The same tree with other taps; sums keep the order of their terms."""
    if node.op == "tap":
        return taps.get(node, node)
    return Node(node.op, tuple(_replaced(arg, taps) for arg in node.args), node.params)
