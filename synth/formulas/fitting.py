"""The holes of a form found by least squares, from many starts at once.

The outermost weights are linear and solved for inside (variable projection, Golub and Pereyra
1973); Levenberg and Marquardt's method moves the holes, with Kaufman's (1975) Jacobian.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from grammars.grammar import Grammar
from grammars.program import Node
from synth.formulas.forms import Form, values_of
from synth.formulas.samples import Samples

DAMPING = (1e-2, 0.2, 5.0, 1e8)  # at first, after a success, after a failure, and at most
SETTLED = 1e-4  # of what is left: steps that save no more are the last, if none saves more
DIFFERENCE = 1e-6  # for slopes, of a hole's size and at least of one
RIDGE = 1e-10  # of a formula's own square: two that are alike share their weight
TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Problem:
    """A form with n samples of what it reads (n,), by tap, and of the values (n,) that are `wanted`
    of it; `target` (n,) is these with mean zero and size one, so that what a fit leaves is a share
    of their variance."""

    form: Form
    inputs: Mapping[Node, Tensor]
    wanted: Tensor
    target: Tensor
    grammar: Grammar

    @staticmethod
    def of(form: Form, samples: Samples) -> "Problem":
        inputs = dict(zip(samples.taps, samples.inputs, strict=True))
        target = samples.target - samples.target.mean()
        target = target / target.norm().clamp_min(TINY)
        return Problem(form, inputs, samples.target, target, samples.grammar)

    def values(self, holes: Tensor) -> Tensor:
        """(B, K, n) the formulas for fillings (B, p) of their holes, each with mean zero."""
        found = values_of(self.form.terms, holes, self.inputs, self.grammar)
        return found - found.mean(2, keepdim=True)

    def left(self, holes: Tensor) -> Tensor:
        """(B,) the share of the target's variance that fillings (B, p) leave."""
        return _solved(self, self.values(holes))[1].square().sum(1)


@dataclass(frozen=True, eq=False)
class Step:
    """What fillings (B, p) leave (B,), and what the next step is made from."""

    left: Tensor
    hessian: Tensor
    slope: Tensor


def fitted(problem: Problem, holes: Tensor, free: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Fillings (B, p) after so many steps of those holes that are `free` (B, p), and what is left
    (B,) of the target's variance."""
    here = _step(problem, holes, free)
    damping = torch.full_like(here.left, DAMPING[0])
    for _ in range(steps if free.any() else 0):
        tried = holes + _move(here, free, damping)
        there = _step(problem, tried, free)
        better = there.left < here.left
        settled = better & (there.left > (1 - SETTLED) * here.left)
        holes = torch.where(better[:, None], tried, holes)
        pairs = zip(vars(there).values(), vars(here).values(), strict=True)
        here = Step(*(torch.where(better.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in pairs))
        damping = (damping * torch.where(better, *DAMPING[1:3])).clamp_max(DAMPING[3])
        if settled.all():
            break
    return holes, here.left


def curvature(problem: Problem, holes: Tensor, free: Tensor) -> Tensor:
    """(p, p) how what is left bends about a filling (p,), by the holes that are free (p,)."""
    return _step(problem, holes[None], free[None]).hessian[0]


def _step(problem: Problem, holes: Tensor, free: Tensor) -> Step:
    """What fillings leave, and its slopes by the holes that are free."""
    values = problem.values(holes)
    gains, rest, inverse = _solved(problem, values)
    fillings, places = free.nonzero(as_tuple=True)
    size = DIFFERENCE * holes[fillings, places].abs().clamp_min(1.0)
    near = holes[fillings]
    near[torch.arange(len(near)), places] += size
    changes = (problem.values(near) - values[fillings]) / size[:, None, None]
    moves = values.new_zeros(*holes.shape, values.shape[2])
    moves[fillings, places] = (gains[fillings][:, None] @ changes)[:, 0]
    moves = moves - (moves @ values.mT) @ inverse @ values
    slope = (moves @ rest[:, :, None])[:, :, 0]
    return Step(rest.square().sum(1), moves @ moves.mT, slope)


def _solved(problem: Problem, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gains (B, K) of formulas (B, K, n), what they leave (B, n), and the inverse of their Gram
    matrix."""
    gram = values @ values.mT
    diagonal = gram.diagonal(dim1=1, dim2=2)
    ridge = torch.where(diagonal > TINY, RIDGE * diagonal, 1.0)
    inverse = torch.linalg.inv(gram + torch.diag_embed(ridge))
    gains = (inverse @ (values @ problem.target)[:, :, None])[:, :, 0]
    return gains, problem.target - torch.einsum("bk,bkn->bn", gains, values), inverse


def _move(here: Step, free: Tensor, damping: Tensor) -> Tensor:
    """(B, p) a damped step down of the holes that are free."""
    diagonal = here.hessian.diagonal(dim1=1, dim2=2)
    least = 1e-12 * diagonal.amax(1, keepdim=True) + TINY
    added = torch.where(free, damping[:, None] * diagonal + least, 1.0)
    return torch.linalg.solve(here.hessian + torch.diag_embed(added), here.slope)
