"""From sums of formulas to programs: holes put in, fitted from several starts, and written."""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from grammars.program import Node, terms_of
from synth.formulas.fitting import Problem, fitted
from synth.formulas.forms import Form, loosened
from synth.formulas.samples import Samples
from synth.formulas.writing import rewritten, written

FITTED = 512  # samples that holes are fitted on
STARTS = 6  # of each form: its own numbers, and some about them,
ABOUT = 1.0  # so far away, in their own sizes and at least one
STEPS = 25  # of each fit
PER_HOLE = 12  # bits that a hole costs, about
LEAST = 1e-10  # of the variance: less is as good as nothing
WORTH = 250.0  # bits that may be paid for what is left to be e times smaller


def programs_of(
    sums: Iterable[Sequence[Node]], samples: Samples, *, count: int, seed: int
) -> Iterator[Node]:
    """Programs of the most promising of some sums, with their numbers fitted and rounded."""
    few = samples.spread(FITTED)
    rated = []
    for terms in sums:
        problem = Problem.of(loosened(terms, samples.grammar), few)
        holes, left = best_fit(problem, seed)
        rated.append((price_of(problem.form, left), len(rated), problem, holes))
    for *_, problem, holes in sorted(rated, key=lambda row: row[:2])[:count]:
        yield from written(problem, holes)


def best_fit(problem: Problem, seed: int) -> tuple[Tensor, float]:
    """The best filling (p,) that several starts lead to, and what it leaves."""
    form = problem.form
    starts = _starts(form, seed)
    holes, left = fitted(problem, starts, torch.ones_like(starts, dtype=torch.bool), STEPS)
    best = int(left.argmin())
    return holes[best], float(left[best])


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


def price_of(form: Form, left: float) -> float:
    """About the bits of a form, and of what it leaves of the variance: the less the better."""
    return PER_HOLE * (form.holes + len(form.terms)) + WORTH * math.log(max(left, LEAST))
