"""Codes are decodable: what is written is read back, in its length."""

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammars.codes import (
    common_exponent,
    dense_row,
    odd_part,
    read_dyadic,
    read_integer,
    read_parameter,
    write_dyadic,
    write_integer,
    write_parameter,
)
from grammars.primitive import Integer, Real
from grammars.stream import (
    RICE_WIDTH,
    BitCounter,
    BitReader,
    BitWriter,
    huffman,
    rice_cost,
    rice_costs,
    unzigzag,
    zigzag,
)

FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(lambda v: v + 0.0)
NATURALS = st.integers(0, 2**40)


def round_trip(write, read):
    """What `read` finds in the stream that `write` made, the bits used, and the bits written."""
    writer = BitWriter()
    write(writer)
    writer.bits(5, 3)
    reader = BitReader(writer.to_bytes())
    found = read(reader)
    assert reader.bits(3) == 5, "the code reads past its end"
    return found, len(writer) - 3


@given(st.integers(-(2**50), 2**50))
def test_zigzag_is_a_bijection(value: int) -> None:
    """Integers and naturals are one to one, small ones first."""
    assert unzigzag(zigzag(value)) == value
    assert 0 <= zigzag(value) <= 2 * abs(value)


@given(st.integers(0, 5000), st.integers(0, 31))
def test_rice_codes(value: int, parameter: int) -> None:
    """A Rice code comes back, in quotient + 1 + parameter bits."""
    found, bits = round_trip(lambda w: w.rice(value, parameter), lambda r: r.rice(parameter))
    assert (found, bits) == (value, (value >> parameter) + 1 + parameter)


@given(NATURALS)
def test_gamma_codes(value: int) -> None:
    """Elias' code of any natural comes back, in 2·log₂ + 1 bits."""
    found, bits = round_trip(lambda w: w.gamma(value), lambda r: r.gamma())
    assert (found, bits) == (value, 2 * (value + 1).bit_length() - 1)


@given(st.integers(-4000, 4000), st.integers(0, 12))
def test_signed_codes(value: int, parameter: int) -> None:
    """Signed Rice codes come back."""
    found, _ = round_trip(lambda w: w.signed(value, parameter), lambda r: r.signed(parameter))
    assert found == value


@given(st.integers(-(2**60), 2**60), st.integers(0, 31))
def test_bias_codes_grow_with_the_logarithm(value: int, parameter: int) -> None:
    """A bias far above its neighbours costs its logarithm, and not its size."""
    found, bits = round_trip(
        lambda w: write_integer(w, value, parameter), lambda r: read_integer(r, parameter)
    )
    assert found == value
    assert bits <= parameter + 2 * (abs(value).bit_length() + 1) + 1


@given(FLOATS)
def test_dyadic_codes(value: float) -> None:
    """Every float comes back, subnormals included; the odd part times its power is the value."""
    assert round_trip(lambda w: write_dyadic(w, value), read_dyadic)[0] == value
    mantissa, exponent = odd_part(value)
    assert np.ldexp(float(mantissa), exponent) == value
    assert mantissa % 2 or not value


@given(st.lists(FLOATS, max_size=6))
def test_common_exponent(values) -> None:
    """Integers over the largest common power of two are exact and not all even."""
    exponent, integers = common_exponent(values)
    assert [np.ldexp(float(odd_part(v)[0]), odd_part(v)[1]) for v in values] == values
    for value, integer in zip(values, integers, strict=True):
        mantissa, own = odd_part(value)
        assert integer == (mantissa << (own - exponent) if value else 0)
    assert not any(integers) or any(n % 2 for n in integers)


@given(FLOATS, st.floats(width=32, allow_nan=False), st.text(max_size=20))
def test_raw_codes(double: float, single: float, text: str) -> None:
    """Raw floats and text come back bit by bit."""
    text = text.encode("utf-8", "ignore").decode()
    assert round_trip(lambda w: w.float64(double), lambda r: r.float64()) == (double, 64)
    found, bits = round_trip(lambda w: w.float32(single), lambda r: r.float32())
    assert struct.pack(">f", found) == struct.pack(">f", single) and bits == 32
    assert round_trip(lambda w: w.text(text), lambda r: r.text())[0] == text


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=50))
def test_rice_cost_is_the_shortest_length(values) -> None:
    """The chosen parameter gives the shortest code, and the cost is its real length."""
    best, cost = rice_cost(values)
    lengths = []
    for parameter in range(1 << RICE_WIDTH):
        writer = BitWriter()
        for value in values:
            writer.rice(value, parameter)
        lengths.append(len(writer))
    assert cost == min(lengths) == lengths[best]


