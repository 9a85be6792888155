"""24 small networks that were trained on formulas: is the formula written back?

`make bench NAME=formulas` writes results/formulas.json; it exits 1 where a bar is missed. For the
rivals beside us: `pip install -e '.[rivals]'`.

The whole network is one deep program over its inputs. Of the front that is found from the network's
own outputs, one program is taken by a rule that knows no truth: bits, and BITS more for what is
left to be e times larger. It is right if it is the formula on inputs 1.5 times as wide as it was
shown, once each of its numbers is put on the nearest multiple of 1/8 where that is within 1 %.
Rivals get the same samples and as many seconds as we took; they are right with a small error.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.networks.formulas import CASES, REACH, Case, inputs_of, trained  # noqa: E402
from benchmarks.regressors import BANK, rivals, values  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from grammars.coding import program_bits  # noqa: E402
from grammars.grammar import load_grammar  # noqa: E402
from grammars.names import Names  # noqa: E402
from grammars.program import Node, linear, tap, terms_of  # noqa: E402
from grammars.text import format_program, parse_program  # noqa: E402
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
    given = options.parse_args()
    cases = [c for c in CASES if given.only in ("", c.name)]
    report = Report("formulas", given.seed)
    here, absent = rivals(load_grammar(tags=TAGS))
    for name in absent:
        print(f"{name} is not installed and is left out: pip install -e '.[rivals]'")
    report.rows += Parallel(n_jobs=given.jobs)(delayed(_row)(c, given.seed) for c in cases)  # type: ignore[arg-type]
    right = sum(row["right"] for row in report.rows)
    report.check("formulas recovered", right, f">= {RIGHT} of {len(CASES)}", right >= RIGHT)
    totals = {name: sum(row[name]["right"] for row in report.rows) for name in here}
    report.rows.append({"network": "all", "right": right, **totals})
    return report.finish()


def _row(case: Case, seed: int) -> dict[str, Any]:
    """One network: what we find, and what the rivals find in the same time."""
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        return _case(case, seed)


def _case(case: Case, seed: int) -> dict[str, Any]:
    grammar = load_grammar(tags=TAGS)
    names = Names({BANK: case.inputs}, reserved=grammar)
    truth = parse_program(case.formula, names, grammar)
    module = trained(
        case, lambda x: torch.from_numpy(values(truth, x.numpy(), grammar)).float(), seed
    )
    start = time.perf_counter()
    evidence = _evidence(module, case, seed)
    unit = UnitEvidence(evidence, 0, grammar)
    found = _searched(unit, seed)
    seconds = time.perf_counter() - start
    best = min(found.front, key=_score)
    program = _over(best.program, [tap(BANK, i) for i in range(case.inputs)])
    snapped = _snapped(program)
    wide = inputs_of(case, JUDGED, seed=seed + 1, reach=WIDER * REACH).numpy()
    wanted = values(truth, wide, grammar)
    left = _left(values(snapped, wide, grammar), wanted)
    given = evidence.patches.astype(np.float64)
    noise = _left(values(truth, given, grammar), evidence.target[:, 0])
    row = {
        "network": case.name,
        "formula": case.formula,
        "found": format_program(program, names, grammar),
        "right": bool(left < EXACT),
        "left_wider": left,
        "left_of_network": error_of(best),
        "formula_left_of_network": noise,
        "bits": best.bits,
        "bits_formula": program_bits(_over(truth, unit.scope.taps), unit.scope, grammar),
        "engine": best.engine,
        "seconds": round(seconds, 1),
        "engine_seconds": {c.engine: round(c.seconds, 1) for c in found.costs},
        "stopped": {c.engine: c.reason for c in found.costs if c.reason},
    }
    target = evidence.target[:, 0]
    for name, rival in rivals(grammar)[0].items():
        row[name] = _rival(rival, given[:FIT], target[:FIT], seconds, seed, wide, wanted)
    return row


def _evidence(module: torch.nn.Module, case: Case, seed: int) -> LayerEvidence:
    """Of the network's output as a function of its inputs."""
    inputs = inputs_of(case, FIT + SELECT, seed=seed + 2)
    network = read_network(module, inputs[:2])
    reach = Reach(network, network.layers[-1].name, network.layers[0].source)
    probes = Probes(Inputs([inputs[:FIT]]), Inputs([inputs[FIT:]]))
    return deep_evidence(reach, probes, seed=seed)


def _searched(unit: UnitEvidence, seed: int) -> SearchedUnit:
    settings = SearchSettings(GrammarSpec(tags=TAGS), ENGINES)
    return search_unit(unit, settings.load(), budget=BUDGET, seed=seed, max_fvu=NOTHING)


def _score(candidate: Candidate) -> float:
    return candidate.bits + BITS * math.log(max(error_of(candidate), NOTHING))


def _left(found: np.ndarray, wanted: np.ndarray) -> float:
    """The share of the variance that is left; infinite where a value is no number."""
    left = np.mean((found - wanted) ** 2) / wanted.var()
    return float(left) if np.isfinite(left) else math.inf


def _rival(
    rival: Any, inputs: np.ndarray, target: np.ndarray, seconds: float, seed: int,
    wide: np.ndarray, wanted: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """What is right of its formulas, the best of them on the wider inputs."""
    start = time.perf_counter()
    try:
        with np.errstate(all="ignore"):
            found = [
                (_left(predict(wide), wanted), text)
                for text, predict in rival(inputs, target, seconds, seed)
            ]
    except Exception as error:  # a library may fail in any way: that is a result too
        found = [(math.inf, f"{type(error).__name__}: {error}")]
    left, text = min(found, default=(math.inf, ""))
    took = round(time.perf_counter() - start, 1)
    return {"right": left < SMALL, "left_wider": left, "found": text[:300], "seconds": took}


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
