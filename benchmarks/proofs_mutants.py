"""Mutants with a known true difference: no oracle may prove a claim that is below it.

Truths are exact and by another road than any oracle's: `benchmarks/truths.py` enumerates vertices.
Every mutant is claimed to be near its unit by a hair less than the truth and by 1 % less, which no
oracle may prove; and by 5 % more, which should be proved with a bound no larger. Every certificate
that comes of it is corrupted in each of ten ways, and none of these may pass the checker, unless
what it says is still so: where a program is silent at the worst point, another one that is silent
there too has the same bound. For those that pass, vertices tell whether it is.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from benchmarks.corruptions import CORRUPT
from benchmarks.group_mutants import PlantedGroup, planted_group
from benchmarks.mutants import UNITS, Planted, bent, planted_layer
from benchmarks.sections import Given, Measured, check
from benchmarks.truths import Bent, unit_difference
from oracles import checker
from oracles.certificate import CertifiedLayer, CertifiedUnit, write_certificates
from oracles.claims import Affine, Claim, Proved, Verdict
from oracles.cross_check import smt_check
from oracles.groups.milp import milp_bound, milp_group
from oracles.groups.smt import smt_group
from oracles.groups.splitting import bracket, split_group
from oracles.prove import prove_layer

MUTANTS, GROUPS = 1000, 100  # those without any difference are left out
BELOW = (Fraction(99, 100), 1 - Fraction(1, 2**30))  # of the truth: what nobody may prove
NEAR = Fraction(105, 100)  # of the truth: what should be proved
LOOSE = Fraction(101, 100)  # at which splitting a group stops
BOUNDED = 0.95


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant: `false` counts claims below the truth that somebody proved, and
    bounds below it; `ratio` is the worst bound over the truth, infinite where somebody has none."""

    kind: str
    false: int
    ratio: float


@dataclass(frozen=True)
class Corrupted:
    """Certificates of a layer: how many passed; of their corruptions how many did not, and how
    many did and are still `true`."""

    certificates: int
    accepted: int
    corruptions: int
    rejected: int
    true: int


