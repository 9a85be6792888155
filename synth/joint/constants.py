"""What may move in a program: the weights and the bias of its one sum, under a head or not."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grammars.evaluation import evaluate
from grammars.grammar import Grammar
from grammars.hoist import ROWS, hoist
from grammars.interpreters.affine import TapKey
from grammars.interpreters.torch import TorchAlgebra
from grammars.program import Node, linear, tap, terms_of
from grammars.siblings import references
from synth.assembly import LayerChoice, Status, source_index
from synth.rounding import bias_step, grid_of

SLOT = tap(ROWS, 0)
WRITTEN = (Status.PROGRAM, Status.ROUNDED)


@dataclass(frozen=True, eq=False)
class Constants:
    """The constants of the sum in the program of unit `channel`.

    `values` (A+1,) are the weights of its `atoms` and its bias, on grids of `steps` (A+1,); an atom
    is a sum of the patch columns `columns` (m,), by column i of `mix` (m, A).
    """

    channel: int
    program: Node
    atoms: tuple[Node, ...]
    columns: np.ndarray
    mix: np.ndarray
    values: np.ndarray
    steps: np.ndarray

    def inputs(self, patches: Tensor) -> Tensor:
        """The atoms, and a one, (n, A+1) float64 on patches (n, width)."""
        atoms = patches[:, torch.from_numpy(self.columns)].double() @ torch.from_numpy(self.mix)
        return torch.cat([atoms, atoms.new_ones(len(atoms), 1)], 1)

    def units(self, pre: Tensor, grammar: Grammar) -> Tensor:
        """The program's values (n,) from those of its sum."""
        if self.program.op == "linear":
            return pre
        headed = Node(self.program.op, (SLOT,), self.program.params)
        return torch.as_tensor(evaluate(headed, TorchAlgebra(lambda *_: pre), grammar))

    def program_of(self, values: np.ndarray) -> Node:
        """The program with other constants; an atom of weight zero is left out."""
        inner = linear(zip(values[:-1].tolist(), self.atoms, strict=True), float(values[-1]))
        if self.program.op == "linear":
            return inner
        return Node(self.program.op, (inner,), self.program.params)


def constants_of(choice: LayerChoice, grammar: Grammar) -> list[Constants]:
    """Those of a layer's units that may move.

    Members of a family, units that refer to others and those that are referred to stay: more than
    one program hangs on their constants. So do programs of another form than a sum of affine atoms
    under a head of one argument.
    """
    bound = {channel for family in choice.families for channel in family}
    programs = {u.channel: u.program for u in choice.units if u.program is not None}
    for channel, program in programs.items():
        if read := references(program, choice.layer.name):
            bound |= {channel, *read}
    free = [u.channel for u in choice.units if u.status in WRITTEN and u.channel not in bound]
    index = source_index(choice.scope)
    found = (_constants(c, programs[c], index, grammar) for c in free if c in programs)
    return [one for one in found if one is not None]


def _constants(
    channel: int, program: Node, index: Mapping[TapKey, int], grammar: Grammar
) -> Constants | None:
    inner = program.args[0] if program.op != "linear" and len(program.args) == 1 else program
    if inner.op != "linear":
        return None
    terms, bias = terms_of(inner)
    weights, atoms = [w for w, _ in terms], tuple(a for _, a in terms)
    rows = [_row(atom, index, grammar) for atom in atoms]
    columns = np.unique([column for row in rows if row is not None for column in row])
    mix = np.zeros((len(columns), len(atoms)))
    for i, row in enumerate(rows):
        if row is None:
            return None
        mix[np.searchsorted(columns, list(row)), i] = list(row.values())
    step = grid_of(weights)
    fine = min(bias_step(bias, step), grid_of([bias]) if bias else step)
    steps = np.append(np.full(len(weights), step), fine)
    return Constants(channel, program, atoms, columns, mix, np.append(weights, bias), steps)


def _row(atom: Node, index: Mapping[TapKey, int], grammar: Grammar) -> Mapping[int, float] | None:
    """The weights of an atom by column; None where it bends."""
    found = hoist(atom, grammar, index)
    if found.skeleton != SLOT:
        return None
    return {index[key]: weight for key, weight in found.rows[0].weights.items()}
