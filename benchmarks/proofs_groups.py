"""Groups: how long Z3, HiGHS and splitting take by the number of ReLUs that may open and close.

A network of one hidden layer over a box of five inputs against its copy rounded on 1/32, with as
many units as have so many unstable ReLUs in both together. Each road is to say whether the two
differ by more than 1.25 times what splitting has found; efforts are counted and not timed, so where
one gives up is the same everywhere.
"""

import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from benchmarks.group_mutants import random_network, rounded
from benchmarks.sections import Given, Measured, check
from oracles.claims import Box, Proved, Refuted, Verdict
from oracles.groups.halving import halved_group
from oracles.groups.milp import milp_group
from oracles.groups.question import Group, question_of
from oracles.groups.smt import UNSTABLE, smt_group
from oracles.groups.splitting import bracket, split_group

INPUTS, STEP = 5, 1 / 32
HIDDEN = (2, 4, 6, 8, 12, 16, 24, 30)
CLAIM = Fraction(5, 4)  # of the largest difference that splitting finds within
SIGHTS = 200  # linear programs
PROGRAMS, NODES, STEPS = 2000, 500, 20_000_000  # of splitting, of HiGHS for each part, and of Z3


def _highs(group: Group, epsilon: Fraction) -> Verdict:
    return halved_group(group, epsilon, partial(milp_group, nodes=NODES))


ROADS: dict[str, Callable[[Group, Fraction], Verdict]] = {
    "splitting": partial(split_group, nodes=PROGRAMS),
    "highs": _highs,
    "z3": partial(smt_group, steps=STEPS),
}
WORTH = {"z3": UNSTABLE, "highs": 40}  # unstable ReLUs up to which a road is asked
DECIDED = 60  # unstable ReLUs up to which splitting or HiGHS should decide


def measure(given: Given) -> Measured:
    """A row for each size, and whether the roads that came to an end agree."""
    sizes = HIDDEN[: given.cases(len(HIDDEN))]
    rows = [_row(given.seed, hidden) for hidden in sizes]
    disagree = sum(row["disagree"] for row in rows)
    small = [row["z3"] for row in rows if row["unstable"] <= UNSTABLE]
    large = [_by_programs(row) for row in rows if row["unstable"] <= DECIDED]
    by_z3, closed = sum(v != "unknown" for v in small), sum(v != {"unknown"} for v in large)
    few, many = (
        f"groups of at most {UNSTABLE} decided by Z3",
        f"groups of at most {DECIDED} decided",
    )
    return rows, [
        check("groups on which two roads disagree", disagree, "0", disagree == 0),
        check(few, by_z3, str(len(small)), by_z3 == len(small)),
        check(many, closed, str(len(large)), closed == len(large)),
    ]


def _by_programs(row: dict[str, Any]) -> set[str]:
    """What splitting and HiGHS say of a group, if both are asked."""
    return {row[name] for name in ("splitting", "highs") if name in row}


def _row(seed: int, hidden: int) -> dict[str, Any]:
    group = _group(seed, hidden)
    unstable = question_of(group).unstable
    epsilon = CLAIM * bracket(group, nodes=SIGHTS).lower
    row: dict[str, Any] = {"network": f"{hidden} + {hidden} hidden units", "unstable": unstable}
    verdicts = []
    for name, road in ROADS.items():
        if unstable > WORTH.get(name, unstable):
            continue
        start = time.perf_counter()
        verdicts.append(road(group, epsilon))
        row[name] = type(verdicts[-1]).__name__.lower()
        row[f"{name}_seconds"] = round(time.perf_counter() - start, 2)
    kinds = {type(v) for v in verdicts}
    return row | {"disagree": {Proved, Refuted} <= kinds}


def _group(seed: int, hidden: int) -> Group:
    first = random_network(np.random.default_rng(seed), INPUTS, hidden)
    return Group(first, rounded(first, STEP), Box(-np.ones(INPUTS), np.ones(INPUTS)))
