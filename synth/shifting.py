"""New biases for long programs on replaced sources, all programs of a layer at once.

To fit every constant of a program again costs the square of its terms for each patch; its bias
costs no more than running it, and makes up for the mean of what the replaced sources changed.
"""

from collections.abc import Sequence

import numpy as np

from grammars.compiled import compile_bank
from grammars.grammar import Grammar
from grammars.hoist import ROWS, hoist
from grammars.program import Node, sum_of_taps, tap, terms_of
from synth.assembly import source_index
from synth.evidence import LayerEvidence
from synth.metric import FLOOR
from synth.rounding import bias_step, grid_of

LONG = 128  # terms of a program from which only the bias is fitted again
ROWS_USED = 2048  # patches, evenly spread over those of fit, that biases are fitted on
SLOT = tap(ROWS, 0)


def is_long(program: Node, grammar: Grammar) -> bool:
    """Whether a program is one affine row of more than `LONG` terms, under a head or not."""
    inner = _sum(program)
    if inner.op != "linear" or len(inner.args) <= LONG:
        return False
    found = hoist(program, grammar)
    return len(found.rows) == 1 and found.skeleton in (
        SLOT,
        Node(program.op, (SLOT,), program.params),
    )


def shifted(
    evidence: LayerEvidence,
    replaced: np.ndarray,
    programs: Sequence[tuple[int, Node]],
    grammar: Grammar,
) -> list[Node]:
    """Long programs, each of (channel, program), with the biases that lose least where the units'
    heads are open, on `replaced` patches (n, width)."""
    if not programs:
        return []
    rows = evidence.fit[:: -(-len(evidence.fit) // ROWS_USED)]
    channels = [c for c, _ in programs]
    bank = compile_bank([_sum(p) for _, p in programs], source_index(evidence.scope), grammar)
    pre = replaced[rows] @ bank.weight.T.astype(np.float32) + bank.bias
    gates = np.stack([evidence.gates(c, rows) for c in channels], axis=1) / len(rows)
    weights = gates + FLOOR / len(rows)
    error = evidence.pre[rows][:, channels] - pre
    shifts = (weights * error).sum(0) / weights.sum(0)
    return [_moved(p, float(s)) for (_, p), s in zip(programs, shifts, strict=True)]


def _sum(program: Node) -> Node:
    """What the head of a program is applied to; the program itself if it has none."""
    return program if program.op == "linear" or len(program.args) != 1 else program.args[0]


def _moved(program: Node, shift: float) -> Node:
    """The program with a bias near bias + shift, on the grid of its constants."""
    inner = _sum(program)
    terms, bias = terms_of(inner)
    weights = [w for w, _ in terms]
    step = bias_step(bias + shift, grid_of(weights))
    new = sum_of_taps(weights, inner.args, round((bias + shift) / step) * step)
    return new if inner is program else Node(program.op, (new,), program.params)