def measure(given: Given) -> Measured:
    """A row for each kind of mutant, and the bars."""
    layers, groups = given.cases(-(-MUTANTS // UNITS)), given.cases(GROUPS)
    parallel = Parallel(n_jobs=given.jobs)
    found: Any = parallel(delayed(_layer)(given.seed + i) for i in range(layers))
    more: Any = parallel(delayed(_group)(given.seed + i) for i in range(groups))
    units = [one for outcomes, _ in found for one in outcomes]
    rows = [*_rows("unit", units), *_rows("group", more)]
    every, papers = [*units, *more], [paper for _, paper in found]
    false = sum(one.false for one in every)
    near = sum(one.ratio <= NEAR for one in every) / len(every)
    honest, passed = (sum(getattr(p, k) for p in papers) for k in ("certificates", "accepted"))
    spoilt, caught, true = (
        sum(getattr(p, k) for p in papers) for k in ("corruptions", "rejected", "true")
    )
    rows.append({"network": "corrupted certificates", "rejected": caught, "still_true": true})
    holds = caught + true == spoilt
    return rows, [
        check(f"false certificates on {len(every)} mutants", false, "0", false == 0),
        check("bounded within 1.05 of the truth", near, f">= {BOUNDED}", near >= BOUNDED),
        check("certificates accepted", passed, str(honest), passed == honest),
        check("corrupted certificates rejected, or still true", caught + true, str(spoilt), holds),
    ]


def _rows(what: str, outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    for kind in dict.fromkeys(one.kind for one in outcomes):
        own = [one for one in outcomes if one.kind == kind]
        yield {
            "network": f"{what}: {kind}",
            "mutants": len(own),
            "false": sum(one.false for one in own),
            "bounded": sum(one.ratio <= NEAR for one in own),
            "bound_over_truth_median": median(one.ratio for one in own),
            "bound_over_truth_worst": max(one.ratio for one in own),
        }


def _layer(seed: int) -> tuple[list[Outcome], Corrupted]:
    """The mutants of one layer, by the closed form and by Z3, and their certificates."""
    planted = planted_layer(seed)
    units, programs, box = planted.units, planted.programs, planted.box
    proofs = prove_layer(units, programs, box, [NEAR * t for t in planted.truths])
    lies = [prove_layer(units, programs, box, [f * t for t in planted.truths]) for f in BELOW]
    outcomes = []
    for i, (kind, truth) in enumerate(zip(planted.kinds, planted.truths, strict=True)):
        pair = units[i], programs[i]
        smt = [smt_check(*pair, box, factor * truth) for factor in (NEAR, *BELOW)]
        false = _false([*(verdicts[i] for verdicts in lies), *smt[1:]])
        false += _bound(proofs[i]) < truth
        ratio = float(_bound(proofs[i]) / truth) if isinstance(smt[0], Proved) else float("inf")
        outcomes.append(Outcome(kind, false, ratio))
    return outcomes, _corrupted(planted, proofs)


def _group(seed: int) -> Outcome:
    """One mutant of a network, by splitting, by HiGHS and by Z3."""
    planted: PlantedGroup = planted_group(seed)
    group, truth = planted.group, planted.truth
    split = bracket(group, enough=lambda low, high: high <= LOOSE * low).upper
    word = milp_bound(group).upper
    lies = [road(group, f * truth) for f in BELOW for road in (split_group, milp_group)]
    lies.append(smt_group(group, BELOW[0] * truth))
    false = _false(lies) + (split < truth) + (word < truth)
    return Outcome(planted.kind, false, float(max(split, word) / truth))


def _false(verdicts: Sequence[Verdict]) -> int:
    return sum(isinstance(verdict, Proved) for verdict in verdicts)


def _bound(verdict: Verdict) -> Fraction | float:
    return verdict.bound if isinstance(verdict, Proved) else float("inf")


def _corrupted(planted: Planted, proofs: Sequence[Verdict]) -> Corrupted:
    """Write what was proved; read it as it is, and with every certificate spoilt, way by way."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        layer, units = _certified(planted, proofs)
        write_certificates(folder, [layer], units)
        accepted = len(checker.check(folder).accepted)
        path = folder / "certificates.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        live = [c for c in document["certificates"] if "*" in c["program"]]
        spoilt, passed, true = 0, 0, 0
        for corrupt in CORRUPT:
            document["certificates"] = [dict(c) for c in live]
            for victim in document["certificates"]:
                corrupt(victim, live)
            path.write_text(json.dumps(document), encoding="utf-8")
            found = {*checker.check(folder).accepted}
            passing = [c for c in document["certificates"] if c["unit"] in found]
            spoilt, passed = spoilt + len(live), passed + len(passing)
            true += sum(_is_true(planted, certificate) for certificate in passing)
        return Corrupted(len(units), accepted, spoilt, spoilt - passed, true)


def _is_true(planted: Planted, certificate: dict[str, Any]) -> bool:
    """Whether a certificate states no less than the truth of the program that it shows."""
    (_, _, slopes), taps, bias = checker.read_program(certificate["program"])
    assert slopes is not None  # of mutants all heads are of two slopes
    unit, weights = certificate["channel"], np.zeros(planted.units.weights.shape[1])
    for (name, _, _), factor in taps.items():
        weights[int(name.removeprefix("x_"))] = float(factor)
    first = bent(planted.units[unit])
    second = Bent(weights.tolist(), float(bias), *map(float, slopes))
    ends = planted.box.lower.tolist(), planted.box.upper.tolist()
    return unit_difference(first, second, *ends) <= Fraction(certificate["bound"])


def _certified(
    planted: Planted, proofs: Sequence[Verdict]
) -> tuple[CertifiedLayer, list[CertifiedUnit]]:
    units, size = planted.units, planted.units.weights.shape[1]
    names = {f"x_{i}": i for i in range(size)}
    numbers = units.weights.astype(np.float32), units.biases.astype(np.float32)
    layer = CertifiedLayer("mutants", *numbers, planted.box, names, size, (0,), (0,), units.heads)
    claims = (Claim(NEAR * truth, "planted") for truth in planted.truths)
    found = zip(proofs, claims, strict=True)
    return layer, [
        CertifiedUnit("mutants", i, _text(planted.programs[i]), claim, proof)
        for i, (proof, claim) in enumerate(found)
        if isinstance(proof, Proved)
    ]


def _text(program: Affine) -> str:
    """A program as the checker reads it."""
    terms = [f"{w!r}*x_{i}" for i, w in enumerate(program.weights.tolist()) if w]
    affine, op = " + ".join([*terms, repr(program.bias)]), program.head.op
    params = "".join(f", {name}={value!r}" for name, value in program.head.params)
    return affine if op == "identity" else f"{op}({affine}{params})"
