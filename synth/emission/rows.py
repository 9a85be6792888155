"""Rows of weights in the emitted file, as one convolution computes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from synth.bank_module import BankModule
from synth.layers import Layer

WEIGHTS = "WEIGHTS"
"""What the emitted file calls the tensors that its text does not hold."""


@dataclass(frozen=True)
class Rows:
    """Rows as an expression for their `weight` (R, C/groups, kh, kw), or (R, C*kh*kw) if `matrix`,
    and one for their `bias` (R,).

    `channels` are those of the source that they read, None for all; `wanted` says where the rows
    that were asked for stand among the R of the product.
    """

    weight: str
    bias: str
    matrix: bool
    groups: int
    channels: tuple[int, ...] | None
    wanted: tuple[int, ...]
    count: int

    @property
    def plain(self) -> bool:
        """The product is what was asked for, nothing else and in order."""
        return self.wanted == tuple(range(self.count))


@dataclass(frozen=True)
class Slots:
    """Rows side by side as groups of one convolution, equally many in each; None fills a place.

    `groups` are those of the layer that any row reads.
    """

    groups: tuple[int, ...]
    rows: tuple[int | None, ...]

    @staticmethod
    def of(rows: Sequence[int], group: Mapping[int, int]) -> "Slots":
        """`group` is that of each row."""
        members: dict[int, list[int | None]] = {}
        for row in rows:
            members.setdefault(group[row], []).append(row)
        most = max(map(len, members.values()))
        groups = tuple(sorted(members))
        filled = (members[g] + [None] * (most - len(members[g])) for g in groups)
        return Slots(groups, tuple(row for inside in filled for row in inside))

    def wanted(self, rows: Sequence[int]) -> tuple[int, ...]:
        places = {row: place for place, row in enumerate(self.rows)}
        return tuple(places[row] for row in rows)

    def filled(self) -> list[int]:
        """Every place with a row: one of its group where none is wanted."""
        size = len(self.rows) // len(self.groups)
        return [
            self.rows[i - i % size] if row is None else row  # type: ignore[misc]
            for i, row in enumerate(self.rows)
        ]

    def channels(self, layer: Layer) -> tuple[int, ...] | None:
        """The source's channels that the groups read; None for all."""
        if len(self.groups) == layer.groups:
            return None
        size = layer.in_shape[0] // layer.groups
        return tuple(g * size + c for g in self.groups for c in range(size))


def stored_rows(layer: Layer, module: BankModule, rows: Sequence[int]) -> Rows:
    """Rows of the weight of `module`, which is stored under the layer's name."""
    weight, bias = (f"{WEIGHTS}[{json.dumps(f'{layer.name}.{k}')}]" for k in ("weight", "bias"))
    matrix, (height, every) = module.weight.dim() == 2, (len(module.weight), len(module.bias))
    if layer.groups == 1 or matrix:
        weight, bias = (_part(text, rows, every) for text in (weight, bias))
        return Rows(weight, bias, matrix, 1, None, tuple(range(len(rows))), len(rows))
    slots = Slots.of(rows, groups_of(module, layer))
    filled, places = slots.filled(), module.groups.places.tolist()
    return Rows(
        _part(weight, [places[row] for row in filled], height),
        _part(bias, filled, every),
        False,
        len(slots.groups),
        slots.channels(layer),
        slots.wanted(rows),
        len(filled),
    )


def groups_of(module: BankModule, layer: Layer) -> dict[int, int]:
    """The group of channels that each row of a layer's weight reads."""
    read = module.bank.weight[:, : layer.width].reshape(-1, layer.groups, layer.fan).any(2)
    return dict(enumerate(np.argmax(read, 1).tolist()))


def listed(numbers: Sequence[int]) -> str:
    """A list of numbers, with ranges in the place of long runs; a bare range where it is one."""
    parts: list[str] = []
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        found = [number for _, number in run]
        whole = f"*range({found[0]}, {found[-1] + 1})".replace("(0, ", "(")
        parts += [whole] if len(found) > 3 else map(str, found)
    return parts[0][1:] if len(parts) == 1 < len(numbers) else f"[{', '.join(parts)}]"


def part_of(numbers: Sequence[int], every: int) -> str:
    """What indexes a dimension of `every` places; "" for all of them in order."""
    numbers = list(numbers)
    if numbers == list(range(every)):
        return ""
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0] or ''}:{'' if numbers[-1] + 1 == every else numbers[-1] + 1}"
    return listed(numbers)


def _part(text: str, numbers: Sequence[int], every: int) -> str:
    part = part_of(numbers, every)
    return f"{text}[{part}]" if part else text
