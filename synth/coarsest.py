"""The coarsest programs of one unit for each number of taps, or why there are none.

The rows of `synth coarsest`: what `oracles.coefficients` answers about the unit over its envelope
and the run's ε, in words.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from grammars.coding import program_bits
from grammars.grammar import Grammar
from grammars.program import Node
from oracles.claims import Affine, Unknown
from oracles.coefficients import CoefficientSearch
from oracles.monotone import is_monotone
from oracles.questions import Coarsest, Found, Impossible
from synth.affine import unit_bank, unit_box
from synth.engine import weighted_taps, with_head
from synth.errors import InputError
from synth.evidence import Ranges
from synth.layers import Layer

SOLVERS = {"z3": "Z3", "highs": "HiGHS"}
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class UnitCoefficients:
    """The search of one unit's coefficients, and how its programs are written."""

    layer: Layer
    channel: int
    search: CoefficientSearch
    grammar: Grammar
    text: Callable[[Node], str]

    @classmethod
    def of(
        cls,
        ranges: Ranges,
        channel: int,
        epsilon: Fraction,
        grammar: Grammar,
        text: Callable[[Node], str],
    ) -> "UnitCoefficients":
        """Within ε over the envelope."""
        unit = unit_bank(ranges.layer, [channel])[0]
        search = CoefficientSearch(unit, unit_box(ranges, channel), epsilon)
        return cls(ranges.layer, channel, search, grammar, text)

    def rows(self, terms: int | None = None) -> Iterator[Row]:
        """A row for each number of taps up to `terms`; those that are too few have one together.

        By default up to where more taps give no coarser grid.
        """
        search, taps = self.search, len(self.search.taps)
        least, most = search.least_terms(), min(taps, terms or taps)
        if least > 0:
            yield self._row(search.coarsest(terms=min(least - 1, most)))
        limit, found = search.coarsest(), None
        for count in range(least, most + 1):
            answer = search.coarsest(terms=count, known=found)
            found = answer.found
            yield self._row(answer)
            if terms is None and limit.found and found and found.grid <= limit.found.grid:
                return

    def _row(self, answer: Coarsest) -> Row:
        found, coarser = answer.found, answer.coarser
        return {
            "terms": answer.terms,
            "verdict": "found" if found else _kind(coarser),
            **(self._found(found) if found else {}),
            "coarser" if found else "reason": self._words(coarser),
            "trust": coarser.trust if isinstance(coarser, Impossible) else None,
        }

    def _found(self, found: Found) -> Row:
        program = written(self.layer, self.channel, found.program)
        return {
            "grid": str(found.grid),
            "program": self.text(program),
            "bits": program_bits(program, self.layer.scope.of(self.channel), self.grammar),
            "bound": float(found.proof.bound),
            "points": found.points,
            "solver": found.solver,
        }

    def _words(self, coarser: Impossible | Unknown | None) -> str | None:
        """What is known of coarser grids, in a sentence."""
        match coarser:
            case None:
                return None
            case Unknown(reason=reason):
                return f"unknown: {reason}"
        epsilon = float(self.search.epsilon)
        which = f"{coarser.terms} of its {coarser.taps} taps"
        if coarser.grid is None:
            return (
                f"impossible: no program of {which}, whatever its numbers, lies within ε = "
                f"{epsilon:.4g}: the taps that it leaves out move the unit by more than 2ε"
            )
        return (
            f"impossible: no program of {which} on a grid of {coarser.grid} (or coarser) lies "
            f"within ε = {epsilon:.4g}, {_source(coarser)}"
        )


def check_unit(layer: Layer, channel: int, name: str) -> None:
    """Raises InputError where a unit's coefficients cannot be sought."""
    if not layer.affine:
        raise InputError(f"{name} is no affine unit: it stands for others that it is computed by.")
    head = unit_bank(layer, [channel])[0].head
    if not is_monotone(head):
        raise InputError(
            f"{name} has the head {head.op}, which falls somewhere, so that a point says nothing "
            "simple of its coefficients: choose a unit whose head never falls, as relu or tanh."
        )


def written(layer: Layer, channel: int, found: Affine) -> Node:
    """A program of coefficients over a unit's own columns, under the unit's head."""
    constants = np.append(found.weights, found.bias)
    return with_head(layer.heads[channel], weighted_taps(layer.scope.of(channel), constants))


def _source(answer: Impossible) -> str:
    """What the answer rests on."""
    if answer.solver is None:
        return "by exact arithmetic"
    name, count = SOLVERS[answer.solver], len(answer.points)
    return f"on the word of {name} about {count} points (trust = solver)"


def _kind(coarser: Impossible | Unknown | None) -> str:
    return "impossible" if isinstance(coarser, Impossible) else "unknown"
