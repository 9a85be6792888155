"""Weighted sums by which a function of bits can be told: whole numbers, as small as they can be."""

from collections.abc import Iterator
from itertools import islice, product

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from synth.gates.table import Table

LARGEST = 32  # of a threshold's weights,
ROUNDS = 40  # each of which adds rows that the weights so far are wrong on,
ADDED = 16  # so many of them
TRIED = 6000  # weightings of symmetric inputs that are tried
POWERS = (1, 2, 4, 8, 16)
GROUPS = 6  # of inputs that may change places, at most


def threshold_weights(table: Table) -> np.ndarray | None:
    """(n,) the whole weights of least sum for which the function is 1 above some level; None where
    it is no threshold of any. Rows are added as they are needed (Kelley 1960)."""
    signs = 2 * table.values - 1
    chosen = np.unique(np.linspace(0, len(signs) - 1, ADDED).round().astype(int))
    for _ in range(ROUNDS):
        found = _least(table.rows[chosen], signs[chosen])
        if found is None:
            return None
        weights, level = found
        wrong = np.flatnonzero(signs * (table.rows @ weights - level) < 0.5 - 1e-6)
        if not len(wrong):
            return weights
        picked = wrong[np.unique(np.linspace(0, len(wrong) - 1, ADDED).round().astype(int))]
        chosen = np.union1d(chosen, picked)
    return None


def _least(rows: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Whole weights p − q and a level that lies half between sums, for some rows."""
    count, size = rows.shape
    sums = np.hstack([rows, -rows, -np.ones((count, 1))]) * signs[:, None]
    costs = np.append(np.ones(2 * size), 1e-3 / (LARGEST * size))
    bounds = Bounds(
        np.append(np.zeros(2 * size), -LARGEST * size),  # type: ignore[arg-type]
        np.append(np.full(2 * size, LARGEST), LARGEST * size),  # type: ignore[arg-type]
    )
    whole = np.append(np.ones(2 * size), 0)
    options = {"node_limit": 2000}
    held = LinearConstraint(sums, lb=0.5)
    found = milp(costs, constraints=held, bounds=bounds, integrality=whole, options=options)
    if found.x is None:
        return None
    weights = np.round(found.x[:size] - found.x[size : 2 * size]).astype(np.int64)
    return weights, float(found.x[-1])


def symmetric_weights(table: Table) -> Iterator[np.ndarray]:
    """(n,) weights whose sums decide the function: ±1, ±2, ±4 …, of one size where inputs may
    change places, plain ones first; none where too few of them may."""
    groups = _groups(table)
    if len(groups) > GROUPS:
        return
    sizes = sorted(product(POWERS[: max(1, len(groups))], repeat=len(groups)), key=sum)
    signs = product((1, -1), repeat=max(0, len(table.atoms) - 1))
    plain = sorted(signs, key=lambda s: s.count(-1))
    pairs = ((size, sign) for sign in plain for size in sizes)
    place = np.empty(len(table.atoms), dtype=np.int64)
    for number, group in enumerate(groups):
        place[group] = number
    for size, sign in islice(pairs, TRIED):
        weights = np.array(size)[place] * np.array((1, *sign))
        if decides(table, weights):
            yield weights


def decides(table: Table, weights: np.ndarray) -> bool:
    """Whether rows of equal sums have equal values."""
    sums = table.rows @ weights
    sums = sums - sums.min()
    ones, count = np.bincount(sums, table.values), np.bincount(sums)
    return bool(((ones == 0) | (ones == count)).all())


def _groups(table: Table) -> list[list[int]]:
    """Inputs that may change places, or do so both turned round, without a change of the value."""
    groups: list[list[int]] = []
    for column in range(len(table.atoms)):
        home = next((g for g in groups if _alike(table, g[0], column)), None)
        groups.append([column]) if home is None else home.append(column)
    return groups


def _alike(table: Table, first: int, second: int) -> bool:
    for turned in (0, 1):
        moved = table.rows.copy()
        moved[:, first] = table.rows[:, second] ^ turned
        moved[:, second] = table.rows[:, first] ^ turned
        both, place = np.unique(np.vstack([table.rows, moved]), axis=0, return_inverse=True)
        place, values = place.reshape(-1), np.tile(table.values, 2)
        ones, count = np.bincount(place, values), np.bincount(place, minlength=len(both))
        if ((ones == 0) | (ones == count)).all():
            return True
    return False
