"""Families in the stream: programs of one shape, written together, are read back."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_programs import BANKS, core, programs

from grammars.bundles import DYADIC, FACTOR
from grammars.coding import (
    LayerSource,
    decode,
    encode,
    family_bits,
    known_bits,
    program_bits,
    stream_bits,
)
from grammars.columns import ColumnReader, ColumnWriter, Kind
from grammars.grammar import Grammar, load_grammar
from grammars.primitive import Integer, Real
from grammars.program import Node, bank, call, const, linear, tap
from grammars.scope import Opaque, Scope
from grammars.shapes import aligned, shape
from grammars.stream import BitReader, BitWriter

OFFSETS = [(dy, dx) for dy in range(-3, 4) for dx in range(-3, 4)]
COLUMNS = tuple(("image", c, *at) for c in range(3) for at in OFFSETS)
SEEING = load_grammar(tags=("core", "kernel", "colour"), installed=False)
ANGLES = [20.0 * i for i in range(8)]


def gabors(gains: dict[float, float] | None = None) -> list[Node]:
    """Eight angles, two phases and two scales of a gabor."""
    found = []
    for angle, phase, scale in product(ANGLES, (0.0, 90.0), (1.0, 2.0)):
        params = {"sigma": 1.25 * scale, "length": 1.5 * scale}
        kernel = gabor(angle=angle, wavelength=4.0 * scale, phase=phase, **params)
        pre = call("conv", kernel, call("luminance", bank("image", 3), bgr=0))
        found.append(call("relu", linear([((gains or {}).get(scale, 0.75), pre)], -0.125)))
    return found


def gabor(**params: float) -> Node:
    specs = SEEING["gabor"].parameters
    return call("gabor", **{name: params.get(name, spec.default) for name, spec in specs})


def layer(units: list[Node | Opaque], families: tuple[tuple[int, ...], ...] = ()) -> LayerSource:
    return LayerSource(Scope("conv1", len(units), COLUMNS), tuple(units), families)


def read_back(source: LayerSource, grammar: Grammar) -> LayerSource:
    stream = encode([source], grammar)
    assert stream_bits([source], grammar) == len(stream)
    (found,) = decode(stream.to_bytes(), [source.scope], grammar)
    return found


def test_loops_of_gabors_cost_a_quarter() -> None:
    """8 angles × 2 phases × 2 scales among distractors, in any order of channels."""
    others: list[Node | Opaque] = [linear([(0.5, tap("image", 0))], float(i)) for i in range(10)]
    units = [*gabors({1.0: 0.75, 2.0: -0.375}), *others]
    order = np.random.default_rng(0).permutation(len(units)).tolist()
    family = tuple(place for place, unit in enumerate(order) if unit < 32)
    source = layer([units[unit] for unit in order], (family,))
    assert read_back(source, SEEING) == source
    scope = source.scope.of(0)
    alone = sum(program_bits(units[unit], scope, SEEING) for unit in range(32))  # type: ignore[arg-type]
    assert family_bits(source, family, SEEING) < alone / 4


def test_a_loop_in_order_costs_its_start_and_step() -> None:
    """Whatever the number of members: what grows is the list of members alone."""
    kernels = [gabor(angle=10.0 * i, wavelength=4.5) for i in range(16)]
    units: list[Node | Opaque] = [call("conv", k, tap("image", 1)) for k in kernels]
    sizes = [family_bits(layer(units[:n]), tuple(range(n)), SEEING) for n in (3, 8, 15)]
    assert sizes[2] - sizes[0] <= 12 + 6  # a bit a member, and longer counts


def test_known_bits_are_those_of_the_stream() -> None:
    units: list[Node | Opaque] = [*gabors(), const(0.5)]
    source = layer(units, (tuple(range(0, 32, 2)), tuple(range(1, 32, 2))))
    together = [family_bits(source, family, SEEING) for family in source.families]
    pairs = [(units[32], program_bits(const(0.5), source.scope.of(32), SEEING))]
    whole = sum(together) + known_bits(pairs, SEEING, families=2)
    assert whole == stream_bits([source], SEEING)


@settings(max_examples=60)
@given(st.data())
def test_any_programs_of_one_shape_are_read_back(data) -> None:
    """Other constants, taps and parameters in a random program make a family of it."""
    grammar = core()
    first = data.draw(programs(depth=2, grammar=grammar))
    units = [first, *(data.draw(st.just(first).map(lambda p: varied(p, data))) for _ in range(3))]
    assume(len({shape(unit, grammar) for unit in units}) == 1)
    columns = tuple((b, c, *at) for b, n in BANKS.items() for c in range(n) for at in OFFSETS)
    scope = Scope("own", 4, columns)
    source = LayerSource(scope, tuple(units), ((0, 1, 3),))
    assert read_back(source, grammar) == source


def varied(program: Node, data) -> Node:
    """The program with some constants changed."""
    if program.op == "const":
        return const(data.draw(st.sampled_from([0.5, -3.0, 1.0, 0.0])))
    if program.op == "linear":
        weights = [data.draw(st.sampled_from([w, 2.0, -0.25, 1.0])) for w in program["weights"]]  # type: ignore[union-attr]
        terms = zip(weights, (varied(arg, data) for arg in program.args), strict=True)
        return linear(terms, data.draw(st.sampled_from([program["bias"], 0.0, 1.5])))
    args = tuple(varied(arg, data) for arg in program.args)
    return Node(program.op, args, program.params)


REAL = Real(0.0, 345.0, 15.0, 0.0, 360.0)
KINDS = {
    "an axis": (
        Kind.of(Real(0.0, 175.0, 5.0, 0.0, 180.0)),
        st.integers(0, 8).map(lambda i: i * 20.0),
    ),
    "turning": (Kind.of(REAL), st.integers(0, 23).map(REAL.value)),
    "grid": (Kind.of(Real(0.5, 4.0, 0.125, 1.5)), st.integers(0, 28).map(lambda i: 0.5 + i / 8)),
    "off the grid": (Kind.of(REAL), st.sampled_from([0.0, 15.0, 22.5, 30.0])),
    "whole": (Kind.of(Integer(0, 9, 3)), st.integers(0, 9)),
    "weights": (FACTOR, st.integers(-99, 99).map(lambda i: i / 64)),
    "any numbers": (DYADIC, st.floats(allow_nan=False, allow_infinity=False)),
}


@settings(max_examples=200)
@given(st.data(), st.integers(2, 9))
def test_columns_are_read_back(data, members) -> None:
    """Of any kind, one after the other, whichever way is the shortest."""
    names = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    columns = []
    for name in names:
        few = data.draw(st.lists(KINDS[name][1], min_size=1, max_size=members))
        drawn = st.lists(st.sampled_from(few), min_size=members, max_size=members)
        columns.append((KINDS[name][0], data.draw(drawn)))
    out = BitWriter()
    writer = ColumnWriter(out)
    for kind, values in columns:
        writer.column(values, kind)
    reader = ColumnReader(BitReader(out.to_bytes()), members)
    assert [reader.column(kind) for kind, _ in columns] == [values for _, values in columns]
    assert reader.source.position == len(out)


def length(*columns: tuple[Kind, list[float]]) -> int:
    """Bits of columns of one table."""
    out = BitWriter()
    writer = ColumnWriter(out)
    for kind, values in columns:
        writer.column(values, kind)
    return len(out)


def test_progressions_go_around() -> None:
    """300, 330, 0, 30 degrees are a loop as well."""
    kind = KINDS["turning"][0]
    loop, other = [300.0, 330.0, 0.0, 30.0], [300.0, 315.0, 0.0, 30.0]
    assert length((kind, loop)) < length((kind, other))


def test_numbers_of_a_column_share_their_grid() -> None:
    """Sixteen multiples of 1/128 cost a quarter less than one by one."""
    values = [i / 128 for i in (31, -5, 17, 22, -9, -30, 3, 12, -19, 25, 8, -14, 29, -2, 11, -27)]
    alone = BitWriter()
    for value in values:
        FACTOR.write(alone, value)
    assert length((FACTOR, values)) < len(alone) * 3 / 4


def test_every_second_point_of_a_grid_costs_less() -> None:
    """A bit less for each member, or nearly."""
    fine = [3, -5, 0, 7, -2, 6, -7, 1, 4, -4, 5, -1]
    every = [6, -5, 0, 14, -4, 12, -7, 2, 8, -8, 10, -3]
    kind = Kind.of(Real(-6.0, 6.0, 0.125, 0.0))
    one, two, other = ([p * by / 8 for p in own] for own, by in ((fine, 1), (fine, 2), (every, 1)))
    assert length((kind, two)) <= length((kind, one)) + 2
    assert length((kind, two)) < length((kind, other))


def test_a_column_may_be_near_one_before() -> None:
    """Weights that go together, and angles that are all turned, around the end of their grid."""
    rng = np.random.default_rng(0)
    turns = rng.integers(24, size=12)
    angles = [[15.0 * ((t + by) % 24) for t in turns.tolist()] for by in (0, 20)]
    gains = [(200 + rng.integers(64, size=12)) * rng.choice([-1, 1], 12) / 256]
    gains.append(gains[0] + rng.integers(-2, 3, size=12) / 256)
    kind = KINDS["turning"][0]
    for own, (first, second) in ((kind, angles), (FACTOR, [g.tolist() for g in gains])):
        alone, after = length((own, first)), length((own, first), (own, second))
        assert after - alone < alone / 2


@settings(max_examples=40)
@given(st.data(), st.integers(1, 3), st.booleans())
def test_mixes_are_read_back(data, channels, moved) -> None:
    """Over all channels or some of them, in the middle or not."""
    drawn = st.lists(st.integers(1, 40), min_size=channels, max_size=channels)
    taps = [tap("image", 3 - channels + c, int(moved), 0) for c in range(channels)]
    units: list[Node] = []
    for angle in (0.0, 20.0, 45.0):
        mix = linear([(w / 16, t) for w, t in zip(data.draw(drawn), taps, strict=True)])
        units.append(linear([(1.0, call("conv", gabor(angle=angle), mix))], angle))
    assume(len({shape(unit, SEEING) for unit in units}) == 1)
    source = layer([*units], ((0, 1, 2),))
    assert read_back(source, SEEING) == source


def test_terms_are_matched_whatever_their_order() -> None:
    """Sums are sorted by contents, so that turned terms change places."""
    edge = lambda angle, width: call("edge", angle=angle, width=width, dy=0.0, dx=0.0)  # noqa: E731
    conv = lambda kernel: call("conv", kernel, tap("image", 0))  # noqa: E731
    pairs = [((10.0, 1.0), (20.0, 2.0)), ((70.0, 1.0), (50.0, 2.0))]
    units = [linear([(1.5, conv(edge(*a))), (2.5, conv(edge(*b)))]) for a, b in pairs]
    assert len({unit.args[0].args[0]["width"] for unit in units}) == 2  # they did change places
    found = aligned(units, SEEING)
    assert [unit.args[0].args[0]["width"] for unit in found] == [
        unit.args[0].args[0]["width"] for unit in found[:1] * 2
    ]
    assert found[0]["weights"] == found[1]["weights"]


def test_a_gain_of_one_does_not_change_the_shape() -> None:
    conv = call("conv", gabor(angle=15.0), tap("image", 0))
    plain, scaled = call("relu", conv), call("relu", linear([(0.5, conv)], 1.0))
    assert shape(plain, SEEING) == shape(scaled, SEEING)
    source = layer([plain, scaled], ((0, 1),))
    assert read_back(source, SEEING) == source


@pytest.mark.parametrize(
    ("families", "said"),
    [
        (((0, 1), (1, 2)), "in two families"),
        (((0, 3),), "without a program"),
        (((0, 2),), "several shapes"),
    ],
)
def test_no_family_of_what_does_not_belong_together(families, said) -> None:
    first = linear([(0.5, tap("image", 0))], 1.0)
    other = call("relu", first)
    units: list[Node | Opaque] = [first, first, other, Opaque((0.0,) * len(COLUMNS), 0.0)]
    with pytest.raises(ValueError, match=said):
        encode([layer(units, families)], SEEING)
