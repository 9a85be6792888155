"""Circuits on every input of a finite domain, in exact arithmetic, with a bound for float32.

All constants are dyadic, so that values are integers times one power of two: sums, products and
comparisons lose nothing, and what holds of all points is proved without a solver. Beside each value
goes a bound of how far a float32 evaluation, in any order of sums, can be from it (Higham 2002,
section 3.1): none where all partial sums are short whole multiples of one power of two.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from grammars.evaluation import Algebra, Reader, Unsupported
from grammars.interpreters.affine import TapKey
from grammars.primitive import Primitive
from oracles.circuits import Circuit, Domain, deciding
from oracles.claims import Proved, Refuted, Unknown, Verdict, above, below, dyadics, power_of_two

LIMIT = 2**16  # inputs that are tried one by one, at most
UNIT = 2.0**-24  # the largest relative error of one rounding to float32
LEAST = 2.0**-149  # and the largest error of one underflow
WHOLE = 2**24  # float32 holds all whole numbers up to it
SLACK = 1 + 2.0**-20  # for the float64 arithmetic of the bounds themselves


@dataclass(frozen=True, eq=False)
class Exact:
    """Numbers ``integers · 2^exponent``, object arrays (n,) or (1,) of Python's integers, and the
    most by which float32 is off at any of them."""

    integers: np.ndarray
    exponent: int
    error: float = 0.0

    @staticmethod
    def of(values: Sequence[float] | np.ndarray) -> "Exact":
        """Floats, exactly."""
        found = dyadics(np.array(values, dtype=np.float64))
        return Exact(np.array(found.integers, dtype=object), found.exponent)

    def at(self, exponent: int) -> np.ndarray:
        """The integers of a smaller exponent."""
        return self.integers * (1 << (self.exponent - exponent))

    @property
    def size(self) -> float:
        """The largest absolute value, rounded up."""
        return above(Fraction(int(np.abs(self.integers).max())) * power_of_two(self.exponent))


@dataclass(frozen=True)
class Margin:
    """A condition ``> 0`` is at least `least` from its change at every input, and float32 computes
    it to within `rounding`."""

    least: float
    rounding: float

    @property
    def holds(self) -> bool:
        """Whether float32 always comes to the same side."""
        return self.rounding == 0.0 or self.least > self.rounding


class ExactAlgebra(Algebra):
    """Values are `Exact`; `margins` are those of all conditions so far."""

    name = "exact"

    def __init__(self, read: Reader) -> None:
        super().__init__(read)
        self.margins: list[Margin] = []

    def const(self, value: float) -> Exact:
        found = Exact.of([value])
        return Exact(found.integers, found.exponent, abs(value - _single(value)))

    def add(self, a: Exact, b: Exact) -> Exact:
        return self.linear([1.0, 1.0], [a, b], 0.0)

    def mul(self, a: Exact, b: Exact) -> Exact:
        integers, exponent = a.integers * b.integers, a.exponent + b.exponent
        largest = (a.size + a.error) * (b.size + b.error)
        carried = a.size * b.error + b.size * a.error + a.error * b.error
        carried = np.inf if np.isnan(carried) else carried  # none of what has no bound
        if not carried and _is_short(np.abs(integers).max()):
            return Exact(integers, exponent)
        return Exact(integers, exponent, SLACK * (carried + UNIT * largest + LEAST))

    def max(self, a: Exact, b: Exact) -> Exact:
        return self._joined(a, b, np.maximum)

    def min(self, a: Exact, b: Exact) -> Exact:
        return self._joined(a, b, np.minimum)

    def select(self, condition: Exact, positive: Exact, otherwise: Exact) -> Exact:
        """Where float32 may take the other branch, it is off by what lies between the two."""
        exponent = min(positive.exponent, otherwise.exponent)
        first, second = positive.at(exponent), otherwise.at(exponent)
        sizes = np.abs(condition.integers)
        scale = power_of_two(condition.exponent)
        margin = Margin(below(int(sizes.min()) * scale), condition.error)
        self.margins.append(margin)
        apart, error = np.abs(first - second), max(positive.error, otherwise.error)
        if not margin.holds:
            near = sizes <= np.ldexp(condition.error, -condition.exponent)
            jump = np.where(near, apart, 0).max()
            error += above(int(jump) * power_of_two(exponent))
        return Exact(np.where(condition.integers > 0, first, second), exponent, error)

    def linear(self, weights: Sequence[float], values: Sequence[Exact], bias: float) -> Exact:
        """Σ weight · value + bias; float32 rounds n products and n sums, and the weights."""
        factors = [Exact.of([w]) for w in (*weights, bias)]
        exponents = [f.exponent + v.exponent for f, v in zip(factors[:-1], values, strict=True)]
        exponent = min([factors[-1].exponent, *exponents])
        terms = [
            f.integers * v.integers * (1 << (e - exponent))
            for f, v, e in zip(factors[:-1], values, exponents, strict=True)
        ]
        terms.append(factors[-1].at(exponent))
        largest = sum(int(np.abs(term).max()) for term in terms)
        total = np.sum(np.stack(np.broadcast_arrays(*terms)), axis=0)
        carried = sum(abs(w) * v.error for w, v in zip(weights, values, strict=True))
        lost = [abs(w - _single(w)) for w in (*weights, bias)]
        if not carried and not any(lost) and _is_short(largest):
            return Exact(total, exponent)
        sizes = [*(v.size + v.error for v in values), 1.0]
        share = (len(terms) + 1) * UNIT
        whole = sum(abs(w) * s for w, s in zip((*weights, bias), sizes, strict=True))
        rounded = sum(d * s for d, s in zip(lost, sizes, strict=True) if d)
        rest = share / (1 - share) * whole + (len(terms) + 1) * LEAST
        return Exact(total, exponent, SLACK * (carried + rounded + rest))

    def _joined(self, a: Exact, b: Exact, join: Callable[..., np.ndarray]) -> Exact:
        exponent = min(a.exponent, b.exponent)
        return Exact(join(a.at(exponent), b.at(exponent)), exponent, max(a.error, b.error))


def check_all(
    first: Circuit,
    second: Circuit,
    domain: Domain,
    epsilon: Fraction,
    primitives: Mapping[str, Primitive],
) -> Verdict:
    """Decide ``sup |first − second| <= epsilon`` over all outputs and inputs, by trying each input.

    `Proved("tried", the supremum)`, `Refuted` at the input of the largest difference, or `Unknown`
    for more than `LIMIT` inputs and for a primitive that is no matter of fractions.
    """
    if domain.size > LIMIT:
        return Unknown(f"{domain.size:,} inputs are too many to be tried one by one")
    try:
        inputs = columns(domain)
        values = [c.run(ExactAlgebra, inputs, primitives) for c in (first, second)]
        worst, place = max(_difference(a, b) for a, b in zip(*values, strict=True))
    except Unsupported as reason:
        return Unknown(str(reason))
    if worst <= epsilon:
        return Proved("tried", worst)
    points = list(domain.points())
    return Refuted(np.array(points[-place]), below(worst))


@dataclass(frozen=True)
class Floats:
    """Whether a circuit decides in float32 as it does in real numbers, at every input.

    `margin` is the least of its outputs' conditions, beside the bound of rounding there. `holds` is
    about all conditions on the way as well.
    """

    margin: Margin
    holds: bool


def floats(
    circuit: Circuit,
    level: float | None,
    domain: Domain,
    primitives: Mapping[str, Primitive],
) -> Floats | Unknown:
    """What float32 makes of what a circuit decides (`deciding`), in any order of its sums."""
    if domain.size > LIMIT:
        return Unknown(f"{domain.size:,} inputs are too many to be tried one by one")
    made: list[ExactAlgebra] = []

    def algebra(read: Reader) -> ExactAlgebra:
        made.append(ExactAlgebra(read))
        return made[-1]

    plain = Circuit({}, circuit.outputs)
    try:
        values = circuit.run(algebra, columns(domain), primitives)
        known = dict(zip(map(_key, circuit.outputs), values, strict=True))
        decided = deciding(plain, level).run(algebra, known, primitives)
    except Unsupported as reason:
        return Unknown(str(reason))
    margin = min(made[-1].margins, key=lambda m: (m.holds, m.least - m.rounding))
    return Floats(margin, all(bit.error < 0.5 for bit in decided))


def columns(domain: Domain) -> dict[TapKey, Exact]:
    """The taps of a domain at all its points."""
    table = np.array(list(domain.points()), dtype=np.float64).reshape(domain.size, -1)
    return {key: Exact.of(column) for key, column in zip(domain.values, table.T, strict=True)}


def _difference(a: Exact, b: Exact) -> tuple[Fraction, int]:
    """The largest difference, and where: minus its place, counted from the end."""
    exponent = min(a.exponent, b.exponent)
    apart = np.atleast_1d(np.abs(a.at(exponent) - b.at(exponent)))
    place = int(np.argmax(apart))
    return int(apart[place]) * power_of_two(exponent), len(apart) - place


def _key(node: Any) -> TapKey:
    return tuple(value for _, value in node.params)  # type: ignore[return-value]


def _single(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _is_short(integer: int) -> bool:
    return int(integer) <= WHOLE
