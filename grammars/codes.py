"""How numbers and parameters are written into a stream: dyadics, sums over one exponent, grids."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grammars.primitive import Parameter, Real
from grammars.program import Value
from grammars.stream import BitReader, BitWriter, unzigzag, zigzag, zigzags

MANTISSA = 53  # bits of a float
TYPICAL_EXPONENT = -6  # most programs speak in sixty-fourths; other exponents cost more


def common_exponent(values: Sequence[float] | np.ndarray) -> tuple[int, list[int]]:
    """The largest e with every value an integer times 2^e, and those integers; 0 for zeros."""
    mantissas, exponents = np.frexp(np.asarray(values, dtype=np.float64))
    integers = np.ldexp(mantissas, MANTISSA).astype(np.int64)
    trailing = np.frexp((integers & -integers).astype(np.float64))[1] - 1
    lowest = (exponents - MANTISSA + trailing)[integers != 0]
    exponent = int(lowest.min()) if lowest.size else 0
    shifts = (exponents - MANTISSA - exponent).tolist()
    pairs = zip(integers.tolist(), shifts, strict=True)
    return exponent, [m << k if k >= 0 else m >> -k for m, k in pairs]


def odd_part(value: float) -> tuple[int, int]:
    """(m, e) with value = m · 2^e and m odd, or (0, 0)."""
    numerator, denominator = value.as_integer_ratio()
    if not numerator:
        return 0, 0
    exponent = 1 - denominator.bit_length()
    zeros = (numerator & -numerator).bit_length() - 1
    return numerator >> zeros, exponent + zeros


def dense_row(positions: np.ndarray, integers: np.ndarray, size: int) -> np.ndarray:
    """All `size` integers of a row, zeros included, as naturals in the order of `zigzag`."""
    row = np.zeros(size, dtype=np.int64)
    row[positions] = zigzags(integers)
    return row


@dataclass(frozen=True)
class Bias:
    """A bias in units of 2^-shift of its sum's grid: it may be finer than the weights."""

    integer: int
    shift: int

    @classmethod
    def of(cls, value: float, exponent: int) -> "Bias":
        """The bias `value` beside weights that are multiples of 2^exponent."""
        mantissa, own = odd_part(value)
        shift = max(exponent - own, 0) if mantissa else 0
        return cls(mantissa << (own + shift - exponent) if mantissa else 0, shift)


def write_bias(writer: BitWriter, bias: Bias, parameter: int) -> None:
    """The shift, then the integer, which is near 2^(parameter + shift)."""
    writer.gamma(bias.shift)
    write_integer(writer, bias.integer, parameter + bias.shift)


def read_bias(reader: BitReader, parameter: int, exponent: int) -> float:
    """The bias beside weights that are multiples of 2^exponent."""
    shift = reader.gamma()
    return math.ldexp(read_integer(reader, parameter + shift), exponent - shift)


def write_integer(writer: BitWriter, value: int, parameter: int) -> None:
    """An integer near 2^parameter in size, as Exp-Golomb code: a large one costs its logarithm."""
    natural = zigzag(value)
    writer.gamma(natural >> parameter)
    writer.bits(natural & ((1 << parameter) - 1), parameter)


def read_integer(reader: BitReader, parameter: int) -> int:
    high = reader.gamma()
    return unzigzag(high << parameter | reader.bits(parameter))


def write_exponent(writer: BitWriter, exponent: int) -> None:
    """An exponent by its distance from the typical one, a finer one before a coarser."""
    write_integer(writer, TYPICAL_EXPONENT - exponent, 1)


def read_exponent(reader: BitReader) -> int:
    return TYPICAL_EXPONENT - read_integer(reader, 1)


def write_dyadic(writer: BitWriter, value: float) -> None:
    """Any float: whether it is zero, its sign, its odd part and its exponent."""
    mantissa, exponent = odd_part(value)
    writer.bits(int(mantissa != 0), 1)
    if mantissa:
        writer.bits(int(mantissa < 0), 1)
        writer.gamma(abs(mantissa) // 2)
        write_exponent(writer, exponent)


def read_dyadic(reader: BitReader) -> float:
    if not reader.bits(1):
        return 0.0
    sign = -1 if reader.bits(1) else 1
    mantissa = sign * (2 * reader.gamma() + 1)
    return math.ldexp(mantissa, read_exponent(reader))


def write_factor(writer: BitWriter, value: float) -> None:
    """What a term of a sum is multiplied by: 0 for one, or 1 and the dyadic."""
    writer.bits(int(value != 1.0), 1)
    if value != 1.0:
        write_dyadic(writer, value)


def read_factor(reader: BitReader) -> float:
    return read_dyadic(reader) if reader.bits(1) else 1.0


def write_parameter(writer: BitWriter, spec: Parameter, value: Any) -> None:
    """0 for the default, or 1 and the place on the grid; the place behind its end and 64 bits for
    any other real."""
    if value == spec.default:
        writer.code("0")
    elif not isinstance(spec, Real):
        writer.code("1")
        writer.bits(value - spec.low, (spec.high - spec.low).bit_length())
    else:
        index = spec.index(value)
        writer.code("1")
        writer.bits(spec.size if index is None else index, spec.size.bit_length())
        if index is None:
            writer.float64(value)


def read_parameter(reader: BitReader, spec: Parameter) -> Value:
    if not reader.bits(1):
        return spec.default
    if not isinstance(spec, Real):
        return spec.low + reader.bits((spec.high - spec.low).bit_length())
    index = reader.bits(spec.size.bit_length())
    return reader.float64() if index == spec.size else spec.value(index)
