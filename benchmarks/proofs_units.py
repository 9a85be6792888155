"""Bounds of single units: against Z3, a MILP, samples and ascent, and how near they are.

A section of `proofs`: `units` returns rows and checks. By itself, with `--share 0.01`, it prints
those of a hundredth of the cases and writes no file. All cases take about 20 minutes on one core.
"""

import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  (the repository is not a package)
import z3  # noqa: E402
from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: E402

from benchmarks.report import Check  # noqa: E402
from benchmarks.sections import Given, Measured  # noqa: E402
from grammars.grammar import load_grammar  # noqa: E402
from grammars.program import Node, call, linear, tap  # noqa: E402
from oracles.bent import float_bound, prove_bent  # noqa: E402
from oracles.claims import (  # noqa: E402
    Affine,
    AffineBank,
    Box,
    Pairing,
    Proved,
    Refuted,
    gap_at,
    head_form,
)
from oracles.closed_form import bound_units, exact_bound, snap  # noqa: E402
from oracles.prove import prove_program  # noqa: E402
from oracles.trees import seen_bound  # noqa: E402
from oracles.unit_difference import difference  # noqa: E402

Rows = list[dict[str, Any]]
RELU, NEAR = head_form("relu"), 1e-6
SMOOTH = ("sigmoid", "tanh", "silu", "gelu", "hardswish", "hardsigmoid")
PAIRS_Z3, PAIRS_MILP, TRIALS, PAIRS_BENT = 10_000, 1_000, 100_000, 200
RATE, INPUTS = 2_000, 147  # units a second, of so many inputs


def measure(given: Given) -> Measured:
    """All rows and checks, on a part of the cases."""
    found: Measured = [], []
    for section in (_against_z3, _against_milp, _against_trials, _rates, _heads, _programs):
        rows, checks = section(np.random.default_rng(given.seed), given.part)
        found[0].extend(rows)
        found[1].extend(checks)
    return found


def _pairs(
    rng: np.random.Generator, count: int, inputs: int, op: str = "relu", other: str = ""
) -> tuple[AffineBank, AffineBank, Box]:
    """Units of float32 weights, programs that round and drop some of them, and a box each."""
    weights = (rng.normal(size=(count, inputs)) * 3 / np.sqrt(inputs)).astype(np.float32)
    rounded = np.round(weights.astype(np.float64) * 16) / 16
    rounded[rng.random(weights.shape) < rng.choice([0.0, 0.3], size=(count, 1))] = 0.0
    biases = rng.normal(size=count).astype(np.float32)
    lower = rng.normal(size=(count, inputs)).astype(np.float32).astype(np.float64)
    box = Box(lower, lower + rng.integers(0, 65, size=lower.shape) / 32)
    heads = [(head_form(name),) * count for name in (op, other or op)]
    moved = np.round(biases.astype(np.float64) * 16) / 16
    return AffineBank(weights, biases, heads[0]), AffineBank(rounded, moved, heads[1]), box


def _against_z3(rng: np.random.Generator, share: float) -> tuple[Rows, list[Check]]:
    """The largest difference by Z3's own search over all points of the box."""
    count, start, off = max(1, int(PAIRS_Z3 * share)), time.perf_counter(), []
    for inputs in rng.integers(1, 65, size=count).tolist():
        own, its, box = _pairs(rng, 1, inputs)
        value, best = float(bound_units(own, its, box)[0].values[0]), _z3_optimum(own, its, box)
        off.append(abs(value - best) / max(best, NEAR))
    return _compared("Z3's optimum", count, off, time.perf_counter() - start, 1e-9)


def _z3_optimum(units_: AffineBank, programs: AffineBank, box: Box) -> float:
    x = [z3.Real(f"x{i}") for i in range(units_.weights.shape[1])]
    values = [_z3_unit(bank[0], x) for bank in (units_, programs)]
    found = []
    for gap in (values[0] - values[1], values[1] - values[0]):
        optimizer = z3.Optimize()
        for one, low, high in zip(x, box.lower[0].tolist(), box.upper[0].tolist(), strict=True):
            optimizer.add(one >= _exact(low), one <= _exact(high))
        goal = optimizer.maximize(gap)
        optimizer.check()
        best: Any = optimizer.upper(goal)
        found.append(float(Fraction(best.as_string())))
    return max(found)


def _z3_unit(one: Affine, x: list[Any]) -> Any:
    terms = [_exact(w) * v for w, v in zip(one.weights.tolist(), x, strict=True) if w]
    value: Any = z3.Sum([*terms, _exact(one.bias)])
    return z3.If(value > 0, value, z3.RealVal(0))


def _exact(value: float) -> Any:
    return z3.RealVal(str(Fraction(value)))