@given(st.lists(st.lists(st.integers(0, 10_000), max_size=20), min_size=1, max_size=9))
def test_rice_costs_are_those_of_each_row(rows) -> None:
    """Many rows at once cost what each does alone, zeros left out or not."""
    expected = [rice_cost(row)[1] for row in rows]
    sizes = np.array([len(row) for row in rows])
    for least in (0, 1):
        pairs = [(i, v) for i, row in enumerate(rows) for v in row if v >= least]
        places, values = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        assert rice_costs(values, places, sizes).tolist() == expected


CALLS = st.one_of(
    st.tuples(st.just("bits"), st.integers(0, 255), st.integers(8, 12)),
    st.tuples(st.just("code"), st.text("01", max_size=9)),
    st.tuples(st.just("rice"), st.integers(0, 500), st.integers(0, 31)),
    st.tuples(st.just("rices"), st.lists(st.integers(0, 500), max_size=9), st.integers(0, 31)),
    st.tuples(st.just("rices"), st.lists(st.integers(2**31, 2**32), max_size=9), st.just(24)),
    st.tuples(st.just("gamma"), NATURALS),
    st.tuples(st.just("signed"), st.integers(-500, 500), st.integers(0, 31)),
    st.tuples(st.just("float32"), st.floats(width=32)),
    st.tuples(st.just("float64"), FLOATS),
    st.tuples(st.just("text"), st.text(max_size=5).map(lambda t: t.encode("utf-8", "ignore"))),
)


@given(st.lists(CALLS, max_size=20))
def test_counting_is_writing(calls) -> None:
    """A counter that keeps nothing has the length of the stream after every call."""
    writer, counter = BitWriter(), BitCounter()
    for name, *args in calls:
        given_ = [a.decode() if isinstance(a, bytes) else a for a in args]
        for out in (writer, counter):
            getattr(out, name)(*given_)
        assert len(counter) == len(writer)


@pytest.mark.parametrize("kind", [BitWriter, BitCounter])
def test_runs_are_their_naturals(kind) -> None:
    """A run of Rice codes is as long as its codes one by one; of nothing, nothing."""
    run, single = kind(), kind()
    for values, parameter in (([], 3), ([0, 5, 7, 300], 2), ([2**31], 20)):
        run.rices(values, parameter)
        for value in values:
            single.rice(value, parameter)
    assert len(run) == len(single)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.floats(0.01, 100), min_size=1))
def test_huffman_is_a_complete_prefix_code(weights) -> None:
    """No word begins another, Kraft's sum is one, and heavier symbols are not longer."""
    words = huffman(weights)
    assert set(words) == set(weights)
    ordered = sorted(words.values())
    assert not any(b.startswith(a) for a, b in pairwise(ordered))
    if len(words) > 1:
        assert sum(2.0 ** -len(word) for word in ordered) == 1.0
    for a in weights:
        for b in weights:
            assert weights[a] <= weights[b] or len(words[a]) <= len(words[b])
    assert huffman(dict(reversed(list(weights.items())))) == words


SLOPE = Real(0.0, 1.0, 0.01, 0.25)
SIZE = Integer(2, 16, 2)


@given(st.sampled_from([SLOPE.value(i) for i in range(SLOPE.size)]) | st.floats(0.0, 1.0))
def test_real_parameters(value: float) -> None:
    """Reals on the grid cost its logarithm, the default one bit, any other 64 bits more."""
    value += 0.0
    found, bits = round_trip(
        lambda w: write_parameter(w, SLOPE, value), lambda r: read_parameter(r, SLOPE)
    )
    on_grid = SLOPE.index(value) is not None
    assert found == value
    assert bits == (1 if value == 0.25 else 8 if on_grid else 72)


@given(st.integers(2, 16))
def test_whole_parameters(value: int) -> None:
    """Whole parameters come back."""
    found, _ = round_trip(
        lambda w: write_parameter(w, SIZE, value), lambda r: read_parameter(r, SIZE)
    )
    assert found == value


@pytest.mark.parametrize("method", ["gamma", "unary", "float32", "text"])
def test_short_streams_end_in_eof(method: str) -> None:
    """A stream that ends inside a code raises EOFError."""
    for data in (b"", b"\xff" if method == "unary" else b"\x00"):
        with pytest.raises(EOFError):
            getattr(BitReader(data), method)()


def test_values_that_do_not_fit_are_refused() -> None:
    """A number of too many bits is an error and not a truncation."""
    with pytest.raises(ValueError, match="does not fit into 3 bits"):
        BitWriter().bits(8, 3)


def test_dense_rows() -> None:
    """A dense row holds zeros where no term is."""
    row = dense_row(np.array([1, 3]), np.array([3, -2]), 5)
    assert row.tolist() == [0, 5, 0, 4, 0]
