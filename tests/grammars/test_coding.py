"""A network's source is one stream that decodes to the same source."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import BANKS, OWN, core, programs

from grammars.coding import (
    LayerSource,
    decode,
    encode,
    opaque_bits,
    primitive_bits,
    program_bits,
    row_costs,
    stream_bits,
)
from grammars.grammar import Grammar, load_grammar
from grammars.program import Sort, call, const, linear, tap
from grammars.scope import Opaque, Scope

OFFSETS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
COLUMNS = tuple((b, c, *at) for b, n in BANKS.items() for c in range(n) for at in OFFSETS)
SCOPE = Scope(OWN, 4, COLUMNS)
ONE = Scope(OWN, 1, COLUMNS)
COUNTS = 2  # bits: there are no user primitives and no families
A, B = tap("conv1", 0), tap("conv1", 1)
HONEST = Path(__file__).parents[1] / "oracles" / "honest"


@cache
def with_user() -> Grammar:
    return load_grammar(files=sorted(HONEST.glob("*.py")), installed=False)


def opaque() -> st.SearchStrategy[Opaque]:
    singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
    rows = st.tuples(singles, singles, singles).map(lambda t: t * (len(COLUMNS) // 3))
    return st.builds(Opaque, rows, singles)


def layers(grammar: Grammar) -> st.SearchStrategy[LayerSource]:
    unit = st.one_of(*[programs(depth=2, grammar=grammar, siblings=True)] * 4, opaque())
    return st.lists(unit, min_size=4, max_size=4).map(lambda us: LayerSource(SCOPE, tuple(us)))


@settings(max_examples=60)
@given(st.data(), st.booleans())
def test_stream_decodes_to_the_source(data, user) -> None:
    """decode(encode(source)) == source: programs, opaque units, user primitives, several layers."""
    grammar = with_user() if user else core()
    source = tuple(data.draw(st.lists(layers(grammar), max_size=3)))
    stream = encode(source, grammar)
    assert decode(stream.to_bytes(), [layer.scope for layer in source], grammar) == source
    assert stream_bits(source, grammar) == len(stream)


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.floats(-1e3, 1e3), st.sampled_from(COLUMNS)),
        unique_by=lambda term: term[1],
        max_size=12,
    ),
    st.floats(-1e6, 1e6),
)
def test_sums_of_any_floats_decode(terms, bias) -> None:
    """Weights of 53 bits and of any exponents come back, at a price bounded by how far apart these
    are: a program has one exponent."""
    program = linear([(weight, tap(*column)) for weight, column in terms], bias)
    source = (LayerSource(ONE, (program,)),)
    stream = encode(source, core())
    assert decode(stream.to_bytes(), [ONE], core()) == source
    exponents = [math.frexp(v)[1] for v in (bias, *(w for w, _ in terms)) if v]
    apart = max(exponents, default=0) - min(exponents, default=0)
    assert len(stream) <= 200 + (200 + apart) * (len(terms) + 1)


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_sparse_and_dense_sums_decode(density: float) -> None:
    """Few or many taps: the shorter form is taken, and both come back."""
    step = round(1 / density)
    terms = [((i % 5 - 2 or 3) / 16, tap(*c)) for i, c in enumerate(COLUMNS) if not i % step]
    program = linear(terms, 0.5)
    source = (LayerSource(ONE, (program,)),)
    stream = encode(source, core())
    assert decode(stream.to_bytes(), [ONE], core()) == source
    assert len(stream) < 60 + 14 * len(terms)


def test_program_bits_are_its_part_of_the_stream() -> None:
    """A stream is the sum of its programs, and the counts of user primitives and families."""
    units = (call("relu", linear([(0.5, A), (-0.25, B)], 0.125)), A, const(1.0), tap(OWN, 1))
    stream = encode([LayerSource(SCOPE, units)], core())
    assert len(stream) == COUNTS + sum(program_bits(u, SCOPE, core()) for u in units)


@settings(max_examples=100)
@given(programs(depth=3, grammar=core(), siblings=True))
def test_counted_bits_are_written_bits(program) -> None:
    """What a program is priced at is, to the bit, what it adds to a stream."""
    stream = encode([LayerSource(SCOPE, (program,) * 4)], core())
    assert len(stream) == COUNTS + 4 * program_bits(program, SCOPE, core())


@settings(max_examples=100)
@given(st.sampled_from([0.02, 0.2, 0.9]), st.sampled_from([1, 9, 300]), st.integers(0, 2**31))
def test_a_row_costs_about_its_sum(density: float, largest: int, seed: int) -> None:
    """The cost of a row of integers is that of its sum but for what all sums have."""
    generator = np.random.default_rng(seed)
    row = generator.integers(-largest, largest + 1, len(COLUMNS))
    row[generator.random(len(COLUMNS)) > density] = 0
    row[generator.choice(len(COLUMNS), 2, replace=False)] = 1  # a sum, and odd
    program = linear(zip(row.tolist(), ONE.taps, strict=True))
    assert 0 <= program_bits(program, ONE, core()) - row_costs(row[None])[0] <= 50


# groups

GROUPED = Scope(OWN, 6, COLUMNS, 2)


def test_a_group_reads_its_part_of_the_columns() -> None:
    """Units of one group share a scope of its columns, in order, and may read all siblings."""
    size = len(COLUMNS) // 2
    for channel in range(6):
        start = size * (channel // 3)
        own = GROUPED.of(channel)
        assert own.columns == COLUMNS[start : start + size] and own.groups == 1
        assert (own.bank, own.channels) == (OWN, 6) and own is GROUPED.of(channel // 3 * 3)
        assert len(own.index) == size + 12 and own.index[OWN, 5, 0, 0] == size + 5
        assert own.positions.width < GROUPED.positions.width
        assert [tuple(v for _, v in t.params) for t in own.taps] == list(own.columns)
    assert SCOPE.of(0) is SCOPE.of(3) is SCOPE


@settings(max_examples=40)
@given(st.data())
def test_grouped_sources_decode(data) -> None:
    """Each unit of a grouped layer is written, and read again, in the scope of its group."""
    parts = [GROUPED.of(c) for c in (0, 3)]
    sums = [
        st.lists(st.tuples(st.integers(1, 9), st.sampled_from(p.taps)), max_size=9).map(linear)
        for p in parts
    ]
    raw = st.floats(width=32, allow_nan=False, allow_infinity=False)
    size = len(COLUMNS) // 2
    kept = st.builds(Opaque, st.tuples(raw, raw).map(lambda t: (t * size)[:size]), raw)
    units = tuple(data.draw(sums[c // 3] | kept) for c in range(6))
    source = (LayerSource(GROUPED, units),)
    stream = encode(source, core())
    assert decode(stream.to_bytes(), [GROUPED], core()) == source
    bits = (
        opaque_bits(size) if isinstance(u, Opaque) else program_bits(u, GROUPED.of(c), core())
        for c, u in enumerate(units)
    )
    assert len(stream) == COUNTS + sum(bits)


def test_taps_of_another_group_are_refused() -> None:
    """A unit that reads a channel of another group has no code, whatever its layer reads."""
    first, second = (GROUPED.of(c).taps[0] for c in (0, 3))
    units = (first,) * 3 + (second,) * 3
    assert encode([LayerSource(GROUPED, units)], core())
    with pytest.raises(ValueError, match="is not readable from bank 'conv2'"):
        encode([LayerSource(GROUPED, units[::-1])], core())


def test_opaque_units_of_groups_have_as_many_weights() -> None:
    """An opaque unit holds the weights of its group, not of all columns."""
    wide, narrow = (Opaque((0.5,) * n, 1.0) for n in (len(COLUMNS), len(COLUMNS) // 2))
    assert encode([LayerSource(GROUPED, (narrow,) * 6)], core())
    with pytest.raises(ValueError, match=f"unit 2 of 'conv2' has {len(COLUMNS) // 2} columns"):
        encode([LayerSource(GROUPED, (narrow, narrow, wide, *(narrow,) * 3))], core())


def test_opaque_units_cost_their_weights() -> None:
    """32 bits a weight and bias, and one that says so."""
    unit = Opaque((0.5,) * len(COLUMNS), 1.0)
    stream = encode([LayerSource(ONE, (unit,))], core())
    assert len(stream) == COUNTS + opaque_bits(len(COLUMNS))


def test_shorter_constants_cost_less() -> None:
    """Rounder weights, fewer taps and defaults are cheaper: that is what the price is for."""

    def bits(program) -> int:
        return program_bits(program, ONE, core())

    assert bits(linear([(0.5, A), (0.25, B)])) < bits(linear([(0.515625, A), (0.265625, B)]))
    assert bits(linear([(0.5, A)])) < bits(linear([(0.5, A), (0.5, B)]))
    assert bits(call("leaky_relu", A, slope=0.01)) < bits(call("leaky_relu", A, slope=0.02))
    assert bits(call("leaky_relu", A, slope=0.02)) < bits(call("leaky_relu", A, slope=0.123))
    assert bits(linear([(0.1, A)])) < 150


def test_a_large_bias_costs_its_logarithm() -> None:
    """A bias a thousand times the weights is not paid for in unary."""
    small, large = (linear([(1 / 64, A), (-1 / 64, B)], bias) for bias in (1 / 64, 1000.0))
    assert program_bits(large, ONE, core()) - program_bits(small, ONE, core()) < 40


def test_weights_of_the_grammar_are_the_prices() -> None:
    """A primitive with more weight has a shorter word."""
    heavy = load_grammar(weights={"tanh": 1000.0}, installed=False)
    assert len(heavy.words_for(Sort.FIELD)["tanh"]) < len(core().words_for(Sort.FIELD)["tanh"])


def test_user_primitives_are_paid_for_with_their_source() -> None:
    """A program that uses a user primitive carries that primitive's source, once."""
    grammar = with_user()
    program = call("soft_threshold", A, width=0.5)
    once = len(encode([LayerSource(ONE, (program,))], grammar))
    assert once > program_bits(program, ONE, grammar) + 8 * 200
    many = len(encode([LayerSource(SCOPE, (program,) * 4)], grammar))
    assert many - once < 200
    rest = len(encode([LayerSource(ONE, (A,))], grammar)) - program_bits(A, ONE, grammar)
    beside = once - program_bits(program, ONE, grammar) - rest
    assert primitive_bits((program,), grammar) - primitive_bits((A,), grammar) == beside


