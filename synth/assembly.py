"""Chosen programs put in the place of units: one module a layer, and the network around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
from torch import nn

from grammars.coding import (
    Family,
    LayerSource,
    family_bits,
    opaque_bits,
    program_bits,
    stream_bits,
)
from grammars.common import Common
from grammars.compiled import compile_bank
from grammars.grammar import Grammar
from grammars.names import Names
from grammars.program import Node
from grammars.scope import Column, Opaque, Scope
from grammars.siblings import expand
from synth.bank_module import BankModule, written_out
from synth.engine import weighted_taps, with_head
from synth.layers import Layer
from synth.network import Network

UNREAD = "unread"  # the engine of constants in the place of units that nothing reads


class Status(StrEnum):
    """What became of a unit; see docs/design.md."""

    PROGRAM = "program"
    ROUNDED = "rounded"
    ABLATED = "ablated"
    INACTIVE = "inactive"
    OPAQUE = "opaque"


@dataclass(frozen=True)
class UnitChoice:
    """What stands in a unit's place. `program` is None for an opaque unit; FVUs are on select.

    Units of a layer with the same number for a `family` are written together; `bits` is then a
    share.
    """

    channel: int
    status: Status
    program: Node | None
    bits: int
    fvu_local: float
    fvu_in_situ: float
    engine: str
    family: int | None = None


@dataclass(frozen=True, eq=False)
class LayerChoice:
    """The chosen source of one layer, a choice for each of its units in order.

    `common` are values that programs share (`synth.common`): they change how the layer is written,
    and nothing that it computes.
    """

    layer: Layer
    scope: Scope
    units: tuple[UnitChoice, ...]
    common: Common = field(default_factory=Common)

    def programs(self) -> tuple[Node, ...]:
        """Every unit as a program; an opaque unit is its own weights."""
        pairs = ((u.program, u.channel) for u in self.units)
        return tuple(p if p is not None else own_program(self.layer, c) for p, c in pairs)

    def written(self) -> tuple[Node, ...]:
        """`programs()` as they are written, by the names of common values."""
        together = {channel for family in self.families for channel in family}
        programs, said = enumerate(self.programs()), self.common.written
        return tuple(p if c in together else said.get(p, p) for c, p in programs)

    def expanded(self, grammar: Grammar) -> tuple[Node, ...]:
        """`programs()` free of references to siblings."""
        programs = self.programs()
        return tuple(expand(p, self.layer.name, programs.__getitem__, grammar) for p in programs)

    @property
    def is_opaque(self) -> bool:
        """Whether no unit has a program: they keep their weights, or nothing reads them."""
        return all(unit.program is None or unit.engine == UNREAD for unit in self.units)

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """The channels of units that are written together; what is left of a family may be one."""
        members: dict[int, list[int]] = {}
        for unit in self.units:
            if unit.family is not None:
                members.setdefault(unit.family, []).append(unit.channel)
        return tuple(tuple(family) for family in members.values() if len(family) > 1)

    def source(self) -> LayerSource:
        """What the bit stream holds of this layer."""
        units, values = tuple(map(self.kept, self.units)), self.common.values
        if values:
            pairs = zip(units, self.written(), strict=True)
            units = tuple(unit if isinstance(unit, Opaque) else said for unit, said in pairs)
        return LayerSource(self.scope, units, self.families, values)

    def kept(self, unit: UnitChoice) -> Node | Opaque:
        """What the bit stream holds of one unit."""
        if unit.program is not None:
            return unit.program
        weights, bias = self.layer.weight[unit.channel], self.layer.bias[unit.channel]
        return Opaque(tuple(weights.tolist()), float(bias))


def bank_module(choice: LayerChoice, grammar: Grammar) -> BankModule:
    """The module of a layer's chosen programs."""
    bank = compile_bank(choice.expanded(grammar), source_index(choice.scope), grammar)
    return BankModule(bank.arranged, choice.layer)


def assemble(network: Network, choices: Sequence[LayerChoice], grammar: Grammar) -> nn.Module:
    """The replacement network: every chosen layer computed by its programs, in one graph."""
    return written_out(network.replaced({c.layer.name: bank_module(c, grammar) for c in choices}))


def source_index(scope: Scope) -> dict[Column, int]:
    """The columns of a layer's source alone: what an expanded program reads."""
    return {key: i for i, key in enumerate(scope.columns)}


def source_bits(choices: Sequence[LayerChoice], grammar: Grammar) -> int:
    """The length of the stream of all layers' source."""
    return stream_bits([c.source() for c in choices], grammar)


def original_bits(layers: Sequence[Layer]) -> int:
    """All weights and biases of the layers at 32 bits each."""
    return sum(32 * (la.weight.size + la.bias.size) for la in layers)


def shared(choice: LayerChoice, grammar: Grammar) -> LayerChoice:
    """The choice with the bits of each family shared evenly among its units; what is left alone of
    a family is no member any more."""
    source, shares = choice.source(), dict[int, int]()
    for family in choice.families:
        whole, rest = divmod(family_bits(source, family, grammar), len(family))
        shares |= {channel: whole + (place < rest) for place, channel in enumerate(family)}
    units = []
    for unit in choice.units:
        if unit.channel in shares:
            unit = replace(unit, bits=shares[unit.channel])
        elif unit.family is not None and unit.program is not None:
            bits = program_bits(unit.program, choice.scope.of(unit.channel), grammar)
            unit = replace(unit, bits=bits, family=None)
        units.append(unit)
    return replace(choice, units=tuple(units))


def opaque_unit(channel: int, scope: Scope) -> UnitChoice:
    """A unit that keeps its weights."""
    bits = opaque_bits(len(scope.of(channel).columns))
    return UnitChoice(channel, Status.OPAQUE, None, bits, 0.0, 0.0, "none")


def opaque_layer(layer: Layer) -> LayerChoice:
    """A layer whose units keep their weights."""
    units = tuple(opaque_unit(c, layer.scope) for c in range(layer.units))
    return LayerChoice(layer, layer.scope, units)


def own_program(layer: Layer, channel: int) -> Node:
    """A unit as a program with all its float32 weights."""
    constants = np.append(layer.weight[channel], layer.bias[channel]).astype(np.float64)
    return with_head(layer.heads[channel], weighted_taps(layer.scope.of(channel), constants))


def names_of(
    layers: Sequence[Layer],
    grammar: Mapping[str, object],
    given: Mapping[tuple[str, int], str] | None = None,
) -> Names:
    """Names of all channels that programs of these layers read or are; those `given` override."""
    banks: dict[str, int] = {}
    for layer in layers:
        banks.setdefault(layer.source, layer.in_shape[0])
        banks[layer.name] = layer.units
    return Names(banks, given=given, reserved={*grammar, "pre"})
