"""Fronts: the candidates of one unit that no other beats in bits and error.

Engines propose; every candidate is evaluated here, by our own interpreter, on the patches of fit
and select, and bounded in closed form over the envelope, before it is believed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from grammars.coding import opaque_bits, program_bits
from grammars.compiled import CompiledBank, compile_bank
from grammars.program import Node, count_terms
from oracles.evidence import unexplained
from synth.affine import float_bounds
from synth.engine import UnitEvidence
from synth.evidence import FIT, SELECT

BLOCK = 2048  # patches at once: so few that what is made of them stays in the cache
SHORT = 16  # terms of a program that people read
SHORT_SHARE = 0.25  # and its share of the unit's own bits


@dataclass(frozen=True)
class Candidate:
    """A program for one unit with its price and its errors on the original sources.

    `bits` in the stream; `fvu_fit`, `fvu_select` fractions of variance; `worst` the largest error
    on probes; `bound` the closed form's float bound over the envelope, infinite where it has none.
    """

    program: Node
    bits: int
    fvu_fit: float
    fvu_select: float
    worst: float
    bound: float
    engine: str


def is_short(program: Node, bits: int, columns: int) -> bool:
    """Whether a program for a unit of `columns` weights is one that people read."""
    return count_terms(program) <= SHORT and bits <= SHORT_SHARE * opaque_bits(columns)


def judge(
    evidence: UnitEvidence, programs: Sequence[Node], engines: Sequence[str]
) -> list[Candidate]:
    """Evaluate and bound programs of one unit."""
    layer, channel, grammar = evidence.layer, evidence.channel, evidence.grammar
    bank = compile_bank(programs, evidence.scope.index, grammar)
    fit, select, worst = _errors(evidence, bank)
    variance = float(layer.ranges.variance[channel])
    rows = zip(
        programs,
        [program_bits(p, evidence.scope, grammar) for p in programs],
        unexplained(fit, variance).tolist(),
        unexplained(select, variance).tolist(),
        worst.tolist(),
        float_bounds(layer.ranges, [channel] * len(programs), bank, narrow=True).tolist(),
        engines,
        strict=True,
    )
    return [Candidate(*row) for row in rows]


def _errors(evidence: UnitEvidence, bank: CompiledBank) -> tuple[np.ndarray, ...]:
    """(C,) mean squared errors on fit and on select, and the largest error of all patches."""
    layer = evidence.layer
    role, target = layer.role, layer.target[:, evidence.channel]
    squares = {kind: np.zeros(bank.units) for kind in (FIT, SELECT)}
    worst = np.zeros(bank.units)
    for start in range(0, len(role), BLOCK):
        part = slice(start, start + BLOCK)
        error = bank.heads(_rows(evidence, bank, part)).numpy() - target[part, None]
        worst = np.maximum(worst, np.abs(error).max(0))
        for kind, total in squares.items():
            squares[kind] = np.vstack([total, error[role[part] == kind] ** 2]).sum(0)
    return squares[FIT] / len(layer.uniform), squares[SELECT] / len(layer.select), worst


def _rows(evidence: UnitEvidence, bank: CompiledBank, part: slice) -> torch.Tensor:
    """The affine rows (n, R), on some patches, of a bank that may read siblings, before and behind
    their heads."""
    layer, size = evidence.layer, len(evidence.scope.columns)
    own, after, before = np.split(bank.weight, [size, size + layer.layer.units], axis=1)
    columns = layer.layer.part(evidence.channel)
    rows = layer.wide[part, columns] @ own.T
    for weights, values in ((after, layer.target), (before, layer.pre)):
        if weights.any():
            rows += values[part] @ weights.T
    return torch.from_numpy(rows + bank.bias)


def front(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Those that no other beats in bits, FVU and bound at once; cheapest first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.bits, error_of(c), c.bound)):
        error, bound = error_of(candidate), candidate.bound
        if not any(error_of(k) <= error and k.bound <= bound for k in kept):
            kept.append(candidate)
    return tuple(kept)


def error_of(candidate: Candidate) -> float:
    """The error that fronts are made by: the larger FVU of fit and select."""
    return max(candidate.fvu_fit, candidate.fvu_select)


def figures(front: Sequence[Candidate]) -> np.ndarray:
    """The numbers (C, 5) of a front, which stand for its programs in a key: texts are long."""
    rows = [(c.bits, c.fvu_fit, c.fvu_select, c.worst, c.bound) for c in front]
    return np.array(rows, dtype=np.float64).reshape(-1, 5)
