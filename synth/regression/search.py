"""Regression for a unit: what it is asked over, and what comes of its answer.

Variables are the inputs that tell most and short formulas of the grammar that tell most: products
and thresholds are found sooner where they are given. The answers are shapes: their numbers are
fitted again, in double precision, and rounded as those of our own formulas.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grammars.program import Node, terms_of
from synth.formulas.forms import values_of
from synth.formulas.library import SAMPLES, Library
from synth.formulas.refining import programs_of
from synth.formulas.samples import Samples
from synth.regression.apart import Apart
from synth.regression.expressions import program_of

ROWS = 1000  # samples that a regression sees
LOOKED_AT = 20_000  # formulas among which some are chosen,
FEATURES = 6  # so many
REFINED = 8  # answers whose numbers are fitted and rounded


@dataclass(frozen=True, eq=False)
class Question:
    """Variables with their values (n, F) float64, and a target (n,) of mean zero and size one."""

    variables: tuple[Node, ...]
    inputs: np.ndarray
    target: np.ndarray

    @staticmethod
    def of(samples: Samples) -> "Question":
        few = samples.spread(ROWS)
        formulas = _features(samples)
        values = [few.inputs, *(_values(f, few)[None] for f in formulas)]
        target = few.target - few.target.mean()
        target = target / target.std(correction=0).clamp_min(1e-300)
        return Question((*few.taps, *formulas), torch.cat(values).T.numpy(), target.numpy())


def proposals(
    samples: Samples, apart: Apart, options: Mapping[str, Any], seed: int
) -> Iterator[Node]:
    """Programs of what a regression in a process of its own answers. Raises EngineFailed."""
    if not samples.variance:
        return
    question = Question.of(samples)
    answers = apart.fit(options, question.inputs, question.target)
    found = (program_of(answer, question.variables) for answer in answers)
    sums = {tuple(atom for _, atom in terms_of(p)[0]): None for p in found if p is not None}
    yield from programs_of((s for s in sums if s), samples, count=REFINED, seed=seed)


def _features(samples: Samples) -> list[Node]:
    """The formulas, other than inputs, that are most like the target: the cheapest of likes."""
    library = Library(samples.spread(SAMPLES), LOOKED_AT)
    ranked = library.best.ranked
    longer = ranked.at((ranked.operation >= 0).nonzero()[:, 0]).standard.distinct
    return library.programs(longer.at(torch.arange(min(FEATURES, len(longer)))))


def _values(program: Node, samples: Samples) -> Tensor:
    """(n,) a formula on some samples."""
    inputs = dict(zip(samples.taps, samples.inputs, strict=True))
    nothing = torch.zeros(1, 0, dtype=torch.float64)
    return values_of((program,), nothing, inputs, samples.grammar)[0, 0]
