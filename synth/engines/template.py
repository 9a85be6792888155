"""The template engine: shapes of formulas with holes, each fitted to the unit from many starts.

A template is one line, such as `_*tanh(S) + _*x` (`synth.formulas.templates`); users add their own
by `[search] templates`.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, permutations

import numpy as np
import torch
from torch import Tensor

from grammars.grammar import Grammar
from grammars.program import Node
from synth.engine import UnitEvidence
from synth.errors import InputError
from synth.formulas.fitting import Problem
from synth.formulas.forms import Form
from synth.formulas.refining import FITTED, fit_from, refitted, written_best
from synth.formulas.samples import Samples
from synth.formulas.templates import Template, TemplateError, parse_template

TEMPLATES = (
    "S*T",  # the product of two sums
    "S*sigmoid(T)",  # one gated by another
    "sigmoid(S*T)",
    "tanh(S)",
    "tanh(S) + tanh(T)",
    "relu(S)",
    "relu(S) + relu(T)",
    "abs(S)",
    "step(S)",
    "clip(S)",
    "max(S, T)",
    "min(S, T)",
    "square(S) + square(T)",
    "S*square(T)",
    "exp(-square(S))",
    "exp(-square(S) - square(T))",
    "exp(-square(S))*cos(T)",  # Gabor's
    "exp(S)*cos(T)",
    "cos(S)",
    "sqrt(square(S) + square(T))",
    "S*reciprocal(1.0 + square(T))",
    "x*cos(_*y + _)",
    "x*y + _*square(x)",
)
"""What is tried beside a user's own; those that a grammar has no function for are left out."""

CHOICES = 40  # of inputs for the letters of a template
STARTS = 8  # of a form, and
STEPS = 30  # of each fit
REFINED = 8  # forms whose numbers are rounded


class TemplateEngine:
    """Templates under no head but their own."""

    name = "template"
    settings = ("templates",)

    def __init__(self, templates: Sequence[str] = ()) -> None:
        self.templates = tuple(templates)

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Programs of the templates that leave least, from coarse numbers to fine ones."""
        known = _known(self.templates, evidence.grammar)
        return islice(proposals(Samples.of(evidence), known, seed), budget)

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        """The same formula with numbers for the replaced sources, of as many bits."""
        return refitted(program, Samples.over_all(evidence))

    @staticmethod
    def check(templates: Sequence[str], grammar: Grammar) -> None:
        """Raises one InputError for all of a user's templates that do not parse."""
        problems = []
        for text in templates:
            try:
                parse_template(text, grammar)
            except TemplateError as error:
                problems.append(f"search.templates: {error}")
        if problems:
            raise InputError(*problems)


ENGINE = TemplateEngine


def proposals(samples: Samples, templates: Sequence[Template], seed: int) -> Iterator[Node]:
    """Programs of the most promising templates over some samples."""
    few, fits = samples.spread(FITTED), []
    for form in (form for template in templates for form in _forms(template, samples)):
        problem = Problem.of(form, few)
        fits.append(fit_from(problem, _starts(problem, samples, seed), STEPS))
    return written_best(fits, REFINED)


def _known(own: Sequence[str], grammar: Grammar) -> list[Template]:
    """The user's templates, and those of ours that the grammar has the functions for."""
    found = [parse_template(text, grammar) for text in own]
    for text in TEMPLATES:
        try:
            found.append(parse_template(text, grammar))
        except TemplateError:
            continue
    return found


def _forms(template: Template, samples: Samples) -> Iterator[Form]:
    """The template over each choice of inputs for its letters, those that tell most first."""
    order = samples.ranked()
    letters = len(template.inputs)
    for chosen in islice(permutations(order, letters), CHOICES if letters else 1):
        yield template.form([samples.taps[i] for i in chosen], samples.taps)


def _starts(problem: Problem, samples: Samples, seed: int) -> Tensor:
    """Random weights of the inputs' own sizes; the template's own numbers for the rest."""
    own = torch.tensor(problem.form.starts, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(STARTS, len(own), generator=generator, dtype=torch.float64)
    size = float(np.sqrt(len(samples.taps))) * samples.inputs.std(1).mean().clamp_min(1e-6)
    return own + noise * torch.where(own == 0, 1 / size, 1.0)
