"""The engine of Operon (Burlacu et al. 2020): genetic programming with fitted constants."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from itertools import islice
from typing import Any

from grammars.program import Node
from synth.engine import UnitEvidence
from synth.formulas.library import library_bytes
from synth.formulas.refining import refitted
from synth.formulas.samples import Samples
from synth.regression.apart import Apart
from synth.regression.expressions import sayable
from synth.regression.search import proposals

EVALUATED = 75  # trees for each candidate of the budget
MEMORY_MIB = 1024  # that its process may take: it takes about 300
SYMBOLS = {
    **{n: n for n in ("add", "sub", "mul", "div", "aq", "abs", "square", "sqrt", "exp", "cos")},
    **{"sin": "sin", "tanh": "tanh", "min": "fmin", "max": "fmax"},
}
"""What Operon calls our operations."""


class OperonEngine:
    """What Operon finds over the strongest inputs and formulas, its numbers fitted again.

    The budget is in trees that are evaluated: limits in seconds would not give the same again.
    """

    name = "operon"
    tier = 2

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Programs of the front that Operon finds. Raises EngineFailed where its process ends."""
        options = options_of(sayable(evidence.grammar), budget, seed)
        apart = Apart("synth.regression.operon_child", memory_mib=MEMORY_MIB)
        return islice(proposals(Samples.of(evidence), apart, options, seed), budget)

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        """The same formula with numbers for the replaced sources, of as many bits."""
        return refitted(program, Samples.over_all(evidence))

    @staticmethod
    def memory() -> float:
        """Bytes of the formulas that are looked at first, and the limit of the process."""
        return library_bytes() + MEMORY_MIB * 2**20

    @staticmethod
    def missing() -> str | None:
        """What is to be installed, if Operon is not."""
        if find_spec("pyoperon") is None:
            return "it needs pyoperon, which has wheels for Linux and macOS: pip install pyoperon"
        return None


ENGINE = OperonEngine


def options_of(able: frozenset[str], budget: int, seed: int) -> Mapping[str, Any]:
    """Keywords of Operon's SymbolicRegressor."""
    symbols = [symbol for name, symbol in SYMBOLS.items() if name in able]
    return {
        "allowed_symbols": ",".join([*symbols, "constant", "variable"]),
        "objectives": ["r2", "length"],  # a front of both, by NSGA-II
        "optimizer_iterations": 5,  # 0, its default, would fit no constant
        "max_length": 25,
        "max_evaluations": EVALUATED * budget,
        "population_size": 500,
        "random_state": seed,
        "n_threads": 1,
    }
