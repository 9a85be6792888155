"""Programs of one bank, compiled: one matrix of affine rows and vectorised skeletons over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grammars.evaluation import Algebra, argument_sorts, evaluate
from grammars.hoist import ROWS, Group, Hoisted, grouped, hoist
from grammars.interpreters.affine import Affine, TapKey
from grammars.interpreters.torch import TorchAlgebra
from grammars.primitive import Primitive, Transcendental
from grammars.program import Node, Sort, tap

SUM = tap(":sum", 0)
SUM_ROW = Affine({(":sum", 0, 0, 0): 1.0})


@dataclass(frozen=True, eq=False)
class CompiledGroup:
    """One skeleton over several units: `rows[name]` (units,) says which row each unit reads."""

    skeleton: Node
    units: np.ndarray
    rows: Mapping[TapKey, np.ndarray]


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

    @property
    def order(self) -> np.ndarray:
        """Where unit i stands in the concatenation of the groups."""
        return np.argsort(np.concatenate([g.units for g in self.groups]), kind="stable")

    def heads(self, rows: Tensor) -> Tensor:
        """Units (N, U, …) from rows (N, R, …)."""
        if not self.groups:
            return rows[:, :0]
        parts = [run_group(g, rows, self.primitives) for g in self.groups]
        together = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        if (np.diff(self.order) == 1).all():
            return together  # in order as they are: no copy
        return together[:, torch.as_tensor(self.order, device=rows.device)]

    def apply(self, patches: np.ndarray) -> np.ndarray:
        """Units (n, U) of patches (n, F), in float64."""
        rows = patches.astype(np.float64, copy=False) @ self.weight.T + self.bias
        return self.heads(torch.from_numpy(rows)).numpy()


def compile_bank(
    programs: Sequence[Node], index: Mapping[TapKey, int], primitives: Mapping[str, Primitive]
) -> CompiledBank:
    """Compile the programs of one bank; `index` numbers all F taps that they may read.

    Raises KeyError for a tap without column.
    """
    split = [_split(p, primitives) for p in programs]
    rows, groups = grouped([hoisted for hoisted, _ in split])
    sums, places = (s for _, s in split if s is not None), _Columns(index)
    weight, bias = np.zeros((len(rows), len(index))), np.array([row.bias for row in rows])
    for number, row in enumerate(rows):
        if row == SUM_ROW:
            whole = next(sums)
            weight[number, [places[t] for t in whole.args]] = whole["weights"]
            bias[number] = whole["bias"]
        else:
            weight[number, [index[key] for key in row.weights]] = list(row.weights.values())
    return CompiledBank(weight, bias, tuple(_compiled(g, primitives) for g in groups), primitives)


def run_group(group: CompiledGroup, rows: Tensor, primitives: Mapping[str, Primitive]) -> Tensor:
    """The units (N, len(group.units), …) of one group from rows (N, R, …)."""

    def read(*key: Any) -> Tensor:
        wanted = group.rows[key]
        if len(wanted) == rows.shape[1] and (wanted == np.arange(len(wanted))).all():
            return rows  # all rows in order: no copy
        return rows[:, torch.as_tensor(wanted, device=rows.device)]

    value = evaluate(group.skeleton, TorchAlgebra(read), primitives)
    shape = (rows.shape[0], len(group.units), *rows.shape[2:])
    return torch.as_tensor(value, dtype=rows.dtype, device=rows.device).expand(shape)


def _split(program: Node, primitives: Mapping[str, Primitive]) -> tuple[Hoisted, Node | None]:
    """A program hoisted, and the sum of taps that is its only row: `SUM` stands there for it.

    Most programs are a head over one sum. To read it term by term would take most of the time.
    """
    inner = program if program.op == "linear" or len(program.args) != 1 else program.args[0]
    if inner.op == "linear" and all(a.op == "tap" for a in inner.args):
        short = SUM if inner is program else Node(program.op, (SUM,), program.params)
        found = hoist(short, primitives)
        if found.rows == (SUM_ROW,) and _takes_fields(short, primitives):
            return found, inner
    return _complete(hoist(program, primitives), primitives), None


def _takes_fields(program: Node, primitives: Mapping[str, Primitive]) -> bool:
    """Whether a sum may stand in the place of a tap: `shift` and `conv` take no sums."""
    return Sort.ATOM not in argument_sorts(program, primitives[program.op])


class _Columns(dict[Node, int]):
    """The columns of taps, by the taps themselves, which programs share: found once for all."""

    def __init__(self, index: Mapping[TapKey, int]) -> None:
        self.index = index
        super().__init__()

    def __missing__(self, leaf: Node) -> int:
        bank, channel, dy, dx = (value for _, value in leaf.params)
        self[leaf] = column = self.index[bank, channel, dy, dx]  # type: ignore[index]
        return column


def _complete(hoisted: Hoisted, primitives: Mapping[str, Primitive]) -> Hoisted:
    """Every tap that the skeleton still reads as an atom gets a row of its own, at the end."""
    raw = [key for key in _reads(hoisted.skeleton, primitives) if key[0] != ROWS]
    return Hoisted(hoisted.skeleton, (*hoisted.rows, *(Affine({key: 1.0}) for key in raw)))


def _compiled(group: Group, primitives: Mapping[str, Primitive]) -> CompiledGroup:
    """Slot i is a unit's row i; raw taps follow, in the order in which `_complete` put them."""
    reads = _reads(group.skeleton, primitives)
    slots = sorted(key for key in reads if key[0] == ROWS)
    rows = np.array(group.rows, dtype=np.int64).reshape(len(group.units), -1)
    keys = [*slots, *(key for key in reads if key[0] != ROWS)]
    table = {key: rows[:, place] for place, key in enumerate(keys)}
    return CompiledGroup(group.skeleton, np.array(group.units), table)


def _reads(skeleton: Node, primitives: Mapping[str, Primitive]) -> list[TapKey]:
    """What evaluating the skeleton reads, in order of first use."""
    tracer = _Tracer()
    evaluate(skeleton, tracer, primitives)
    return list(tracer.seen)


class _Tracer(Algebra):
    """Every value is nothing: only what is read counts."""

    name = "tracer"

    def __init__(self) -> None:
        self.seen: dict[TapKey, None] = {}
        super().__init__(lambda *key: self.seen.setdefault(key))

    def const(self, value: float) -> None: ...

    def add(self, a: None, b: None) -> None: ...

    def mul(self, a: None, b: None) -> None: ...

    def max(self, a: None, b: None) -> None: ...

    def min(self, a: None, b: None) -> None: ...

    def select(self, condition: None, positive: None, otherwise: None) -> None: ...

    def linear(self, weights: Sequence[float], values: Sequence[None], bias: float) -> None: ...

    def call(self, function: Transcendental, x: None) -> None: ...
