"""Thirty planted circuits of 3 to 12 inputs, and a trained network that adds, proved on all inputs.

`make bench NAME=circuits` writes results/circuits.json; it exits 1 where a bar is missed. Takes
about six minutes on two cores. A circuit has one hidden layer of rectified or threshold units, in
random order and scaled by random factors. Its size is the number of terms of its units as programs
(`count_terms`); that of what is found counts the same, a unit without a program at all its weights.
The circuits come back as networks of programs and as programs over the inputs (*deep*), and the
decisions of both (each output above a half) are proved equal to the network's at every input. A row
names the roads that proved it (`by`): each input tried in exact arithmetic, Z3, or both; the checks
count Z3's proofs by themselves.
"""

import argparse
import json
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.networks import circuits  # noqa: E402  (the repository is not a package)
from benchmarks.report import Report  # noqa: E402
from grammars.program import count_terms  # noqa: E402
from oracles.circuits import Circuit  # noqa: E402
from oracles.claims import Proved  # noqa: E402
from oracles.discrete import decide  # noqa: E402
from synth.chain import run  # noqa: E402
from synth.config import load_config  # noqa: E402
from synth.job import Job, load_job  # noqa: E402

MOST, MEDIAN = 1.5, 6
CASE = """
import sys
sys.path.insert(0, {root!r})
from benchmarks.networks import circuits


def network():
    return {network}


def probes():
    return circuits.probes({inputs})


def every():
    return circuits.all_inputs({inputs})
"""
CONFIG = """
[network]
factory = "case.py:network"
values = [0, 1]
threshold = 0.5
[probes]
inputs = "case.py:probes"
test_inputs = "case.py:every"
[search]
engines = ["linear", "discrete"]
tags = ["core", "discrete"]
deep = "input"
budget = 400
max_fvu = {max_fvu}
[accept]
max_kl = 0.01
min_agreement = 0.98
[run]
seed = {seed}
jobs = 1
controls = []
"""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", default="", help="circuits whose names have this in them")
    given = options.parse_args()
    report = Report("circuits", given.seed)
    with tempfile.TemporaryDirectory(prefix="circuits-") as name:
        for place, (key, planted) in enumerate(circuits.planted().items()):
            if given.only in key:
                made = f"circuits.planted()[{key!r}].network({given.seed})"
                folder = Path(name) / str(place)
                job = _job(folder, made, planted.inputs, given.seed, 0.001)
                report.rows.append(_row(job, key) | {"planted_terms": planted.size})
        _check_planted(report)
        if given.only in "trained adder":
            _adder(report, Path(name) / "adder", given.seed)
    return report.finish()


def _job(folder: Path, network: str, inputs: int, seed: int, max_fvu: float) -> Job:
    folder.mkdir()
    case = CASE.format(root=str(ROOT), network=network, inputs=inputs)
    (folder / "case.py").write_text(case, encoding="utf-8")
    config = CONFIG.format(seed=seed, max_fvu=max_fvu)
    (folder / "case.toml").write_text(config, encoding="utf-8")
    return load_job(load_config(folder / "case.toml", {"run.out": str(folder / "run")}))


def _row(job: Job, name: str) -> dict[str, Any]:
    """What a run found, and what is proved of it."""
    start = time.perf_counter()
    summary: dict[str, Any] = run(job)
    units = _rows(job, "programs.json")
    deep = _rows(job, "deep.json")
    found, every = summary["discrete"], {la.name: la.fan + 1 for la in job.network.layers}
    (over,) = found["deep"].values()
    return {
        "network": name,
        "terms": sum(every[u["layer"]] if u["terms"] is None else u["terms"] for u in units),
        "status": summary["units"],
        "unit_terms": summary["terms"],
        "replacement": _claim(found["replacement"]),
        "deep_terms": None if any(u["terms"] is None for u in deep) else _total(deep),
        "deep_verdict": _claim(over),
        "deep": [u["program"] for u in deep],
        "float32": found["original"]["float32"],
        "points": found["points"],
        "seconds": round(time.perf_counter() - start, 1),
    }


