"""The ladder for a whole layer: a bound in floats, then an exact replay or an exact recheck.

Heads of two slopes have a closed form, all others are bounded in cells; programs of other forms by
linear programs if their pieces are straight, else by splitting. What is proved or refuted
rests on exact arithmetic and enclosures alone; floats only point at the multipliers, the cells and
the worst point.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction

import numpy as np

from grammars.evaluation import Unsupported
from grammars.interpreters.affine import TapKey
from grammars.primitive import Primitive
from grammars.program import Node
from oracles.bent import prove_bent
from oracles.claims import (
    Affine,
    AffineBank,
    Box,
    Certificate,
    Pairing,
    Proved,
    Refuted,
    Unknown,
    Verdict,
    below,
    gap_at,
)
from oracles.closed_form import SHORT_BITS, bound_units, exact_bound, snap
from oracles.straight import prove_straight
from oracles.trees import prove_tree
from oracles.unit_difference import Difference, difference


def prove_layer(
    units: AffineBank, programs: AffineBank, box: Box, epsilons: Sequence[Fraction]
) -> list[Verdict]:
    """One verdict a unit on ``sup over the box |unit − program| <= epsilon``.

    Two-slope heads are decided but for a hair of float rounding, all others but for a hair that
    grows with their bends. Raises ValueError if the sizes do not match.
    """
    sizes = len(units), len(programs), len(epsilons)
    if len(set(sizes)) != 1 or units.weights.shape != programs.weights.shape:
        raise ValueError(
            f"{sizes} units, programs, epsilons of weights {units.weights.shape} and "
            f"{programs.weights.shape}; expected one program and one epsilon a unit"
        )
    bounds, pairings = bound_units(units, programs, box)
    verdicts: list[Verdict] = []
    for index, (pairing, epsilon) in enumerate(zip(pairings, epsilons, strict=True)):
        pair, part = (units[index], programs[index]), box.of_unit(index)
        if not isinstance(pairing, Pairing) or not pairing.tight:
            verdicts.append(prove_bent(*pair, part, epsilon))
            continue
        multipliers, point = bounds.multipliers[index].tolist(), bounds.points[index]
        verdicts.append(_decide(pair, part, pairing, multipliers, point, epsilon))
    return verdicts


def _decide(
    pair: tuple[Affine, Affine],
    box: Box,
    pairing: Pairing,
    multipliers: list[float],
    point: np.ndarray,
    epsilon: Fraction,
) -> Verdict:
    replayed = gap_at(*pair, point)
    if replayed > epsilon:
        return Refuted(point.copy(), below(replayed))
    for bits in (SHORT_BITS, None):  # short multipliers if they suffice
        exact = snap(multipliers, pairing, bits=bits)
        bound = exact_bound(*pair, box, exact, pairing)
        if bound <= epsilon:
            return Proved("checked", bound, Certificate(exact))
    gap = f"{below(replayed):.9g} <= sup <= {below(bound):.9g}, epsilon {below(epsilon):.9g}"
    return Unknown(f"lies within rounding: {gap}")


def prove_program(
    unit: Node,
    program: Node,
    columns: Mapping[TapKey, int],
    box: Box,
    epsilon: Fraction,
    primitives: Mapping[str, Primitive],
) -> Verdict:
    """A verdict on two programs of any form over the taps of `columns`, which lie in a box (n,).

    Raises KeyError for a tap without a column.
    """
    return prove_difference(difference(unit, program, columns, primitives), box, epsilon)


def prove_difference(apart: Difference, box: Box, epsilon: Fraction) -> Verdict:
    """The same of two programs that are hoisted."""
    with suppress(Unsupported):
        straight = prove_straight(apart, box, epsilon)
        if not isinstance(straight, Unknown):
            return straight
    try:
        return prove_tree(apart, box, epsilon)
    except Unsupported as reason:
        return Unknown(f"no oracle knows a bound for a program of this form: {reason}")
