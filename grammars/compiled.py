"""Programs of one bank, compiled: one matrix of affine rows and vectorised skeletons over them.

Skeletons that differ in their numbers alone, as units of learned slopes do, run as one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grammars.hoist import ROWS, Group, Hoisted, Hoister, grouped, headed_sum
from grammars.interpreters.affine import Affine, TapKey
from grammars.interpreters.torch import TorchAlgebra
from grammars.pools import CompiledGroup, Numbers, Pool, pools_of
from grammars.primitive import Primitive
from grammars.program import Node, tap, terms_of
from grammars.tapes import recorded


@dataclass(frozen=True, eq=False)
class CompiledBank:
    """`weight` (R, F) and `bias` (R,) in float64, and the groups that make U units of R rows."""

    weight: np.ndarray
    bias: np.ndarray
    groups: tuple[CompiledGroup, ...]
    primitives: Mapping[str, Primitive]

    @property
    def units(self) -> int:
        return sum(len(g.units) for g in self.groups)

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        """The groups, those together whose skeletons differ in their numbers alone."""
        return pools_of(self.groups, self.primitives)

    @cached_property
    def order(self) -> np.ndarray:
        """Where unit i stands in the concatenation of the pools."""
        units = np.concatenate([np.zeros(0, dtype=np.int64), *(p.units for p in self.pools)])
        return np.argsort(units, kind="stable")

    @cached_property
    def in_order(self) -> bool:
        """Whether the concatenation of the pools has the units in order."""
        return bool((np.diff(self.order) == 1).all())

    @property
    def arranged(self) -> "CompiledBank":
        """The same units from rows that lie as the pools read them, so that none is copied; a
        constant joins the largest group whose skeleton leaves it as it is."""
        bank = _joined(self)
        reads = [rows for pool in bank.pools for rows in pool.rows.values()]
        order = np.concatenate([np.zeros(0, dtype=np.int64), *reads])
        place = np.zeros(len(bank.bias), dtype=np.int64)
        place[order] = np.arange(len(order))  # a row is read by one unit, once
        groups = tuple(
            replace(group, rows={name: place[rows] for name, rows in group.rows.items()})
            for group in bank.groups
        )
        return replace(bank, weight=bank.weight[order], bias=bank.bias[order], groups=groups)

    def heads(self, rows: Tensor) -> Tensor:
        """Units (N, U, …) from rows (N, R, …)."""
        numbers = [pool.numbers_as(rows) for pool in self.pools]
        order = None if self.in_order else torch.as_tensor(self.order, device=rows.device)
        return self.computed(rows, numbers, order)

    def computed(self, rows: Tensor, numbers: Sequence[Numbers], order: Tensor | None) -> Tensor:
        """The same with the numbers of the pools, and the units' order, as tensors that are there;
        any may be a node of a graph that is being written."""
        if not self.pools:
            return rows[:, :0]
        pairs, every = zip(self.pools, numbers, strict=True), len(self.bias)
        parts = [pool.run(rows, own, every) for pool, own in pairs]
        together = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return together if order is None else together[:, order]

    def apply(self, patches: np.ndarray) -> np.ndarray:
        """Units (n, U) of patches (n, F), in float64."""
        return self.outputs(patches.astype(np.float64, copy=False) @ self.weight.T)

    def outputs(self, products: np.ndarray) -> np.ndarray:
        """Units (n, U) from the products (n, R) of float64 patches with the rows' weights."""
        return self.heads(torch.from_numpy(products + self.bias)).numpy()

    def part(self, units: Sequence[int]) -> "CompiledBank":
        """Some of the units, in the order given, and the rows that they read."""
        groups = [g.part(units) for g in self.groups]
        reads = [rows for g in groups for rows in g.rows.values()]
        used = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *reads]))
        few = tuple(
            replace(g, rows={name: np.searchsorted(used, rows) for name, rows in g.rows.items()})
            for g in groups
            if len(g.units)
        )
        return CompiledBank(self.weight[used], self.bias[used], few, self.primitives)