def _against_milp(rng: np.random.Generator, share: float) -> tuple[Rows, list[Check]]:
    """The same with one binary a ReLU, by HiGHS, up to 600 inputs."""
    count, start, off = max(1, int(PAIRS_MILP * share)), time.perf_counter(), []
    for inputs in rng.integers(1, 601, size=count).tolist():
        own, its, box = _pairs(rng, 1, inputs)
        value = float(bound_units(own, its, box)[0].values[0])
        best = max(_milp_optimum(own[0], its[0], box), _milp_optimum(its[0], own[0], box))
        off.append(abs(value - best) / max(best, 1e-3))
    return _compared("a MILP's optimum", count, off, time.perf_counter() - start, 1e-5)


def _milp_optimum(first: Affine, second: Affine, box: Box) -> float:
    """max r₁ − r₂ over x, r₁, r₂ and two binaries z: r = relu(a) by a's bounds."""
    low, high = box.lower[0], box.upper[0]
    size, rows, limits = low.size, [], [np.inf, np.inf]
    for place, one in enumerate((first, second)):
        sides = one.weights * low, one.weights * high
        least = min(np.minimum(*sides).sum() + one.bias, 0.0)
        most = max(np.maximum(*sides).sum() + one.bias, 0.0)
        limits[place] = most
        r, z = size + place, size + 2 + place
        for on_a, on_r, on_z, end in (
            (1.0, -1.0, 0.0, -one.bias),  # r >= a
            (-1.0, 1.0, -least, one.bias - least),  # r <= a − least·(1 − z)
            (0.0, 1.0, -most, 0.0),  # r <= most·z
        ):
            row = np.zeros(size + 4)
            row[:size], row[r], row[z] = on_a * one.weights, on_r, on_z
            rows.append((row, end))
    matrix, ends = (np.array(parts) for parts in zip(*rows, strict=True))
    goal = np.zeros(size + 4)
    goal[size], goal[size + 1] = -1.0, 1.0
    found = milp(
        goal,
        constraints=LinearConstraint(matrix, -np.inf, ends),  # type: ignore[arg-type]
        bounds=Bounds(np.r_[low, np.zeros(4)], np.r_[high, limits, 1.0, 1.0]),
        integrality=np.r_[np.zeros(size + 2), np.ones(2)],
        options={"mip_rel_gap": 1e-9},
    )
    return -float(found.fun)


def _compared(
    what: str, count: int, off: list[float], seconds: float, near: float
) -> tuple[Rows, list[Check]]:
    equal = sum(o <= near for o in off)
    row = {"network": what, "pairs": count, "largest relative gap": max(off), "seconds": seconds}
    return [row], [Check(f"closed form equals {what}", equal, str(count), equal == count)]


