"""The engine of PySR (Cranmer 2023): regression by evolution, in Julia."""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from grammars.program import Node
from synth.engine import UnitEvidence
from synth.formulas.library import library_bytes
from synth.formulas.refining import refitted
from synth.formulas.samples import Samples
from synth.regression.apart import Apart
from synth.regression.expressions import sayable
from synth.regression.pysr_child import BINARY, OPERATORS
from synth.regression.search import proposals

EVALUATED = 500  # trees for each candidate of the budget
SECONDS = 600.0  # Julia compiles first
MEMORY_MIB = 2048  # that Julia is taken to hold: neither measured nor limited
JULIA = ("PYTHON_JULIAPKG_EXE", "PYTHON_JULIACALL_EXE")  # variables that name it
OWN = "julia_env/pyjuliapkg/install/bin/julia"  # where juliapkg puts its own, below sys.prefix


class PySREngine:
    """What PySR finds over the strongest inputs and formulas, its numbers fitted again.

    It is deterministic by its own word, and serial for that.
    """

    name = "pysr"
    tier = 2

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Programs of the front that PySR finds. Raises EngineFailed where its process ends."""
        options = options_of(sayable(evidence.grammar), budget, seed)
        apart = Apart("synth.regression.pysr_child", SECONDS, memory_mib=0)
        return islice(proposals(Samples.of(evidence), apart, options, seed), budget)

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        """The same formula with numbers for the replaced sources, of as many bits."""
        return refitted(program, Samples.over_all(evidence))

    @staticmethod
    def memory() -> float:
        """Bytes of the formulas that are looked at first, and of Julia."""
        return library_bytes() + MEMORY_MIB * 2**20

    @staticmethod
    def missing() -> str | None:
        """What is to be installed before PySR can be used; pysr itself is not imported, for its
        import fetches Julia where it can."""
        if find_spec("pysr") is None:
            return "it needs pysr and Julia: pip install pysr, and Julia from julialang.org"
        if not _has_julia():
            return (
                "it needs Julia, which is not found: install it from julialang.org, or set "
                f"{JULIA[0]} to its path"
            )
        return None


ENGINE = PySREngine


def options_of(able: frozenset[str], budget: int, seed: int) -> Mapping[str, Any]:
    """Keywords of PySRRegressor."""
    words = {name: word for name, word in OPERATORS.items() if name in able}
    return {
        "operators": {
            1: [word for name, word in words.items() if name not in BINARY],
            2: [word for name, word in words.items() if name in BINARY],
        },
        "max_evals": EVALUATED * budget,
        "niterations": 10_000,  # the evaluations end it
        "maxsize": 25,
        "random_state": seed,
        "deterministic": True,
        "parallelism": "serial",
        "temp_equation_file": True,
        "progress": False,
        "verbosity": 0,
    }


def _has_julia() -> bool:
    named = any(os.environ.get(name) for name in JULIA)
    return named or shutil.which("julia") is not None or (Path(sys.prefix) / OWN).exists()
