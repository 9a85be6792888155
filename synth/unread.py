"""Dead code: units that no chosen program reads are constants, and nothing changes."""

import math
from collections.abc import Sequence
from dataclasses import replace

from grammars.coding import program_bits
from grammars.grammar import Grammar
from grammars.program import channels_read, const
from grammars.siblings import references
from synth.assembly import UNREAD, LayerChoice, Status, UnitChoice, shared
from synth.network import Network
from synth.nodes import is_identity, is_reshape, schema_name

BY_CHANNEL = frozenset(
    {"max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d"}
    | {"adaptive_avg_pool2d", "adaptive_max_pool2d", "relu"}
)
"""Views whose channel c depends on channel c of their source alone."""


def without_unread(
    network: Network, choices: Sequence[LayerChoice], grammar: Grammar
) -> list[LayerChoice]:
    """The choices with every unit that nothing reads made the constant 0, last layers first."""
    result = list(choices)
    for i in range(len(result) - 1, -1, -1):
        read = _read_channels(network, result[i].layer.name, result)
        if read is not None:
            result[i] = _pruned(result[i], read, grammar)
    return result


def _read_channels(network: Network, bank: str, choices: Sequence[LayerChoice]) -> set[int] | None:
    """The channels of a bank that programs read, or None where something else may read it."""
    readers = _readers(network, bank)
    chosen = {c.layer.name: c for c in choices}
    if not readers or not set(readers) <= set(chosen):
        return None
    found: set[int] = set()
    for choice in (chosen[name] for name in readers):
        found |= channels_read(choice.programs(), choice.layer.source)
    return found


def _readers(network: Network, bank: str) -> list[str] | None:
    """The layers that read a bank channel by channel; None if anything else reads it too."""
    banks = {node: name for name, node in network.banks.items()}
    layers = {network.nodes[la.name].linear: la for la in network.layers}
    same, readers, todo = {bank}, [], list(network.node(network.banks[bank]).users)
    while todo:
        node = todo.pop()
        if node.name in layers:
            if layers[node.name].source not in same:
                return None
            readers.append(layers[node.name].name)
        elif schema_name(node) in BY_CHANNEL or is_identity(node) or is_reshape(node):
            if not is_reshape(node):  # a layer that reads a reshaped bank numbers its channels anew
                same.add(banks.get(node.name, bank))
            todo.extend(node.users)
        else:
            return None
    return readers


def _pruned(choice: LayerChoice, read: set[int], grammar: Grammar) -> LayerChoice:
    """Unread units become 0, unless a sibling that is read refers to them."""
    bank = choice.layer.name
    for unit in choice.units:
        if unit.channel in read and unit.program is not None:
            read = read | set(references(unit.program, bank))
    bits = program_bits(const(0.0), choice.scope, grammar)
    units = tuple(
        u
        if u.channel in read or u.status is Status.INACTIVE
        else UnitChoice(u.channel, Status.ABLATED, const(0.0), bits, math.inf, math.inf, UNREAD)
        for u in choice.units
    )
    return shared(replace(choice, units=units), grammar)