def _against_trials(rng: np.random.Generator, share: float) -> tuple[Rows, list[Check]]:
    """Random corners, and those that ascent leads to: none above the bound, and how near."""
    each, above, near = 100, 0, []
    count = max(1, int(TRIALS * share) // each)
    for _ in range(count):
        own, its, box = _pairs(rng, 1, int(rng.integers(1, 601)))
        value = float(bound_units(own, its, box)[0].values[0])
        reached = _ascended(rng, own[0], its[0], box, each)
        above += int((reached > value * (1 + 1e-12) + 1e-12).sum())
        near.append(float(reached.max()) / value if value else 1.0)
    row = {"network": "samples and ascent", "trials": count * each, "nearest, median": _mid(near)}
    return [row], [Check("trials above the bound", above, "0", above == 0)]


def _ascended(
    rng: np.random.Generator, unit: Affine, program: Affine, box: Box, count: int
) -> np.ndarray:
    """(count,) differences: half of them at random corners, half after steps along the slope."""
    low, high = box.lower[0], box.upper[0]
    points = np.where(rng.random((count, low.size)) < 0.5, low, high)
    for _ in range(4):
        slopes, gaps = [], []
        for one in (unit, program):
            values = points @ one.weights + one.bias
            gaps.append(np.maximum(values, 0))
            slopes.append((values > 0)[:, None] * one.weights)
        gap, uphill = gaps[0] - gaps[1], slopes[0] - slopes[1]
        moved = np.where(np.sign(gap)[:, None] * uphill > 0, high, low)
        points[count // 2 :] = moved[count // 2 :]
    values = [np.maximum(points @ one.weights + one.bias, 0) for one in (unit, program)]
    return np.abs(values[0] - values[1])


def _rates(rng: np.random.Generator, share: float) -> tuple[Rows, list[Check]]:
    """One call for a layer, in floats, and the exact recheck of what it found."""
    own, its, box = _pairs(rng, RATE, INPUTS)
    shared, start = Box(box.lower[0], box.upper[0]), time.perf_counter()
    bounds, pairings = bound_units(own, its, shared)
    floats = RATE / (time.perf_counter() - start)
    some, start = max(10, int(RATE * share)), time.perf_counter()
    for i in range(some):
        pairing = pairings[i]
        assert isinstance(pairing, Pairing)
        exact_bound(own[i], its[i], shared, snap(bounds.multipliers[i].tolist(), pairing), pairing)
    exact = some / (time.perf_counter() - start)
    row = {"network": f"a layer of n = {INPUTS}", "units a second": floats, "rechecked": exact}
    return [row], [Check("units a second in floats", floats, f">= {RATE}", floats >= RATE)]


def _heads(rng: np.random.Generator, share: float) -> tuple[Rows, list[Check]]:
    """Heads that bend, and heads of two forms: bound over the best counterexample."""
    kinds = [*((op, op) for op in SMOOTH), ("silu", "relu"), ("sigmoid", "hardsigmoid")]
    rows, worst = [], 1.0
    for op, other in kinds:
        start = time.perf_counter()
        ratios = [r for n in (9, INPUTS) for r in _head_ratios(rng, share, n, op, other)]
        name = op if op == other else f"{op} by {other}"
        rows.append(_near(name, ratios, time.perf_counter() - start))
        worst = max(worst, *ratios)
    return rows, [Check("smooth heads: bound / counterexample", worst, "<= 1.02", worst <= 1.02)]


def _head_ratios(
    rng: np.random.Generator, share: float, inputs: int, op: str, other: str
) -> Iterator[float]:
    count = max(1, int(PAIRS_BENT * share) // 2)
    own, its, box = _pairs(rng, count, inputs, op, other)
    for i in range(count):
        pair, part = (own[i], its[i]), box.of_unit(i)
        about = Fraction(float_bound(*pair, part))
        wide = prove_bent(*pair, part, about * Fraction(101, 100))
        low = prove_bent(*pair, part, about * Fraction(98, 100))
        if isinstance(wide, Proved) and isinstance(low, Refuted):
            yield float(wide.bound / gap_at(*pair, low.counterexample))
        elif about:
            yield np.inf


def _programs(rng: np.random.Generator, share: float) -> tuple[Rows, list[Check]]:
    """Programs of other forms, against the counterexample that refutes a little less."""
    rows, worst, count = [], 1.0, max(1, int(PAIRS_BENT * share) // 10)
    for name, build in _FORMS.items():
        start = time.perf_counter()
        ratios = [_program_ratio(rng, build) for _ in range(count)]
        rows.append(_near(name, ratios, time.perf_counter() - start))
        worst = max(worst, *ratios)
    return rows, [Check("other programs: bound / counterexample", worst, "<= 1.05", worst <= 1.05)]


def _program_ratio(rng: np.random.Generator, build: Callable[[Callable[..., Node]], Node]) -> float:
    grammar = load_grammar(tags=("core", "formula", "pool"), installed=False)
    columns = {("x", c, 0, 0): c for c in range(INPUTS)}
    box = Box(-np.ones(INPUTS), np.ones(INPUTS))

    def row(bias: float = 0.0) -> Node:
        weights = np.round(rng.normal(size=INPUTS) * 8) / 64
        return linear([(float(w), tap("x", c)) for c, w in enumerate(weights) if w], bias)

    unit, program = call("relu", row()), build(row)
    about = Fraction(seen_bound(difference(unit, program, columns, grammar), box))
    parts = unit, program, columns, box
    wide = prove_program(*parts, about * Fraction(105, 100), grammar)
    low = prove_program(*parts, about * Fraction(97, 100), grammar)
    if isinstance(wide, Proved) and isinstance(low, Refuted):
        return float(wide.bound) / low.difference
    return np.inf


_FORMS: dict[str, Callable[[Callable[..., Node]], Node]] = {
    "max of three": lambda row: call("max", row(), call("max", row(), row())),
    "sum of two ReLUs": lambda row: linear(
        [(1.0, call("relu", row())), (-0.5, call("relu", row()))]
    ),
    "scaled step": lambda row: linear([(2.0, call("step", row(0.25)))], 0.125),
    "product with a sigmoid": lambda row: call("mul", row(), call("sigmoid", row())),
    "root of a sum of squares": lambda row: call(
        "sqrt", linear([(1.0, call("square", row())), (1.0, call("square", row()))])
    ),
}


def _near(name: str, ratios: list[float], seconds: float) -> dict[str, Any]:
    return {
        "network": name,
        "pairs": len(ratios),
        "bound / counterexample, median": _mid(ratios),
        "largest": max(ratios),
        "milliseconds a pair": 1000 * seconds / len(ratios),
    }


def _mid(values: list[float]) -> float:
    return float(np.median(values))
