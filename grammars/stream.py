"""A stream of bits and the universal codes that programs are priced by.

Rice codes (Rice and Plaunt 1971) for gaps and magnitudes, Elias' gamma code (1975) for counts,
canonical Huffman codes (1952) for operations.
"""

import heapq
import struct
from collections.abc import Mapping, Sequence

import numpy as np

RICE_WIDTH = 5  # bits that announce a Rice parameter, so parameters are 0 … 31


def width_of(count: int) -> int:
    """Bits that name one of so many."""
    return max(count - 1, 0).bit_length()


class BitWriter:
    """Bits most significant first; `len(writer)` is what has been written."""

    def __init__(self) -> None:
        self._chunks: list[str] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def bits(self, value: int, width: int) -> None:
        """`value` in `width` bits. Raises ValueError where it does not fit."""
        if not 0 <= value < 1 << width:
            raise ValueError(f"{value} does not fit into {width} bits")
        self.code(format(value, f"0{width}b") if width else "")

    def code(self, word: str) -> None:
        """A code word of zeros and ones."""
        self._chunks.append(word)
        self._length += len(word)

    def rice(self, value: int, parameter: int) -> None:
        """A natural number: value >> parameter in unary, the rest in binary."""
        self.code("1" * (value >> parameter) + "0")
        self.bits(value & ((1 << parameter) - 1), parameter)

    def rices(self, values: Sequence[int] | np.ndarray, parameter: int) -> None:
        """Natural numbers one after the other."""
        for value in np.asarray(values, dtype=np.int64).tolist():
            self.rice(value, parameter)

    def gamma(self, value: int) -> None:
        """A natural number by Elias' gamma code of value + 1."""
        width = (value + 1).bit_length()
        self.code("0" * (width - 1))
        self.bits(value + 1, width)

    def signed(self, value: int, parameter: int) -> None:
        """An integer by the Rice code of 0, −1, 1, −2, 2, …"""
        self.rice(zigzag(value), parameter)

    def float32(self, value: float) -> None:
        """A float32, raw."""
        self.bits(int.from_bytes(struct.pack(">f", value), "big"), 32)

    def float64(self, value: float) -> None:
        """A float64, raw."""
        self.bits(int.from_bytes(struct.pack(">d", value), "big"), 64)

    def text(self, text: str) -> None:
        """UTF-8 text: its length, then its bytes."""
        data = text.encode()
        self.gamma(len(data))
        for byte in data:
            self.bits(byte, 8)

    def to_bytes(self) -> bytes:
        """The stream, padded with zeros to whole bytes."""
        bits = "".join(self._chunks)
        padded = bits + "0" * (-len(bits) % 8)
        return int(padded or "0", 2).to_bytes(len(padded) // 8, "big")


class BitCounter(BitWriter):
    """A writer that keeps only the length: candidates are priced far more often than written."""

    def code(self, word: str) -> None:
        self._length += len(word)

    def rices(self, values: Sequence[int] | np.ndarray, parameter: int) -> None:
        high = np.asarray(values, dtype=np.int64) >> parameter
        self._length += int(high.sum()) + len(values) * (1 + parameter)


class BitReader:
    """Reads what `BitWriter` wrote. Every method raises EOFError past the end."""

    def __init__(self, data: bytes) -> None:
        self._bits = format(int.from_bytes(data, "big"), f"0{8 * len(data)}b") if data else ""
        self.position = 0

    def bits(self, width: int) -> int:
        return int(self._take(width), 2) if width else 0

    def unary(self) -> int:
        end = self._bits.find("0", self.position)
        if end < 0:
            raise EOFError("the stream ends inside a unary code")
        count, self.position = end - self.position, end + 1
        return count

    def rice(self, parameter: int) -> int:
        high = self.unary()
        return high << parameter | self.bits(parameter)

    def gamma(self) -> int:
        start = self._bits.find("1", self.position)
        if start < 0:
            raise EOFError("the stream ends inside a gamma code")
        width, self.position = start - self.position + 1, start
        return self.bits(width) - 1

    def signed(self, parameter: int) -> int:
        return unzigzag(self.rice(parameter))

    def float32(self) -> float:
        return struct.unpack(">f", self.bits(32).to_bytes(4, "big"))[0]

    def float64(self) -> float:
        return struct.unpack(">d", self.bits(64).to_bytes(8, "big"))[0]

    def text(self) -> str:
        return bytes(self.bits(8) for _ in range(self.gamma())).decode()

    def word(self, words: Mapping[str, str]) -> str:
        """The symbol of the next code word, out of {code word: symbol}."""
        here = ""
        while here not in words:
            here += self._take(1)
        return words[here]

    def _take(self, width: int) -> str:
        part = self._bits[self.position : self.position + width]
        if len(part) < width:
            raise EOFError("the stream ends inside a code")
        self.position += width
        return part


def zigzag(value: int) -> int:
    """Integers as naturals: 0, 1, −1, 2, −2, … → 0, 1, 2, 3, 4, …

    Positive ones come first, because what may face either way is written with positive gains.
    """
    return 2 * value - 1 if value > 0 else -2 * value


def zigzags(values: np.ndarray) -> np.ndarray:
    """The same for an array of integers."""
    return np.where(values > 0, 2 * values - 1, -2 * values)


def unzigzag(value: int) -> int:
    """The inverse of `zigzag`."""
    return (value + 1) // 2 if value % 2 else -value // 2


def rice_cost(values: Sequence[int] | np.ndarray) -> tuple[int, int]:
    """The parameter that codes these naturals shortest, and the bits they then take.

    One that shifts every number to zero is the largest that can be the best.
    """
    numbers = np.asarray(values, dtype=np.int64)
    if not numbers.size:
        return 0, 0
    shifts = np.arange(min(1 << RICE_WIDTH, int(numbers.max()).bit_length() + 1))
    costs = (numbers[None] >> shifts[:, None]).sum(1) + numbers.size * (1 + shifts)
    best = int(np.argmin(costs))
    return best, int(costs[best])


def rice_costs(values: np.ndarray, rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(K,) the bits that the naturals (N,) of each row take by its own best parameter.

    `rows` (N,) are their rows, which are `sizes` (K,) long: zeros need not be among the values.
    """
    largest = int(values.max(initial=0)).bit_length()
    parameters = range(min(1 << RICE_WIDTH, largest + 1))
    sums = [np.bincount(rows, values >> p, len(sizes)) + sizes * (1 + p) for p in parameters]
    return np.min(sums, axis=0).astype(np.int64)


def huffman(weights: Mapping[str, float]) -> dict[str, str]:
    """Canonical code words by symbol; ties break by name, so the code is the same everywhere."""
    if len(weights) == 1:
        return {next(iter(weights)): "0"}
    heap = [(weight, name, {name: 0}) for name, weight in sorted(weights.items())]
    heapq.heapify(heap)
    while len(heap) > 1:
        low, high = heapq.heappop(heap), heapq.heappop(heap)
        depths = {name: depth + 1 for part in (low, high) for name, depth in part[2].items()}
        heapq.heappush(heap, (low[0] + high[0], min(low[1], high[1]), depths))
    return _canonical(heap[0][2])


def _canonical(depths: Mapping[str, int]) -> dict[str, str]:
    words, code, length = {}, 0, 0
    for name in sorted(depths, key=lambda n: (depths[n], n)):
        code <<= depths[name] - length
        length = depths[name]
        words[name] = format(code, f"0{length}b")
        code += 1
    return words
