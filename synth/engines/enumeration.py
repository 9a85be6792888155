"""The enumeration engine: short formulas of the grammar's functions, with their numbers fitted.

All formulas are tried from cheap to dear (`synth.formulas.library`), sums of a few are built from
those that tell most, and the numbers in the best are fitted and rounded.
"""

from collections.abc import Iterable
from itertools import islice

from grammars.program import Node
from synth.engine import UnitEvidence
from synth.formulas.library import SAMPLES, Library, library_bytes
from synth.formulas.refining import programs_of, refitted
from synth.formulas.samples import Samples
from synth.formulas.sums import sums_bytes, sums_of

EVALUATED = 500  # formulas for each candidate of the budget
REFINED = 8  # sums whose numbers are fitted and rounded


class EnumerationEngine:
    """Sums of formulas that enumeration finds."""

    name = "enumeration"

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Formulas from coarse numbers to fine ones, the most promising first."""
        return islice(proposals(Samples.of(evidence), budget, seed), budget)

    @staticmethod
    def memory() -> float:
        """Bytes of a full library, and of the sums of its formulas."""
        return library_bytes() + sums_bytes()

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        """The same formulas with numbers for the replaced sources, of as many bits."""
        return refitted(program, Samples.over_all(evidence))


ENGINE = EnumerationEngine


def proposals(samples: Samples, budget: int, seed: int) -> Iterable[Node]:
    """What enumeration proposes for some samples."""
    library = Library(samples.spread(SAMPLES), EVALUATED * budget)
    sums = [s.terms for s in sums_of(library)]
    return programs_of(sums, samples, count=REFINED, seed=seed)