def test_stream_of_another_source_is_refused(tmp_path: Path) -> None:
    """A stream names the source of user primitives: another body is an error, comments are not."""
    program = call("soft_threshold", A, width=0.5)
    stream = encode([LayerSource(ONE, (program,))], with_user()).to_bytes()
    text = (HONEST / "soft_threshold.py").read_text()
    for change, known in ((text + "# more\n", True), (text.replace("k.min", "k.max"), False)):
        path = tmp_path / f"soft_threshold_{known}.py"
        path.write_text(change)
        others = [p for p in sorted(HONEST.glob("*.py")) if p.stem != "soft_threshold"]
        grammar = load_grammar(files=[*others, path], installed=False)
        if known:
            assert decode(stream, [ONE], grammar)[0].units == (program,)
            continue
        with pytest.raises(KeyError, match="another source of primitive 'soft_threshold'"):
            decode(stream, [ONE], grammar)


def test_taps_out_of_scope_are_refused() -> None:
    """A tap that the layer does not read has no code, and is named."""
    with pytest.raises(ValueError, match=r"\('conv9', 0, 0, 0\) is not readable from bank 'conv2'"):
        encode([LayerSource(ONE, (tap("conv9", 0),))], core())


@pytest.mark.parametrize(
    ("units", "fragment"),
    [((A, A), "has 1 units, not 2"), ((Opaque((1.0,), 0.0),), "columns, not 1")],
)
def test_sources_that_could_not_be_decoded_are_refused(units, fragment: str) -> None:
    """A layer with too many units or too few weights is refused before it is written."""
    with pytest.raises(ValueError, match=fragment):
        encode([LayerSource(ONE, units)], core())


def test_truncated_streams_end_in_eof() -> None:
    """A stream without its end raises EOFError."""
    source = [LayerSource(SCOPE, (call("relu", linear([(0.5, A), (0.25, B)], 3.0)),) * 4)]
    data = encode(source, core()).to_bytes()
    with pytest.raises(EOFError):
        decode(data[:-3], [SCOPE], core())


@pytest.mark.parametrize("weight", [2.0**900, 1.0, 3 * 2.0**-900])
@pytest.mark.parametrize("bias", [2.0**-1074, 2.0**-300, 1.0, -(2.0**600), 0.0])
def test_biases_on_another_scale_than_the_weights_decode(weight: float, bias: float) -> None:
    """A bias far finer or coarser than the weights comes back exactly."""
    source = (LayerSource(ONE, (linear([(weight, A), (-weight, B)], bias),)),)
    assert decode(encode(source, core()).to_bytes(), [ONE], core()) == source
