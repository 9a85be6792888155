"""Units that run together: those of one skeleton, and of skeletons that differ in their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grammars.interpreters.affine import TapKey
from grammars.interpreters.torch import TorchAlgebra
from grammars.primitive import Primitive
from grammars.program import Node
from grammars.tapes import READ, Tape, recorded


@dataclass(frozen=True, eq=False)
class CompiledGroup:
    """One skeleton over several units: `rows[name]` (units,) says which row each unit reads."""

    skeleton: Node
    units: np.ndarray
    rows: Mapping[TapKey, np.ndarray]

    def part(self, units: Sequence[int]) -> "CompiledGroup":
        """Those of some units that are in the group, numbered by their place among them."""
        number = {unit: i for i, unit in enumerate(self.units.tolist())}
        kept = [(i, number[unit]) for i, unit in enumerate(units) if unit in number]
        places, here = np.array(kept, dtype=np.int64).reshape(-1, 2).T
        return CompiledGroup(self.skeleton, places, {n: r[here] for n, r in self.rows.items()})


SLOPED = [(READ, ()), ("mul", (~0, 0))]
LEAKY = [[*SLOPED, ("select", (0, 0, 1))], [*SLOPED, ("max", (0, 1))]]
"""What rectifiers do; the second is one for slopes of 0 … 1."""

Numbers = Sequence[Any]
"""Of a pool, each a float that all units share, or one for each unit."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Units that do the same with numbers of their own: `rows[name]` (units,) as in a group."""

    tape: Tape
    units: np.ndarray
    rows: Mapping[TapKey, np.ndarray]
    numbers: tuple[float | np.ndarray, ...]

    @cached_property
    def spans(self) -> Mapping[TapKey, slice | None]:
        """Where what is read lies row after row; None where it does not."""
        return {name: _span(rows) for name, rows in self.rows.items()}

    @cached_property
    def is_leaky(self) -> bool:
        """Whether a unit is its row where that is above 0, and else a number times its row."""
        done = [(step.op, step.args) for step in self.tape.steps]
        if done not in LEAKY or self.tape.result != 2:
            return False
        slope = self.numbers[0]
        return done == LEAKY[0] or bool(np.min(slope) >= 0 and np.max(slope) <= 1)

    def run(self, rows: Tensor, numbers: Numbers, every: int) -> Tensor:
        """The units (N, len(self.units), …) of rows (N, R, …), R = `every`; `numbers` broadcast."""

        def read(*key: Any) -> Tensor:
            span = self.spans[key]
            if span == slice(0, every):
                return rows
            if span is not None:
                return rows[:, span]  # no copy
            return rows[:, torch.as_tensor(self.rows[key], device=rows.device)]

        if self.is_leaky:
            return _leaky(read(*self.tape.reads[0]), numbers[0])
        value = self.tape.run(TorchAlgebra(read), numbers)
        if not self.tape.is_constant:
            return value
        return rows.new_zeros((rows.shape[0], len(self.units)) + rows.shape[2:]) + value  # noqa: RUF005

    def shape(self, dims: int) -> tuple[int, ...]:
        """That of a number of each unit, for rows of so many dimensions."""
        return (-1,) if self.is_leaky else (-1, *(1,) * (dims - 2))

    def numbers_as(self, rows: Tensor) -> Numbers:
        """The numbers, to be computed with rows (N, R, …)."""
        shape = self.shape(rows.dim())
        return [
            torch.as_tensor(n, dtype=rows.dtype, device=rows.device).view(shape)
            if isinstance(n, np.ndarray)
            else n
            for n in self.numbers
        ]


def pools_of(
    groups: Sequence[CompiledGroup], primitives: Mapping[str, Primitive]
) -> tuple[Pool, ...]:
    """The groups, those together whose skeletons differ in their numbers alone."""
    alike: dict[tuple[Tape, tuple[TapKey, ...]], list[tuple[CompiledGroup, Numbers]]] = {}
    for group in groups:
        tape, numbers = recorded(group.skeleton, primitives)
        alike.setdefault((tape, tuple(group.rows)), []).append((group, numbers))
    return tuple(_pooled(tape, members) for (tape, _), members in alike.items())


def _pooled(tape: Tape, members: Sequence[tuple[CompiledGroup, Numbers]]) -> Pool:
    """Groups as one, its units in order."""
    units = np.concatenate([group.units for group, _ in members])
    order = np.argsort(units, kind="stable")
    names = members[0][0].rows
    rows = {name: np.concatenate([g.rows[name] for g, _ in members])[order] for name in names}
    sizes = [len(group.units) for group, _ in members]
    columns = (
        np.repeat(column, sizes)[order] for column in zip(*(n for _, n in members), strict=True)
    )
    numbers = (float(c[0]) if (c == c[0]).all() else c for c in columns)
    return Pool(tape, units[order], rows, tuple(numbers))


def _leaky(row: Any, slope: Any) -> Any:
    """One operation with the values of three."""
    if isinstance(slope, float):
        return F.leaky_relu(row, slope)
    return torch.prelu(row, slope)


def _span(rows: np.ndarray) -> slice | None:
    """Rows that follow one another, as a slice."""
    if not len(rows) or (np.diff(rows) != 1).any():
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1)
