"""What a unit's own reach over a box says of any program near it, before any is sought.

**Taps left out.** At two points that differ only in taps which a program does not read, the program
has one value, so the unit's values differ by at most 2ε there. Hence all taps that it leaves out,
together, move the unit by so much at most; and the fewest taps that a program can read are those
that move it most. **Taps read.** Of two points that differ in one tap, the conditions on the
program's pre-activation are two intervals, and their difference bounds that tap's coefficient.

**Rounding.** From the top corner of the box, as long as a ReLU-like head stays straight, a program
within ε of its unit lies within ε of it before the head. So moves of taps from there, by shares of
their whole moves, change unit − program by at most 2ε: those that raise it and those that lower it
are two points. Each tap's part in it is its rounding, at least that to the nearest multiple, or its
whole share if it is not read. Every choice of shares gives a bound; the best is a linear program,
whose shares in floats are a hint, with which the bound is then exact.

All hold in exact arithmetic, the first two whatever the grid. Heads are monotone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.optimize import linprog

from oracles.claims import Affine, Box, HeadForm, dyadics, power_of_two, preactivation
from oracles.monotone import Ends, preimage, turning_points

SHORT = 8  # bits of a coordinate within its side of the box: long numbers are slow to reason with
HALVINGS = 10  # of a move of one tap, until both ends of the intervals are there
SHARE_BITS = 20  # of a share, which is rounded down


@dataclass(frozen=True, eq=False)
class Sighting:
    """A point (n,) of the box and the unit's pre-activation there, exactly."""

    point: np.ndarray
    value: Fraction

    @classmethod
    def of(cls, unit: Affine, point: np.ndarray) -> "Sighting":
        return cls(point, preactivation(unit, point))


@dataclass(frozen=True, eq=False)
class Reach:
    """A unit's least and largest pre-activation over a box, and by how much each of its n taps can
    move it."""

    bottom: Fraction
    top: Fraction
    moves: tuple[Fraction, ...]


@dataclass(frozen=True, eq=False)
class Bracket:
    """Between which numbers a tap's coefficient lies, and a point that says so beside the base."""

    ends: Ends
    seen: Sighting


def reach_of(unit: Affine, box: Box) -> Reach:
    """The reach of a unit over a box (n,)."""
    weights, (lower, upper, exponent) = dyadics(unit.weights), box.exact
    scale = power_of_two(weights.exponent + exponent)
    columns = zip(weights.integers, lower, upper, strict=True)
    moves = tuple(scale * (abs(w) * (high - low)) for w, low, high in columns)
    bottom, top = (preactivation(unit, corner(unit, box, side)) for side in (-1, 1))
    return Reach(bottom, top, moves)


def corner(unit: Affine, box: Box, side: int) -> np.ndarray:
    """The point (n,) of the largest pre-activation for `side` 1, of the least for −1."""
    return np.where(side * unit.weights >= 0, box.upper, box.lower)


def shortened(point: np.ndarray, box: Box, bits: int) -> np.ndarray:
    """A point near another in the box, of coordinates that are short beside the box's sides."""
    width = box.upper - box.lower
    moves = width > 0
    step = np.exp2(np.floor(np.log2(np.where(moves, width, 1.0))) - bits)
    least, most = np.ceil(box.lower / step), np.floor(box.upper / step)
    return np.where(moves, np.clip(np.round(point / step), least, most) * step, box.lower)


def most_dropped(head: HeadForm, reach: Reach, epsilon: Fraction) -> Fraction | None:
    """By how much the taps that a program leaves out may move a unit at most, all together.

    None where they may move it by any amount. From a pre-activation A, all below `low` have a head
    more than 2ε below that of A: no move may lead there.
    """
    middle = [preimage(head, at, epsilon)[1] for at in turning_points(head)]
    tops = (reach.top, *turning_points(head), *(m for m in middle if m is not None))
    found = []
    for top in tops:
        low, _ = preimage(head, top, 2 * epsilon)
        if top <= reach.top and low is not None and low > reach.bottom:
            found.append(top - low)
    return min(found, default=None)


def least_terms(reach: Reach, taps: Sequence[int], dropped: Fraction | None) -> int:
    """How many of `taps` a program reads at least, if all others together may move the unit by
    `dropped` at most; one more than there are if all of them are too few."""
    if dropped is None:
        return 0
    left = sum(reach.moves, Fraction(0))
    for count, move in enumerate(sorted((reach.moves[i] for i in taps), reverse=True)):
        if left <= dropped:
            return count
        left -= move
    return len(taps) + (left > dropped)


