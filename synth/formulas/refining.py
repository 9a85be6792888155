"""From sums of formulas to programs: holes put in, fitted from several starts, and written."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from grammars.program import Node, terms_of, walk
from synth.formulas.fitting import Problem, fitted
from synth.formulas.forms import HOLED, Form, loosened
from synth.formulas.samples import Samples
from synth.formulas.turns import by_turns
from synth.formulas.writing import rewritten, written

FITTED = 512  # samples that holes are fitted on
STARTS = 6  # of each form: its own numbers, and some about them,
ABOUT = 1.0  # so far away, in their own sizes and at least one
STEPS = 25  # of each fit
PER_NODE, PER_HOLE = 6, 12  # bits that an operation, an input or a number costs, about
NEEDED = 1.1  # times as much is left without a hole that is needed
LEAST = 1e-10  # of the variance: less is as good as nothing


@dataclass(frozen=True, eq=False)
class Fit:
    """A problem's form with its best filling (p,), and what this leaves of the variance."""

    problem: Problem
    holes: Tensor
    left: float

    def price(self, worth: float) -> float:
        """About the bits of the form and of what it leaves: the less the better."""
        return self.bits + worth * math.log(max(self.left, LEAST))

    @cached_property
    def bits(self) -> float:
        """About the price of the form, without the holes that a zero fills as well."""
        form = self.problem.form
        operations = sum(node.op != HOLED for term in form.terms for node in walk(term))
        none = self.holes.expand(form.holes, -1) * (1 - torch.eye(form.holes))
        needed = int((self.problem.left(none) > NEEDED * self.left + LEAST).sum())
        return PER_NODE * operations + PER_HOLE * (needed + len(form.terms))


def programs_of(
    sums: Iterable[Sequence[Node]], samples: Samples, *, count: int, seed: int
) -> Iterator[Node]:
    """Programs of the most promising of some sums, with their numbers fitted and rounded."""
    few = samples.spread(FITTED)
    problems = (Problem.of(loosened(terms, samples.grammar), few) for terms in sums)
    yield from written_best([best_fit(problem, seed) for problem in problems], count)


def written_best(fits: Sequence[Fit], count: int) -> Iterator[Node]:
    """Programs of the most promising of some fits."""
    for fit in by_turns(fits, Fit.price)[:count]:
        yield from written(fit.problem, fit.holes)


def best_fit(problem: Problem, seed: int) -> Fit:
    """The best filling that several starts about the form's own numbers lead to."""
    return fit_from(problem, _starts(problem.form, seed), STEPS)


def fit_from(problem: Problem, starts: Tensor, steps: int) -> Fit:
    """The best filling that some starts (B, p) lead to."""
    holes, left = fitted(problem, starts, torch.ones_like(starts, dtype=torch.bool), steps)
    best = int(left.argmin())
    return Fit(problem, holes[best], float(left[best]))


def refitted(program: Node, samples: Samples) -> Node | None:
    """A formula with its numbers fitted again to some samples, on grids as fine."""
    terms = [atom for _, atom in terms_of(program)[0]]
    if not terms:
        return None
    problem = Problem.of(loosened(terms, samples.grammar), samples.spread(FITTED))
    return rewritten(problem, program)


def _starts(form: Form, seed: int) -> Tensor:
    own = torch.tensor(form.starts, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(STARTS - 1, form.holes, generator=generator, dtype=torch.float64)
    return torch.cat([own[None], own + ABOUT * own.abs().clamp_min(1.0) * noise])
