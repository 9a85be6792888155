"""Mixes of a bank's channels, such as axes of colour, as sums of its maps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grammars.evaluation import Unsupported
from grammars.interpreters.text import TextAlgebra
from grammars.primitive import Primitive


def mix_text(primitive: Primitive, bank: str, channels: int, params: Mapping[str, Any]) -> str:
    """What a primitive makes of a tensor `bank` (N, channels, …): an expression of shape (N, …).

    ValueError for one that reads beside the position: whole maps are only added up.
    """

    def channel(number: int) -> Callable[[int, int], str]:
        return lambda i, j: f"{bank}[:, {number}]" if i == j == 0 else _unread(i, j)

    maps = [channel(number) for number in range(channels)]
    try:
        return primitive.body(_Mixes(_unread), maps, **params)(0, 0)
    except Unsupported as gap:
        raise ValueError(f"the primitive {primitive.name!r} cannot be emitted: {gap}") from None


class _Mixes(TextAlgebra):
    """Sums as people write them: without zeros and ones."""

    def linear(self, weights: Sequence[float], values: Sequence[str], bias: float) -> str:
        terms = [(w, v) for w, v in zip(weights, values, strict=True) if w]
        text = "".join(f" {'-' if w < 0 else '+'} {_times(abs(w))}{v}" for w, v in terms)
        text += f" + {bias!r}" if bias or not terms else ""
        return f"({text.removeprefix(' + ').lstrip()})"


def _times(size: float) -> str:
    return "" if size == 1.0 else f"{size!r} * "


def _unread(*_: Any) -> str:
    raise Unsupported("it reads more than the channels of its bank where they are")