def _claim(found: dict[str, Any]) -> dict[str, Any]:
    """The answer to a claim over all inputs, and what proved it."""
    tried = ["tried"] if found.get("trust") == "tried" else []
    solved = ["z3"] if found.get("smt") == "proved" else []
    return {"verdict": found["verdict"], "by": tried + solved, "reason": found.get("reason")}


def _rows(job: Job, file: str) -> list[dict[str, Any]]:
    return json.loads((job.config.out / file).read_text(encoding="utf-8"))["units"]


def _total(rows: list[dict[str, Any]]) -> int:
    return sum(row["terms"] for row in rows)


def _check_planted(report: Report) -> None:
    rows, count = list(report.rows), len(report.rows)
    for what, terms, verdict in (
        ("unit by unit", "terms", "replacement"),
        ("over the inputs", "deep_terms", "deep_verdict"),
    ):
        proved = sum(r[verdict]["verdict"] == "proved" for r in rows)
        solved = sum("z3" in r[verdict]["by"] for r in rows)
        small = sum((r[terms] or np.inf) <= MOST * r["planted_terms"] for r in rows)
        report.check(f"planted, {what}: proved equal", proved, f"== {count}", proved == count)
        report.check(f"planted, {what}: proved by Z3", solved, f"== {count}", solved == count)
        bar = f"== {count}, of at most {MOST} times the terms"
        report.check(f"planted, {what}: recovered", small, bar, small == count)
    safe = sum(bool(r["float32"]["holds"]) for r in rows)
    report.check("planted: decides alike in float32", safe, f"== {count}", safe == count)


def _adder(report: Report, folder: Path, seed: int) -> None:
    """The trained network: its programs, and whether the whole is the bits of one sum."""
    job = _job(folder, f"circuits.adder({seed})", 2 * circuits.BITS, seed, 0.05)
    row = _row(job, "trained adder")
    added = _is_addition(job)
    report.rows.append(row | {"is_addition": added})
    for what in ("replacement", "deep_verdict"):
        said, roads = row[what]["verdict"], " and ".join(row[what]["by"])
        name = f"adder, {what}: equal on all 256 inputs"
        report.check(name, said, "== proved", said == "proved")
        report.check(f"adder, {what}: proved by", roads, "reported", bool(roads))
    median = row["unit_terms"]["median"]
    report.check("adder: median terms of a unit", median, f"<= {MEDIAN}", median <= MEDIAN)
    report.check("adder: p90 terms of a unit", row["unit_terms"]["p90"], "reported", True)
    report.check("adder: outputs are the bits of the sum", added, f"== {circuits.BITS + 1}",
                 added == circuits.BITS + 1)  # fmt: skip


def _is_addition(job: Job) -> int:
    """How many of the deep programs are proved equal to a bit of the weighted sum of the inputs."""
    from grammars.parser import parse_program
    from grammars.program import call, linear, tap

    assert job.discrete is not None
    bank = job.network.input_names[0]
    weights = [2.0**i for i in range(circuits.BITS)] * 2
    total = linear((w, tap(bank, i)) for i, w in enumerate(weights))
    equal = 0
    for place, row in enumerate(_rows(job, "deep.json")):
        if row["program"] is None:
            continue
        program = parse_program(row["program"], job.records.names, job.grammar)
        pair = Circuit.alone(program), Circuit.alone(call("bit", total, place=place))
        first, second = (job.discrete.decisions(c) for c in pair)
        found = decide(first, second, job.discrete.domain, Fraction(0), job.discrete.primitives)
        equal += isinstance(found.verdict, Proved) and count_terms(program) <= 2 * len(weights)
    return equal


if __name__ == "__main__":
    sys.exit(main())
