"""24 small networks that were trained on formulas: is the formula written back?

`make bench NAME=formulas` writes results/formulas.json; it exits 1 where a bar is missed. With
`--rivals` others get their turn as well, which takes an hour and writes
results/formulas_rivals.json; they are installed by `pip install -e '.[rivals]'`.

The whole network is one deep program over its inputs. Of the front that is found from the network's
own outputs, one program is taken by a rule that knows no truth: bits, and BITS more for what is
left to be e times larger. It is right if it is the formula on inputs 1.5 times as wide as it was
shown, once each of its numbers is put on the nearest multiple of 1/8 where that is within 1 %.
Rivals get the same samples and as many seconds as our search took; they are right with a small
error.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.networks.formulas import CASES, REACH, Case, inputs_of, trained  # noqa: E402
from benchmarks.regressors import BANK, Rival, rivals, values  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from grammars.coding import program_bits  # noqa: E402
from grammars.grammar import load_grammar  # noqa: E402
from grammars.names import Names  # noqa: E402
from grammars.parser import parse_program  # noqa: E402
from grammars.program import Node, linear, tap, terms_of  # noqa: E402
from grammars.text import format_program  # noqa: E402
from synth.batches import Inputs  # noqa: E402
from synth.deep.evidence import deep_evidence  # noqa: E402
from synth.deep.reach import Reach  # noqa: E402
from synth.engine import UnitEvidence  # noqa: E402
from synth.evidence import LayerEvidence, Probes  # noqa: E402
from synth.fronts import Candidate, error_of  # noqa: E402
from synth.network import read_network  # noqa: E402
from synth.schedule import SearchedUnit, search_unit  # noqa: E402
from synth.search import GrammarSpec, SearchSettings  # noqa: E402

TAGS = ("core", "formula")
ENGINES = ("linear", "template", "enumeration", "operon")
BUDGET = 2000
RIGHT = 17  # of 24 formulas
FIT, SELECT, JUDGED = 2000, 1000, 4000
WIDER = 1.5
BITS = 50.0  # that may be paid for what is left to be e times smaller
NOTHING = 1e-9  # of the variance: what is left below it is rounding
EXACT = 1e-9  # of the variance: as a formula is to be
SMALL = 1e-4  # and as a rival is
GRID, WITHIN = 8, 0.01


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--only", default="", help="a case by its name")
    options.add_argument("--rivals", action="store_true", help="others beside us")
    given = options.parse_args()
    cases = [c for c in CASES if given.only in ("", c.name)]
    report = Report("formulas_rivals" if given.rivals else "formulas", given.seed)
    here, absent = rivals(load_grammar(tags=TAGS)) if given.rivals else ({}, [])
    for name in absent:
        print(f"{name} is not installed and is left out: pip install -e '.[rivals]'")
    rows = (delayed(_row)(case, given.seed, given.rivals) for case in cases)
    report.rows += Parallel(n_jobs=given.jobs)(rows)  # type: ignore[arg-type]
    right = sum(row["right"] for row in report.rows)
    report.check("formulas recovered", right, f">= {RIGHT} of {len(CASES)}", right >= RIGHT)
    totals = {name: sum(row[name]["right"] for row in report.rows) for name in here}
    report.rows.append({"network": "all", "right": right, **totals})
    return report.finish()


def _row(case: Case, seed: int, beside: bool) -> dict[str, Any]:
    """One network: what we find, and what the rivals find in the same time."""
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        task = Task.of(case, seed)
        start = time.perf_counter()
        found = task.searched(seed)
        seconds = time.perf_counter() - start
        row = task.row(found) | {"seconds": round(seconds, 1)}
        others = rivals(task.unit.grammar)[0] if beside else {}
        return row | {n: task.judged(rival, seconds, seed) for n, rival in others.items()}


@dataclass(frozen=True, eq=False)
class Task:
    """A network's output as a unit over the network's inputs, the `truth` that it was trained on,
    and the inputs (JUDGED, n) that formulas are judged on with what is `wanted` there."""

    case: Case
    names: Names
    truth: Node
    unit: UnitEvidence
    wide: np.ndarray
    wanted: np.ndarray

    @staticmethod
    def of(case: Case, seed: int) -> "Task":
        grammar = load_grammar(tags=TAGS)
        names = Names({BANK: case.inputs}, reserved=grammar)
        truth = parse_program(case.formula, names, grammar)

        def teacher(inputs: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(values(truth, inputs.numpy(), grammar)).float()

        evidence = _evidence(trained(case, teacher, seed), case, seed)
        wide = inputs_of(case, JUDGED, seed=seed + 1, reach=WIDER * REACH).numpy()
        unit, wanted = UnitEvidence(evidence, 0, grammar), values(truth, wide, grammar)
        return Task(case, names, truth, unit, wide, wanted)

    @property
    def given(self) -> np.ndarray:
        """(n, inputs) what the network is shown."""
        return self.unit.layer.patches.astype(np.float64)

    @property
    def target(self) -> np.ndarray:
        """(n,) what it says."""
        return self.unit.layer.target[:, 0]

    def searched(self, seed: int) -> SearchedUnit:
        settings = SearchSettings(GrammarSpec(tags=TAGS), ENGINES)
        return search_unit(self.unit, settings.load(), budget=BUDGET, seed=seed, max_fvu=NOTHING)

    def row(self, found: SearchedUnit) -> dict[str, Any]:
        """The formula that is taken, beside the one that was planted."""
        grammar, scope = self.unit.grammar, self.unit.scope
        best = min(found.front, key=_score)
        program = _over(best.program, [tap(BANK, i) for i in range(self.case.inputs)])
        left = _left(values(_snapped(program), self.wide, grammar), self.wanted)
        return {
            "network": self.case.name,
            "formula": self.case.formula,
            "found": format_program(program, self.names, grammar),
            "right": bool(left < EXACT),
            "left_wider": left,
            "left_of_network": error_of(best),
            "formula_left_of_network": _left(values(self.truth, self.given, grammar), self.target),
            "bits": best.bits,
            "bits_formula": program_bits(_over(self.truth, scope.taps), scope, grammar),
            "engine": best.engine,
            "engine_seconds": {c.engine: round(c.seconds, 1) for c in found.costs},
            "stopped": {c.engine: c.reason for c in found.costs if c.reason},
        }

    def judged(self, rival: Rival, seconds: float, seed: int) -> dict[str, Any]:
        """What is right of a rival's formulas, the best of them on the wider inputs."""
        start = time.perf_counter()
        try:
            with np.errstate(all="ignore"):
                found = [
                    (_left(predict(self.wide), self.wanted), text)
                    for text, predict in rival(self.given[:FIT], self.target[:FIT], seconds, seed)
                ]
        except Exception as error:  # a library may fail in any way: that is a result too
            found = [(math.inf, f"{type(error).__name__}: {error}")]
        left, text = min(found, default=(math.inf, ""))
        took = round(time.perf_counter() - start, 1)
        return {"right": left < SMALL, "left_wider": left, "found": text[:300], "seconds": took}


