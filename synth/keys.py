"""Keys that are hashes of content, equal in every process and on every machine."""

import hashlib
import struct
from collections.abc import Iterator, Mapping

import numpy as np


def content_key(*parts: object) -> str:
    """The 128-bit BLAKE2b of the parts, as 32 hex digits.

    A part is None, a bool, int, float, str, bytes, a NumPy array (dtype, shape and values count,
    memory order does not) or scalar (as the Python number), or a tuple, list (as a tuple) or
    dict (in any order) of parts. Raises TypeError for anything else.
    """
    digest = hashlib.blake2b(digest_size=16)
    for chunk in _encode(parts):
        digest.update(chunk)
    return digest.hexdigest()


def _encode(part: object) -> Iterator[bytes]:
    """A prefix-free encoding: tag, length, content. So other structure gives other bytes."""
    if isinstance(part, tuple | list):
        yield _head(b"(", len(part))
        for inner in part:
            yield from _encode(inner)
    elif isinstance(part, Mapping):
        pairs = ((b"".join(_encode(key)), value) for key, value in part.items())
        yield _head(b"{", len(part))
        for key, value in sorted(pairs, key=lambda pair: pair[0]):
            yield key
            yield from _encode(value)
    elif isinstance(part, np.ndarray):
        yield from _encode_array(part)
    else:
        tag, content = _scalar(part)
        yield _head(tag, len(content))
        yield content


def _head(tag: bytes, length: int) -> bytes:
    return tag + struct.pack("<Q", length)


def _encode_array(array: np.ndarray) -> Iterator[bytes]:
    if array.dtype.kind not in "fiubc":
        raise TypeError(f"content_key: an array of type {array.dtype}, expected numbers")
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    yield _head(b"[", array.nbytes)
    yield from _encode((array.dtype.newbyteorder("<").str, array.shape))
    yield little.tobytes()


def _scalar(part: object) -> tuple[bytes, bytes]:
    if isinstance(part, np.generic):
        part = part.item()
    if part is None:
        return b"n", b""
    if isinstance(part, bool):
        return b"b", b"1" if part else b"0"
    if isinstance(part, int):
        return b"i", str(part).encode()
    if isinstance(part, float):
        return b"f", part.hex().encode()  # exact, with one text for every NaN
    if isinstance(part, str):
        return b"s", part.encode("utf-8", "surrogatepass")
    if isinstance(part, bytes):
        return b"y", part
    expected = "expected None, a number, text, bytes, an array, a tuple or a dict"
    raise TypeError(f"content_key: {part!r} of type {type(part).__name__}, {expected}")
