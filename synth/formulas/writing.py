"""Fitted forms as programs: one number after the other on a dyadic grid, the others fitted again.

A hole that hardly matters is tried at none and at one first: what is not needed is not written.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from grammars.program import Node, linear, terms_of, walk
from synth.formulas.fitting import RIDGE, Problem, curvature, fitted
from synth.formulas.forms import values_of
from synth.metric import Metric
from synth.rounding import round_each

PRECISIONS = (1, 2, 3, 5, 8, 12)  # bits of a number behind its first
SIMPLE = (0.0, 1.0, -1.0)  # that are tried for every hole,
DEARER = 1.05  # and taken where no more than so many times as much is left
LOOKED_AT = 4  # holes for each of them at a time
AFTER = 5  # steps of the others after each rounding
NOTHING = 1e-14  # of the variance: as good as none
FLAT = 1e-9  # of the largest value: a range below is that of a constant


def written(problem: Problem, holes: Tensor) -> Iterator[Node]:
    """Programs of a form whose holes (p,) are fitted, from coarse numbers to fine ones."""
    simple, free = _simplified(problem, holes)
    for bits in PRECISIONS:
        program = _program(problem, _rounded(problem, simple, free.clone(), bits), bits)
        if program is not None:
            yield program


def rewritten(problem: Problem, program: Node) -> Node | None:
    """The program that a form was made of, with numbers of as many bits fitted to the problem."""
    bits = max(_length(v) for v in _numbers(program))
    free = torch.ones(problem.form.holes, dtype=torch.bool)
    start = torch.tensor(problem.form.starts, dtype=torch.float64)
    simple = torch.tensor([value in SIMPLE for value in problem.form.starts], dtype=torch.bool)
    holes, _ = _again(problem, start, free & ~simple)
    return _program(problem, _rounded(problem, holes, free & ~simple, bits), bits)


def _numbers(node: Node) -> Iterator[float]:
    """The weights and constants of a program; one, if it has no other."""
    yield 1.0
    for part in walk(node):
        if part.op in ("linear", "const"):
            terms, bias = terms_of(part)
            yield from (*(w for w, _ in terms), bias or 1.0)


def _length(value: float) -> int:
    """How many bits a dyadic number has behind its first."""
    mantissa, _ = math.frexp(value)
    whole = int(mantissa * 2**53)
    return 52 - ((whole & -whole).bit_length() - 1)


def _simplified(problem: Problem, holes: Tensor) -> tuple[Tensor, Tensor]:
    """The holes with simple numbers where they are as good, and which of them (p,) are free still.

    None comes first, then one; of several holes, where it does least harm.
    """
    free = torch.ones(len(holes), dtype=torch.bool)
    holes, left = _again(problem, holes, free)
    while free.any():
        pairs = _harmless(problem, holes, free)
        filled, cost = _tried(problem, holes, free, pairs)
        able = [row for row, c in enumerate(cost.tolist()) if c <= DEARER * left + NOTHING]
        if not able:
            break
        best = min(able, key=lambda row: (SIMPLE.index(pairs[row][1]), float(cost[row])))
        holes = filled[best]
        free[pairs[best][0]] = False
    return holes, free


def _harmless(problem: Problem, holes: Tensor, free: Tensor) -> list[tuple[int, float]]:
    """For each simple number the few free holes that it seems to do least harm in, with the others
    moved (optimal brain surgeon, Hassibi and Stork 1993)."""
    places = free.nonzero()[:, 0]
    bend = curvature(problem, holes, free)[places][:, places]
    steady = bend + RIDGE * (bend.trace() + 1.0) * torch.eye(len(places))
    room = torch.linalg.inv(steady).diagonal().clamp_min(NOTHING)
    count, pairs = min(LOOKED_AT, len(places)), []
    for value in SIMPLE:
        harm = (holes[places] - value) ** 2 / room
        pairs += [(int(places[i]), value) for i in harm.topk(count, largest=False).indices]
    return pairs


def _rounded(problem: Problem, holes: Tensor, free: Tensor, bits: int) -> Tensor:
    """All holes on grids of so many bits behind the first of each."""
    for place in free.nonzero()[:, 0].tolist():
        near = [(place, value) for value in _near(float(holes[place]), bits)]
        filled, cost = _tried(problem, holes, free, near)
        holes = filled[int(cost.argmin())]
        free[place] = False
    return holes


def _tried(
    problem: Problem, holes: Tensor, free: Tensor, pairs: list[tuple[int, float]]
) -> tuple[Tensor, Tensor]:
    """For each pair of a hole's place and a value for it the filling (p,) with the other free holes
    fitted again, and what it leaves."""
    filled, others = holes.repeat(len(pairs), 1), free.repeat(len(pairs), 1)
    for row, (place, value) in enumerate(pairs):
        filled[row, place], others[row, place] = value, False
    return fitted(problem, filled, others, AFTER)


def _again(problem: Problem, holes: Tensor, free: Tensor) -> tuple[Tensor, float]:
    found, left = fitted(problem, holes[None], free[None], AFTER)
    return found[0], float(left[0])


def _near(value: float, bits: int) -> list[float]:
    """The points on both sides of a number, on its grid."""
    if not value:
        return [0.0]
    step = 2.0 ** (math.floor(math.log2(abs(value))) - bits)
    return sorted({math.floor(value / step) * step, math.ceil(value / step) * step})


def _program(problem: Problem, holes: Tensor, bits: int) -> Node | None:
    """The weighted sum of the formulas, its weights rounded too; None where numbers that merge need
    more bits than there are."""
    values = values_of(problem.form.terms, holes[None], problem.inputs, problem.grammar)[0].numpy()
    varies = np.ptp(values, axis=1) > FLAT * np.abs(values).max(1)
    columns = np.vstack([values[varies], np.ones(values.shape[1])])
    metric = _metric(columns, problem.wanted.numpy())
    sizes = np.maximum(np.abs(metric.target), np.finfo(np.float32).tiny)
    sizes[-1] = max(sizes[-1], float(problem.wanted.std()))  # a small constant is no finer
    weights = round_each(metric, np.exp2(np.floor(np.log2(sizes)) - bits)).tolist()
    try:
        terms = problem.form.filled(holes.tolist())
        kept = [term for term, moves in zip(terms, varies, strict=True) if moves]
        return linear(zip(weights[:-1], kept, strict=True), weights[-1])
    except ValueError:
        return None


def _metric(columns: np.ndarray, wanted: np.ndarray) -> Metric:
    """Of the weights (K,) of `columns` (K, n), the mean square of what they leave."""
    gram = columns @ columns.T / columns.shape[1]
    gram[np.diag_indices_from(gram)] *= 1 + RIDGE
    return Metric(gram, np.linalg.solve(gram, columns @ wanted / columns.shape[1]))
