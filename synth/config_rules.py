"""What a key of the configuration accepts: rules as data, in words and as tests."""

import math
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.errors import Problems
from synth.references import parse_reference

BACKENDS = ("loky", "threading", "dask", "ray")
CONTROLS = ("shuffled", "random", "rounding", "pruning")


@dataclass(frozen=True)
class Rule:
    """What one key accepts, in words and as a test; `convert` makes the value that is stored."""

    expected: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any] = lambda value: value
    file: Callable[[str, Path], Path] | None = None  # for paths: the file that must exist


def _file(text: str, folder: Path) -> Path:
    return folder / text


def _referenced(text: str, folder: Path) -> Path:
    return parse_reference(text, folder).path


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_references(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_reference, value))


def _is_controls(value: object) -> bool:
    return isinstance(value, list | tuple) and all(name in CONTROLS for name in value)


def _to_references(value: str | Iterable[str]) -> str | tuple[str, ...]:
    """Several references as a tuple; a list of one is that one."""
    names = (value,) if isinstance(value, str) else tuple(value)
    return names[0] if len(names) == 1 else names


def _is_device(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"cpu|cuda(:\d+)?", value) is not None


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_values(values: Sequence[object]) -> bool:
    """Different numbers that are their own float32."""
    if not all(map(_is_number, values)) or len(set(values)) < len(values):
        return False
    return all(_single(value) == value for value in values)


def _single(value: Any) -> float:
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.inf


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and Problems().attempt(parse_reference, value, Path()) is not None


def _is_factory(value: object) -> bool:
    return isinstance(value, str) and ".py:" in value and _is_reference(value)


def _is_model(value: object) -> bool:
    return isinstance(value, str) and value.endswith((".pt2", ".onnx"))


def _is_safetensors(value: object) -> bool:
    return isinstance(value, str) and value.endswith(".safetensors")


def _is_output(value: object) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return whole or _is_text(value)


def _is_weights(value: object) -> bool:
    return isinstance(value, dict) and all(_is_number(w) and w > 0 for w in value.values())


def _to_pairs(value: dict[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((name, float(weight)) for name, weight in value.items()))


def _are_banks(value: object) -> bool:
    pairs = isinstance(value, dict) and bool(value) and _is_texts([*value, *value.values()])
    return pairs or _is_text(value)


def _to_banks(value: str | dict[str, str]) -> str | tuple[tuple[str, str], ...]:
    return value if isinstance(value, str) else tuple(value.items())


def _number(expected: str, accepts: Callable[[float], bool]) -> Rule:
    return Rule(f"a number {expected}", lambda v: _is_number(v) and accepts(v), float)


def _whole(expected: str, accepts: Callable[[int], bool]) -> Rule:
    def test(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and accepts(value)

    return Rule(f"a whole number {expected}", test)


FACTORY = Rule("'FILE.py:FUNCTION'", _is_factory, file=_referenced)
ARRAY = Rule("'FILE.py:FUNCTION', 'FILE.npz:KEY' or 'FILE.npy'", _is_reference, file=_referenced)
ARRAYS = Rule(
    f"{ARRAY.expected}, or a list of them, one for each input of the network",
    lambda v: _is_reference(v) or _is_references(v),
    _to_references,
    file=_referenced,
)
FILE = Rule("the path of a file", _is_text, file=_file)
BASIS = Rule("the path of a .safetensors file", _is_safetensors, file=_file)
MODEL = Rule("the path of a .pt2 or .onnx file", _is_model, file=_file)
OUTPUT = Rule("the name or the index of an output", _is_output)
VALUES = Rule(
    "a list of two to sixteen different numbers, such as [0, 1], that float32 holds exactly",
    lambda v: isinstance(v, list | tuple) and 2 <= len(v) <= 16 and _are_values(v),
    lambda v: tuple(sorted(map(float, v))),
)
NUMBER = Rule("a number", _is_number, float)
FILES = Rule("a list of paths", _is_texts, tuple, file=_file)
PATH = Rule("the path of a folder", _is_text)
BANKS = Rule("a name, or a table of bank = earlier bank", _are_banks, _to_banks)
NAMES = Rule("a list of names, at least one", lambda v: bool(v) and _is_texts(v), tuple)
CHOICE = Rule(f"a list of some of {', '.join(CONTROLS)}, maybe none", _is_controls, tuple)
WEIGHTS = Rule("a table of primitive = weight with weights above 0", _is_weights, _to_pairs)
FLAG = Rule("true or false", lambda v: isinstance(v, bool))
PROPER = _number("above 0 and below 1", lambda v: 0 < v < 1)
SHARE = _number("above 0 and at most 1", lambda v: 0 < v <= 1)
POSITIVE = _number("above 0", lambda v: v > 0)
COUNT = _whole("of at least 1", lambda v: v >= 1)
WHOLE = _whole("of at least 0", lambda v: v >= 0)
LIMIT = _number("of at least 0", lambda v: v >= 0)
DEVICE = Rule("'cpu', 'cuda' or 'cuda:1'", _is_device)
BACKEND = Rule(f"one of {', '.join(BACKENDS)}", lambda v: v in BACKENDS)
ADDRESS = Rule("an address such as 'tcp://host:8786'", _is_text)
SEED = _whole("from 0 to 4294967295", lambda v: 0 <= v < 2**32)