def _evidence(module: torch.nn.Module, case: Case, seed: int) -> LayerEvidence:
    """Of the network's output as a function of its inputs."""
    inputs = inputs_of(case, FIT + SELECT, seed=seed + 2)
    network = read_network(module, inputs[:2])
    reach = Reach(network, network.layers[-1].name, network.layers[0].source)
    probes = Probes(Inputs([inputs[:FIT]]), Inputs([inputs[FIT:]]))
    return deep_evidence(reach, probes, seed=seed)


def _score(candidate: Candidate) -> float:
    return candidate.bits + BITS * math.log(max(error_of(candidate), NOTHING))


def _left(found: np.ndarray, wanted: np.ndarray) -> float:
    """The share of the variance that is left; infinite where a value is no number."""
    left = np.mean((found - wanted) ** 2) / wanted.var()
    return float(left) if np.isfinite(left) else math.inf


def _over(program: Node, taps: Sequence[Node]) -> Node:
    """A program over other inputs, by their channels."""
    if program.op == "tap":
        return taps[int(program["channel"])]  # type: ignore[arg-type]
    args = tuple(_over(arg, taps) for arg in program.args)
    return Node(program.op, args, program.params)


def _snapped(program: Node) -> Node:
    """A program with the numbers that are nearly multiples of 1/GRID put on them."""
    args = [_snapped(arg) for arg in program.args]
    if program.op in ("linear", "const"):
        pairs, bias = terms_of(program)
        weights = [_near(weight) for weight, _ in pairs]
        return linear(zip(weights, args, strict=True), _near(bias))
    return Node(program.op, tuple(args), program.params)


def _near(value: float) -> float:
    near = round(value * GRID) / GRID
    return near if abs(near - value) <= WITHIN * abs(value) else value


if __name__ == "__main__":
    sys.exit(main())