def base_of(unit: Affine, box: Box, reach: Reach, epsilon: Fraction) -> Sighting:
    """A point from which moves of single taps tell much: both ends of the interval are there.

    The top corner, or where the head has not flattened out.
    """
    bottom, top = (corner(unit, box, side) for side in (-1, 1))
    seen = [Sighting.of(unit, shortened(top, box, SHORT))]
    for value in turning_points(unit.head):
        if reach.bottom < value < reach.top:
            share = float((value - reach.bottom) / (reach.top - reach.bottom))
            seen.append(Sighting.of(unit, shortened(bottom + share * (top - bottom), box, SHORT)))
    whole = (s for s in seen if None not in preimage(unit.head, s.value, epsilon))
    return next(whole, seen[0])


def bracket(unit: Affine, box: Box, base: Sighting, tap: int, epsilon: Fraction) -> Bracket:
    """What the base and a move of one tap from there say of the tap's coefficient.

    Of moves to the other end of the box, or less far, the one that says most. The tap moves.
    """
    ends_of_box = (shortened(side, box, SHORT)[tap] for side in (box.lower, box.upper))
    here, best = float(base.point[tap]), None
    end = max(ends_of_box, key=lambda at: abs(at - here))
    start = preimage(unit.head, base.value, epsilon)
    for halving in range(HALVINGS):
        point = base.point.copy()
        point[tap] = here + (end - here) * 2.0**-halving
        move = Fraction(here) - Fraction(float(point[tap]))
        value = base.value - Fraction(float(unit.weights[tap])) * move
        ends = _difference(start, preimage(unit.head, value, epsilon), move)
        if best is None or _width(ends) < _width(best.ends):
            best = Bracket(ends, Sighting(point, value))
    assert best
    return best


def _difference(here: Ends, there: Ends, move: Fraction) -> Ends:
    """The interval of (p − p') / move for p and p' in two intervals."""
    low = None if here[0] is None or there[1] is None else (here[0] - there[1]) / move
    high = None if here[1] is None or there[0] is None else (here[1] - there[0]) / move
    return (low, high) if move > 0 else (high, low)


def _width(ends: Ends) -> float:
    low, high = ends
    return np.inf if low is None or high is None else float(high - low)


def least_left(
    unit: Affine,
    reach: Reach,
    epsilon: Fraction,
    taps: Sequence[int],
    terms: int,
    step: Fraction,
) -> Fraction:
    """By how much unit − program changes at least where the head is straight.

    The program has multiples of `step` on at most `terms` of some taps; 0 where nothing is known.
    """
    gains = _gains(unit, reach, taps, step)
    room = _room(unit, reach, epsilon)
    if room <= 0:
        return Fraction(0)
    shares = _shares(reach, gains, terms, room)
    best = sorted((g * s for g, s in zip(gains, shares, strict=True)), reverse=True)[:terms]
    moved = sum((m * s for m, s in zip(reach.moves, shares, strict=True)), Fraction(0))
    return moved - sum(best, Fraction(0)) if moved <= room else Fraction(0)


def _room(unit: Affine, reach: Reach, epsilon: Fraction) -> Fraction:
    """How far the pre-activation may fall from its largest value."""
    if not unit.head.two_slope:
        return Fraction(0)
    low, high = unit.head.slopes
    return reach.top - (reach.bottom if low == high else epsilon)


def _gains(unit: Affine, reach: Reach, taps: Sequence[int], step: Fraction) -> list[Fraction]:
    """(n,) what of its move each tap can keep: nothing if it may not be read."""
    gains = [Fraction(0)] * len(reach.moves)
    for tap in taps:
        weight = abs(Fraction(float(unit.weights[tap])))
        if weight:
            left = abs(weight - round(weight / step) * step)
            gains[tap] = reach.moves[tap] * max(Fraction(0), 1 - left / weight)
    return gains


def _shares(reach: Reach, gains: Sequence[Fraction], terms: int, room: Fraction) -> list[Fraction]:
    """(n,) shares of the moves, `room` in all, of which the best choice of taps leaves most.

    Variables are shares s, and the prices p of a tap that is read and q of each: all taps left out
    cost moves·s, and reading those that gain most saves min terms·p + Σ q with p + q >= gains·s.
    """
    moves = np.array([float(m / room) for m in reach.moves])
    saved, size = np.array([float(g / room) for g in gains]), len(gains)
    goal = np.concatenate([-moves, [float(terms)], np.ones(size)])
    rows = np.hstack([np.diag(saved), -np.ones((size, 1)), -np.eye(size)])
    whole = np.concatenate([moves, np.zeros(size + 1)])[None]
    found = linprog(
        goal,
        A_ub=np.vstack([rows, whole]),
        b_ub=np.append(np.zeros(size), 1.0),
        bounds=[(0, 1)] * size + [(0, None)] * (size + 1),
    )
    if found.x is None:
        return [Fraction(0)] * size
    near = np.clip(np.floor(found.x[:size] * 2**SHARE_BITS), 0, 2**SHARE_BITS)
    return [Fraction(int(s), 2**SHARE_BITS) for s in near]