def compile_bank(
    programs: Sequence[Node], index: Mapping[TapKey, int], primitives: Mapping[str, Primitive]
) -> CompiledBank:
    """Compile the programs of one bank; `index` numbers all F taps that they may read.

    Raises KeyError for a tap without column.
    """
    places = {tap(*key): column for key, column in index.items()}
    hoister = Hoister(primitives, index)
    rows, groups = grouped([_split(p, places, hoister) for p in programs])
    weight = np.zeros((len(rows), len(index)))
    for number, row in enumerate(rows):
        weight[number, row.columns] = row.weights
    bias = np.array([row.bias for row in rows])
    return CompiledBank(weight, bias, tuple(_compiled(g, primitives) for g in groups), primitives)


def _joined(bank: CompiledBank) -> CompiledBank:
    """Constants as rows without weights in the largest one-row group that leaves them as they
    are."""
    one_row = [group for group in bank.groups if len(group.rows) == 1]
    if not one_row:
        return bank
    largest = max(one_row, key=lambda group: len(group.units))
    ((key, own),) = largest.rows.items()
    for group in bank.groups:
        value = None if group.rows else _kept(group.skeleton, largest.skeleton, bank.primitives)
        if value is None:
            continue
        units = np.concatenate([largest.units, group.units])
        rows = np.concatenate([own, len(bank.bias) + np.arange(len(group.units))])
        order = np.argsort(units)
        grown = replace(largest, units=units[order], rows={key: rows[order]})
        others = (g for g in bank.groups if g is not largest and g is not group)
        bias = np.append(bank.bias, np.full(len(group.units), value))
        weight = np.pad(bank.weight, ((0, len(group.units)), (0, 0)))
        bank = replace(bank, weight=weight, bias=bias, groups=(grown, *others))
        largest, own = grown, rows[order]
    return bank


def _kept(constant: Node, skeleton: Node, primitives: Mapping[str, Primitive]) -> float | None:
    """The value of a constant program, if a skeleton over one row gives it back."""

    def at(program: Node, row: Any) -> float:
        tape, numbers = recorded(program, primitives)
        return float(tape.run(TorchAlgebra(lambda *_: row), numbers))

    value = at(constant, None)
    row = torch.tensor(value, dtype=torch.float64)
    return value if at(skeleton, row) == value else None


@dataclass(frozen=True, eq=False)
class _Row:
    """Weights at columns."""

    columns: list[int]
    weights: Sequence[float]
    bias: float


def _split(program: Node, places: Mapping[Node, int], hoister: Hoister) -> Hoisted[_Row]:
    """A program as a skeleton and its rows over numbered taps."""
    primitives = hoister.primitives
    plain = headed_sum(program, primitives)
    if plain is not None:
        (inner,) = plain.rows
        terms, bias = terms_of(inner)
        columns = [places[atom] for _, atom in terms]
        return Hoisted(plain.skeleton, (_Row(columns, [w for w, _ in terms], bias),))
    hoisted = _complete(hoister.hoisted(program), primitives)
    rows = (
        _Row([places[tap(*key)] for key in r.weights], [*r.weights.values()], r.bias)
        for r in hoisted.rows
    )
    return Hoisted(hoisted.skeleton, tuple(rows))


def _complete(hoisted: Hoisted[Affine], primitives: Mapping[str, Primitive]) -> Hoisted[Affine]:
    """Every tap that the skeleton still reads as an atom gets a row of its own, at the end."""
    raw = [key for key in taps_read(hoisted.skeleton, primitives) if key[0] != ROWS]
    return Hoisted(hoisted.skeleton, (*hoisted.rows, *(Affine({key: 1.0}) for key in raw)))


def _compiled(group: Group, primitives: Mapping[str, Primitive]) -> CompiledGroup:
    """Slot i is a unit's row i; raw taps follow, in the order in which `_complete` put them."""
    reads = taps_read(group.skeleton, primitives)
    slots = sorted(key for key in reads if key[0] == ROWS)
    rows = np.array(group.rows, dtype=np.int64).reshape(len(group.units), -1)
    keys = [*slots, *(key for key in reads if key[0] != ROWS)]
    table = {key: rows[:, place] for place, key in enumerate(keys)}
    return CompiledGroup(group.skeleton, np.array(group.units), table)


def taps_read(skeleton: Node, primitives: Mapping[str, Primitive]) -> list[TapKey]:
    """What evaluating a skeleton reads, in order of first use."""
    return recorded(skeleton, primitives)[0].reads
