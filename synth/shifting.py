"""New biases for long programs on replaced sources, all programs of a layer at once.

To fit every constant of a program again costs the square of its terms for each patch; its bias
costs no more than running it, and makes up for the mean of what the replaced sources changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from grammars.compiled import compile_bank
from grammars.grammar import Grammar
from grammars.hoist import headed_sum
from grammars.program import Node, sum_of_taps, terms_of
from synth.assembly import source_index
from synth.evidence import LayerEvidence
from synth.metric import FLOOR
from synth.rounding import bias_step, grid_of

LONG = 128  # terms of a program from which only the bias is fitted again
ROWS_USED = 2048  # patches, evenly spread over those of fit, that biases are fitted on


def is_long(program: Node, grammar: Grammar) -> bool:
    """Whether a program is one sum of more than `LONG` taps, under a head or not."""
    if len(_sum(program).args) <= LONG:
        return False
    return headed_sum(program, grammar) is not None


@dataclass(frozen=True, eq=False)
class Shifts:
    """Fits the biases of a layer's long programs on `replaced` patches (n, width)."""

    evidence: LayerEvidence
    replaced: np.ndarray
    _shares: dict[int, np.ndarray] = field(init=False, repr=False, default_factory=dict)

    def biases(self, channels: Sequence[int], weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """(P,) biases for rows of `weight` (P, width) and `bias` (P,), row i for a program of unit
        channels[i]: those that lose least where the units' heads are open, on the rows' grids."""
        pre = self._sources @ weight.T.astype(np.float32) + bias
        shares = np.stack([self._share(c) for c in channels], axis=1)
        error = self._targets[:, list(channels)] - pre
        wanted = bias + (shares * error).sum(0) / shares.sum(0)
        steps = [bias_step(b, grid_of(row)) for b, row in zip(wanted.tolist(), weight, strict=True)]
        return np.array([round(b / s) * s for b, s in zip(wanted.tolist(), steps, strict=True)])

    @cached_property
    def _rows(self) -> np.ndarray:
        fit = self.evidence.fit
        return fit[:: -(-len(fit) // ROWS_USED)]

    @cached_property
    def _sources(self) -> np.ndarray:
        return self.replaced[self._rows]

    @cached_property
    def _targets(self) -> np.ndarray:
        return self.evidence.pre[self._rows]

    def _share(self, channel: int) -> np.ndarray:
        """What each of the rows counts for a unit."""
        if channel not in self._shares:
            gates = self.evidence.gates(channel, self._rows) / len(self._rows)
            self._shares[channel] = gates + FLOOR / len(self._rows)
        return self._shares[channel]


def shifted(
    evidence: LayerEvidence,
    replaced: np.ndarray,
    programs: Sequence[tuple[int, Node]],
    grammar: Grammar,
) -> list[Node]:
    """Long programs, each of (channel, program), with the biases that `Shifts` fits."""
    if not programs:
        return []
    channels, nodes = [c for c, _ in programs], [p for _, p in programs]
    bank = compile_bank([_sum(p) for p in nodes], source_index(evidence.scope), grammar)
    biases = Shifts(evidence, replaced).biases(channels, bank.weight, bank.bias)
    return [with_bias(p, b) for p, b in zip(nodes, biases.tolist(), strict=True)]


def with_bias(program: Node, bias: float) -> Node:
    """A long program with another bias."""
    inner = _sum(program)
    new = sum_of_taps([w for w, _ in terms_of(inner)[0]], inner.args, bias)
    return new if inner is program else Node(program.op, (new,), program.params)


def _sum(program: Node) -> Node:
    """What the head of a program is applied to; the program itself if it has none."""
    return program if program.op == "linear" or len(program.args) != 1 else program.args[0]
