"""Programs as one decodable stream of bits; its length is the price of a network's source.

Grammar weights, the layers' geometry and their heads are frozen beforehand and shared by writer and
reader; everything else is in the stream. `decode(encode(source)) == source`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from grammars.bundles import BundleReader, BundleWriter
from grammars.grammar import Grammar
from grammars.program import Node, walk
from grammars.reader import Reader
from grammars.scope import Opaque, Scope
from grammars.stream import (
    RICE_WIDTH,
    BitCounter,
    BitReader,
    BitWriter,
    rice_cost,
    rice_costs,
    width_of,
    zigzags,
)
from grammars.writer import Writer

Family = tuple[int, ...]
"""The channels of units that are written together, in order, at least two."""


@dataclass(frozen=True)
class LayerSource:
    """The source of one layer: a program, or the weights, for each unit.

    `families` are groups of channels, sorted and apart from each other, whose programs have one
    shape and are written together. `common` are the values that the programs of other units may
    read (`grammars.common`), each over the columns and those before it.
    """

    scope: Scope
    units: tuple[Node | Opaque, ...]
    families: tuple[Family, ...] = ()
    common: tuple[Node, ...] = ()


def encode(layers: Iterable[LayerSource], grammar: Grammar) -> BitWriter:
    """The stream of a network's source.

    Raises ValueError for a layer without exactly one source a unit, for weights that do not match
    the columns and for a tap that its scope does not hold.
    """
    return _written(BitWriter(), layers, grammar)


def stream_bits(layers: Iterable[LayerSource], grammar: Grammar) -> int:
    """The length of the stream that `encode` writes."""
    return len(_written(BitCounter(), layers, grammar))


def _written(writer: BitWriter, layers: Iterable[LayerSource], grammar: Grammar) -> BitWriter:
    layers = tuple(layers)
    for layer in layers:
        _check(layer)
    sharing = any(layer.common for layer in layers)
    sources = (part for la in layers for part in (*la.common, *la.units))
    _write_user_primitives(writer, sources, grammar, sharing=sharing)
    writer.gamma(sum(len(layer.families) for layer in layers))
    for number, layer in enumerate(layers):
        for family in layer.families:
            writer.bits(number, width_of(len(layers)))
            _write_family(writer, layer, family, grammar)
    for layer in layers:
        if sharing:
            _write_common(writer, layer, grammar)
        scope = layer.scope.with_common(len(layer.common))
        together = {channel for family in layer.families for channel in family}
        for channel, unit in enumerate(layer.units):
            if channel not in together:
                Writer(writer, scope.of(channel), grammar).unit(unit)
    return writer


def _write_common(writer: BitWriter, layer: LayerSource, grammar: Grammar) -> None:
    """How many common values a layer has, and each of them."""
    writer.gamma(len(layer.common))
    for number, value in enumerate(layer.common):
        Writer(writer, layer.scope.with_common(number), grammar).value(value)


def _read_common(reader: BitReader, scope: Scope, grammar: Grammar) -> tuple[Node, ...]:
    scopes = (scope.with_common(number) for number in range(reader.gamma()))
    return tuple(Reader(reader, scope, grammar).value() for scope in scopes)


def _write_family(writer: BitWriter, layer: LayerSource, family: Family, grammar: Grammar) -> None:
    """Which units are in it, and their programs."""
    gaps = np.diff(np.array(family), prepend=-1) - 1
    parameter, _ = rice_cost(gaps)
    writer.gamma(len(family) - 2)
    writer.bits(parameter, RICE_WIDTH)
    writer.rices(gaps, parameter)
    programs = [layer.units[channel] for channel in family]
    scopes = [layer.scope.of(channel) for channel in family]
    BundleWriter(writer, scopes, grammar).programs([p for p in programs if isinstance(p, Node)])


def _read_family(
    reader: BitReader, scope: Scope, grammar: Grammar
) -> tuple[Family, dict[int, Node]]:
    count, parameter = reader.gamma() + 2, reader.bits(RICE_WIDTH)
    gaps = [reader.rice(parameter) + 1 for _ in range(count)]
    family = tuple(end - 1 for end in accumulate(gaps))
    programs = BundleReader(reader, [scope.of(c) for c in family], grammar).programs()
    return family, dict(zip(family, programs, strict=True))


def decode(data: bytes, scopes: Sequence[Scope], grammar: Grammar) -> tuple[LayerSource, ...]:
    """The inverse of `encode`, given the layers' scopes and the grammar.

    Raises EOFError for a stream that ends early and KeyError for a user primitive that is unknown.
    """
    reader = BitReader(data)
    sharing = _read_user_primitives(reader, grammar)
    families: list[list[Family]] = [[] for _ in scopes]
    known: list[dict[int, Node]] = [{} for _ in scopes]
    for _ in range(reader.gamma()):
        number = reader.bits(width_of(len(scopes)))
        family, programs = _read_family(reader, scopes[number], grammar)
        families[number].append(family)
        known[number] |= programs
    layers = []
    for scope, own, found in zip(scopes, families, known, strict=True):
        common = _read_common(reader, scope, grammar) if sharing else ()
        reads = scope.with_common(len(common))
        units = tuple(
            found[c] if c in found else Reader(reader, reads.of(c), grammar).unit()
            for c in range(scope.channels)
        )
        layers.append(LayerSource(scope, units, tuple(own), common))
    return tuple(layers)


def known_bits(
    units: Iterable[tuple[Node | Opaque, int]],
    grammar: Grammar,
    *,
    families: int = 0,
    layers: int = 1,
) -> int:
    """The length of the stream of units whose own lengths are known, those of families in all."""
    counter, pairs = BitCounter(), tuple(units)
    _write_user_primitives(counter, (unit for unit, _ in pairs), grammar)
    counter.gamma(families)
    return len(counter) + families * width_of(layers) + sum(bits for _, bits in pairs)


def primitive_bits(units: Iterable[Node | Opaque], grammar: Grammar) -> int:
    """What of a stream says which primitives of the user its programs use, and their source."""
    counter = BitCounter()
    _write_user_primitives(counter, units, grammar)
    return len(counter)


def family_bits(layer: LayerSource, family: Family, grammar: Grammar) -> int:
    """The length of some units of a layer that are written together, in the stream of that layer
    alone. ValueError for programs of several shapes."""
    counter = BitCounter()
    _write_family(counter, layer, family, grammar)
    return len(counter)


def program_bits(program: Node, scope: Scope, grammar: Grammar) -> int:
    """The length of one unit's program in the stream, without the source of user primitives.

    `scope` is the unit's own, `Scope.of`. Raises ValueError for a tap that it does not hold.
    """
    counter = BitCounter()
    Writer(counter, scope, grammar).unit(program)
    return len(counter)


def value_bits(value: Node, scope: Scope, grammar: Grammar) -> int:
    """The length of one common value in the stream; `scope` has those before it."""
    counter = BitCounter()
    Writer(counter, scope, grammar).value(value)
    return len(counter)


def row_costs(integers: np.ndarray) -> np.ndarray:
    """(K,) about the bits of sums whose taps have these integers (K, F), zeros included.

    What is the same for every row, as exponent and bias, is left out.
    """
    count, size = integers.shape
    rows, columns = np.nonzero(integers)
    values, terms = integers[rows, columns], np.bincount(rows, minlength=count)
    gaps = np.where(np.diff(rows, prepend=-1) > 0, columns, np.diff(columns, prepend=-1) - 1)
    sparse = terms + rice_costs(gaps, rows, terms) + rice_costs(np.abs(values) - 1, rows, terms)
    dense = rice_costs(zigzags(values), rows, np.full(count, size))
    return np.minimum(sparse, dense)


def opaque_bits(columns: int) -> int:
    """The length of a unit that keeps its `columns` weights and its bias."""
    return 1 + 32 * (columns + 1)


def _check(layer: LayerSource) -> None:
    scope = layer.scope
    if len(layer.units) != scope.channels:
        raise ValueError(f"{scope.bank!r} has {scope.channels} units, not {len(layer.units)}")
    size = len(scope.columns) // scope.groups
    for channel, unit in enumerate(layer.units):
        if isinstance(unit, Opaque) and len(unit.weights) != size:
            sizes = f"{size} columns, not {len(unit.weights)}"
            raise ValueError(f"unit {channel} of {scope.bank!r} has {sizes}")
    together = sorted(channel for family in layer.families for channel in family)
    if len(set(together)) < len(together):
        raise ValueError(f"some unit of {scope.bank!r} is in two families")
    if any(isinstance(layer.units[channel], Opaque) for channel in together):
        raise ValueError(f"a family of {scope.bank!r} has a unit without a program")
    if layer.common and scope.groups > 1:
        raise ValueError(f"units of {scope.bank!r} read groups of columns, and no common values")


def _write_user_primitives(
    writer: BitWriter,
    units: Iterable[Node | Opaque],
    grammar: Grammar,
    *,
    sharing: bool = False,
) -> None:
    """How many are used, and their sources; a number above all that there are says that layers have
    common values, which costs the others nothing."""
    programs = (u for u in units if isinstance(u, Node))
    used = {n.op for p in programs for n in walk(p)} if grammar.user else ()
    mine = [p for p in grammar.user if p.name in used]
    writer.gamma(len(mine) + sharing * (len(grammar.user) + 1))
    for primitive in mine:
        writer.text(primitive.name)
        writer.text(primitive.fingerprint)


def _read_user_primitives(reader: BitReader, grammar: Grammar) -> bool:
    """Whether layers have common values."""
    sharing, count = divmod(reader.gamma(), len(grammar.user) + 1)
    for _ in range(count):
        name, source = reader.text(), reader.text()
        if grammar[name].fingerprint != source:
            raise KeyError(f"the stream was written with another source of primitive {name!r}")
    return bool(sharing)
