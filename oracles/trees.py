"""Bounds of programs of any form, by splitting: sound, and near where few rows bend.

Two programs see the n inputs through k affine rows. By the singular vectors of the rows over the
box, these are linear in d <= k symbols that fill a round zonotope. It is covered by cells; on each
the difference is an affine form of the symbols with an error (forms.py), and the form is bounded by
the cell or by the zonotope, whichever is less. The cells of the largest bounds are halved until all
lie below a goal, or their number is used up: what is then left is still a bound.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np

from grammars.evaluation import Unsupported
from oracles.claims import Box, Proved, Refuted, Unknown, Verdict, below
from oracles.forms import ROUNDING, Form, FormAlgebra
from oracles.interval import IntervalAlgebra, up
from oracles.unit_difference import Difference

CELLS, BATCH = 30_000, 512
SLACK, NEGLIGIBLE = 2.0**-7, 2.0**-10  # how near to the largest difference found, and to epsilon
DIRECTIONS = 64  # in which a cell may lie outside the zonotope
STARTS, ROUNDS = 512, 6  # of the search for a large difference
JOINT = 4  # symbols of which each is bounded by the cell or by the zonotope, in all combinations
RANK = 1e-9  # singular values below this share of the largest are errors


@dataclass(frozen=True, eq=False)
class _Symbols:
    """k rows as `mixture` (k, d) · y + `centres` (k,) ± `errors` (k,), y = `vectors` (d, n) · t.

    t are the inputs as [-1, 1] each: middle + half · t.
    """

    mixture: np.ndarray
    centres: np.ndarray
    errors: np.ndarray
    vectors: np.ndarray
    middle: np.ndarray
    half: np.ndarray

    @classmethod
    def of(cls, difference: Difference, box: Box) -> "_Symbols":
        weights, biases = difference.floats
        middle, half = box.lower / 2 + box.upper / 2, box.upper / 2 - box.lower / 2
        scaled = weights * half
        mixture, sizes, vectors = np.linalg.svd(scaled, full_matrices=False)
        kept = sizes > RANK * sizes[0]
        kept[0] = True
        mixture, vectors = mixture[:, kept] * sizes[kept], vectors[kept]
        rest = np.abs(scaled - mixture @ vectors) + ROUNDING * (np.abs(mixture) @ np.abs(vectors))
        inputs = np.maximum(np.abs(box.lower), np.abs(box.upper))
        rounding = ROUNDING * (np.abs(weights) @ inputs + np.abs(biases))
        errors = rest.sum(1) * (1 + ROUNDING) + rounding
        return cls(mixture, weights @ middle + biases, errors, vectors, middle, half)

    @property
    def count(self) -> int:
        return len(self.vectors)

    def support(self, directions: np.ndarray) -> np.ndarray:
        """(...) the largest direction·y over the box, for directions (..., d), rounded up."""
        sizes = np.abs(directions @ self.vectors).sum(-1)
        return sizes + ROUNDING * (np.abs(directions) @ np.abs(self.vectors).sum(1))

    def point(self, t: np.ndarray, box: Box) -> np.ndarray:
        return np.clip(self.middle + self.half * t, box.lower, box.upper)


def prove_tree(difference: Difference, box: Box, epsilon: Fraction) -> Verdict:
    """Decide ``sup over a box (n,) |first − second| <= epsilon``, or say Unknown.

    Raises Unsupported where a primitive has no enclosures.
    """
    symbols = _Symbols.of(difference, box)
    reached, point = _largest_seen(difference, symbols, box)
    certain = difference.apart(point)
    if Fraction(certain) > epsilon:
        return Refuted(point, certain)
    near = reached * (1 + SLACK)
    if reached < epsilon:
        near = min(near, (reached + float(epsilon)) / 2)
    bound = _split(difference, symbols, max(near, NEGLIGIBLE * float(epsilon)))
    if np.isfinite(bound) and Fraction(bound) <= epsilon:
        return Proved("enclosed", Fraction(bound))
    gap = f"{certain:.9g} <= sup <= {bound:.9g}, epsilon {below(epsilon):.9g}"
    return Unknown(f"{CELLS} cells do not tell: {gap}")


def seen_bound(difference: Difference, box: Box) -> float:
    """About what `prove_program` will prove of a pair, in floats; infinite without enclosures."""
    symbols = _Symbols.of(difference, box)
    try:
        return _largest_seen(difference, symbols, box)[0] * (1 + 2 * SLACK)
    except Unsupported:
        return math.inf


def _largest_seen(difference: Difference, symbols: _Symbols, box: Box) -> tuple[float, np.ndarray]:
    """A large difference and its point: at corners in many directions, then on the way to them."""
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(STARTS, symbols.count))
    corners = np.vstack([np.sign(directions @ symbols.vectors), np.zeros_like(symbols.middle)])
    tried, best, reached = corners, corners[-1], 0.0
    for turn in range(ROUNDS):
        values = _apart(difference, symbols, tried)
        if values.max() >= reached:
            reached, best = float(values.max()), tried[int(values.argmax())]
        shares = generator.uniform(0, 0.5**turn, size=(len(corners), 1))
        tried = best + shares * (corners - best)
    return reached, symbols.point(best, box)


def _apart(difference: Difference, symbols: _Symbols, t: np.ndarray) -> np.ndarray:
    """(N,) about |first − second| at some t (N, n); 0 where floats do not know."""
    rows = (t @ symbols.vectors.T) @ symbols.mixture.T + symbols.centres
    first, second = difference.values(IntervalAlgebra, [(row, row) for row in rows.T])
    gaps = np.maximum(first[0] - second[1], second[0] - first[1])
    return np.nan_to_num(np.broadcast_to(gaps, len(t)), nan=0.0, posinf=0.0)


def _split(difference: Difference, symbols: _Symbols, goal: float) -> float:
    """The largest bound of all cells, most of them below the goal."""
    directions = _directions(symbols.count)
    reach = symbols.support(directions)
    widths = symbols.support(np.eye(symbols.count))[None]
    middles, seen, settled = np.zeros_like(widths), 0, 0.0
    bounds = np.full(1, np.inf)
    while len(middles):
        count = min(len(middles), BATCH)
        if seen + count > CELLS:
            return max(settled, float(bounds.max()))
        order = np.argsort(-bounds, kind="stable")
        taken, kept = order[:count], order[count:]
        here = _bounds(difference, symbols, middles[taken], widths[taken])
        seen += count
        settled = max(settled, float(here[here <= goal].max(initial=0.0)))
        open_ = taken[here > goal]
        halves = _halves(middles[open_], widths[open_], here[here > goal])
        inside = _meets(halves[0], halves[1], directions, reach)
        middles, widths, bounds = (
            np.concatenate([whole[kept], part[inside]])
            for whole, part in zip((middles, widths, bounds), halves, strict=True)
        )
    return settled


def _halves(
    middles: np.ndarray, widths: np.ndarray, bounds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both halves of cells, split where they are widest."""
    rows, wide = np.arange(len(middles)), widths.argmax(1)
    half = widths.copy()
    half[rows, wide] = up(widths[rows, wide] / 2)
    moves = np.zeros_like(widths)
    moves[rows, wide] = widths[rows, wide] / 2
    both = np.concatenate([middles - moves, middles + moves])
    slack = ROUNDING * np.abs(both)  # halves overlap by more than a rounding
    return both, np.concatenate([half, half]) + slack, np.concatenate([bounds, bounds])


