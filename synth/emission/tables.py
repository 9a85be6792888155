"""Tables of `decompiled.py`: rows of weights as text, a line a unit, behind all functions."""

import json
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synth.bank_module import BankModule
from synth.emission.rows import Rows, Slots, groups_of
from synth.layers import Layer

UNUSED = "-"  # the name of a line that fills a place
_WIDEST = 2**31  # integers beyond that are no shorter than what they stand for


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a grouped layer, a unit each; `names` are those of the weight and of the bias."""

    layer: Layer
    module: BankModule
    rows: tuple[int, ...]
    units: tuple[str, ...]
    names: tuple[str, str]

    @cached_property
    def slots(self) -> Slots:
        return Slots.of(self.rows, groups_of(self.module, self.layer))

    def read(self) -> Rows:
        """The rows as the function of the layer reads them."""
        slots = self.slots
        return Rows(
            *self.names,
            matrix=False,
            groups=len(slots.groups),
            channels=slots.channels(self.layer),
            wanted=slots.wanted(self.rows),
            count=len(slots.rows),
        )

    def source_text(self, helper: str) -> str:
        """The statement that makes the table, with the function `table` under the name `helper`."""
        numbers = self._numbers()
        unit = unit_of(numbers)
        shown = numbers if unit is None else numbers / 2.0**unit
        units = dict(zip(self.rows, self.units, strict=True))
        names = [UNUSED if row is None else units[row] for row in self.slots.rows]
        lines = (
            " ".join([name, *map(_short, row)])
            for name, row in zip(names, shown.tolist(), strict=True)
        )
        shape = (self.layer.fan // math.prod(window := self.layer.geometry.window), *window)
        scale = "1.0" if unit is None else f"2.0**{unit}"
        start = f'{", ".join(self.names)} = {helper}("""'
        return "\n".join([self._comment(), start, *lines, f'""", {scale}, {shape})'])

    def _comment(self) -> str:
        fan = self.layer.fan
        weights = f"its {fan} weights" if fan > 1 else "its weight"
        return f"# {json.dumps(self.layer.name)}: a line a unit, {weights} and its bias"

    def _numbers(self) -> np.ndarray:
        """(places, fan + 1) float64: the row at each place with its bias; zeros where none is."""
        bank, layer = self.module.bank, self.layer
        parts = bank.weight[:, : layer.width].reshape(-1, layer.groups, layer.fan)
        group = groups_of(self.module, layer)
        result = np.zeros((len(self.slots.rows), layer.fan + 1))
        for place, row in enumerate(self.slots.rows):
            if row is not None:
                result[place] = [*parts[row, group[row]], bank.bias[row]]
        return result


def unit_of(numbers: np.ndarray) -> int | None:
    """e such that all numbers are integers times 2**e; None if some would be very long."""
    used = numbers[numbers != 0]
    if not len(used):
        return 0
    unit = min(map(_exponent, used.tolist()))
    return unit if np.abs(used).max() / 2.0**unit < _WIDEST else None


def _exponent(value: float) -> int:
    """The largest e such that value is an integer times 2**e."""
    numerator, denominator = abs(value).as_integer_ratio()
    return (numerator & -numerator).bit_length() - denominator.bit_length()


def _short(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
