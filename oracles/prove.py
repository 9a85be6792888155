"""The ladder for a whole layer: closed form in floats, then an exact replay or an exact recheck.

What is proved or refuted rests on exact arithmetic alone; floats only point at the multipliers
and at the worst point.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

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


def prove_layer(
    units: AffineBank, programs: AffineBank, box: Box, epsilons: Sequence[Fraction]
) -> list[Verdict]:
    """One verdict a unit on ``sup over the box |unit − program| <= epsilon``.

    Two-slope heads are decided but for a hair of float rounding; monotone Lipschitz heads may stay
    Unknown, because their bound is not tight. Raises ValueError if the sizes do not match.
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
        if isinstance(pairing, Unknown):
            verdicts.append(pairing)
            continue
        pair = units[index], programs[index]
        multipliers, point = bounds.multipliers[index].tolist(), bounds.points[index]
        verdicts.append(_decide(pair, box.of_unit(index), pairing, multipliers, point, epsilon))
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
    bound = Fraction(0)
    for bits in (SHORT_BITS, None):  # a short certificate if it suffices, else every bit
        exact = snap(multipliers, pairing, bits=bits)
        bound = exact_bound(*pair, box, exact, pairing)
        if bound <= epsilon:
            return Proved("checked", bound, Certificate(exact))
    gap = f"{below(replayed):.9g} <= sup <= {below(bound):.9g}, epsilon {below(epsilon):.9g}"
    why = "lies within rounding" if pairing.tight else "this head's bound is not tight"
    return Unknown(f"{why}: {gap}")