def _directions(count: int) -> np.ndarray:
    found = np.random.default_rng(0).normal(size=(DIRECTIONS, count))
    if count == 2:
        angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
        found = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return found


def _meets(
    middles: np.ndarray, widths: np.ndarray, directions: np.ndarray, reach: np.ndarray
) -> np.ndarray:
    """Which cells may have a point of the zonotope."""
    nearest = np.abs(middles @ directions.T) - widths @ np.abs(directions).T
    slack = ROUNDING * (np.abs(middles) + widths) @ np.abs(directions).T
    return np.asarray((nearest - slack <= reach).all(1))


def _bounds(
    difference: Difference, symbols: _Symbols, middles: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    """(C,) bounds of |first − second| on cells; infinite where floats do not know."""
    algebra = FormAlgebra(_unread, middles=middles, widths=widths)
    flat = np.zeros(len(middles))
    rows = [
        algebra.form(centre, np.tile(mixture, (len(middles), 1)), flat + error)
        for centre, mixture, error in zip(
            symbols.centres, symbols.mixture, symbols.errors, strict=True
        )
    ]
    first, second = difference.values(
        lambda read: FormAlgebra(read, middles=middles, widths=widths), rows
    )
    gap = algebra.add(first, algebra.mul(algebra.const(-1.0), second))
    forms = [(sign * gap.centre, sign * gap.coefficients) for sign in (1, -1)]
    above = [
        centre + _most(symbols, coefficients, middles, widths) for centre, coefficients in forms
    ]
    found = np.maximum(*above) + gap.error
    found = np.minimum(found + ROUNDING * np.abs(found), np.maximum(gap.high, -gap.low))
    return np.where(np.isnan(found), np.inf, found)


def _unread(*key: object) -> Form:
    raise KeyError(key)


def _most(
    symbols: _Symbols, coefficients: np.ndarray, middles: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    """(C,) the largest coefficients·y of a cell in the zonotope: each symbol by one of the two."""
    count = symbols.count
    few = [(0.0, 1.0)] * count if count <= JOINT else []
    found = []
    for mask in [*product(*few)] if few else np.outer([0.0, 1.0], np.ones(count)):
        mask = np.asarray(mask)
        cell = coefficients * (1 - mask)
        own = (cell * middles + np.abs(cell) * widths).sum(1)
        found.append(own + symbols.support(coefficients * mask))
    sizes = (np.abs(coefficients) * (np.abs(middles) + widths)).sum(1)
    return np.minimum.reduce(found) + ROUNDING * sizes
