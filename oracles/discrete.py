"""Claims over all inputs of a finite domain, by Z3: ``sup |first − second| <= epsilon``.

An input is a choice among its values: a Boolean where there are two of them. Most inputs are fixed,
by turns, so that substitution decides on which side most units are. Weights are the fractions that
their floats denote, and every head is its own exact term, so that what Z3 refutes or proves is the
circuits themselves; a counterexample is replayed in fractions before it is believed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import z3

from grammars.evaluation import Reader, Unsupported
from grammars.interpreters.affine import TapKey
from grammars.interpreters.rational import RationalAlgebra
from grammars.primitive import Primitive
from oracles.circuits import Circuit, Domain
from oracles.claims import Proved, Refuted, Unknown, Verdict, below
from oracles.exhaustive import check_all
from oracles.z3_terms import Z3Algebra, real_value

_Point = dict[TapKey, Fraction]
FREE, PARTS = 1, 256  # inputs that stay free in a part of the domain; parts, at most
STEPS = 5_000_000  # of z3's resource counter for one output: seconds, and the same everywhere


@dataclass(frozen=True, eq=False)
class Answer:
    """A verdict on all inputs, and Z3's own."""

    verdict: Verdict
    smt: Verdict


def decide(
    first: Circuit,
    second: Circuit,
    domain: Domain,
    epsilon: Fraction,
    primitives: Mapping[str, Primitive],
) -> Answer:
    """Decide a claim by two roads: every input in exact arithmetic where they are few, and Z3.

    Each input tried is the stronger proof; where there are too many of them, Z3's word stands. Z3
    is not asked of what a counterexample has refuted.
    """
    tried = check_all(first, second, domain, epsilon, primitives)
    match tried:
        case Refuted():
            return Answer(tried, tried)
        case Proved():
            return Answer(tried, prove_all(first, second, domain, epsilon, primitives))
    smt = prove_all(first, second, domain, epsilon, primitives)
    return Answer(smt, smt)


def prove_all(
    first: Circuit,
    second: Circuit,
    domain: Domain,
    epsilon: Fraction,
    primitives: Mapping[str, Primitive],
    *,
    steps: int = STEPS,
) -> Verdict:
    """Ask Z3 for an input at which some output of the two differs by more than epsilon.

    `Proved("solver", epsilon)` if there is none, `Refuted` with a replayed input, or `Unknown`: a
    primitive without exact terms, or more than `steps` for an output in a part of the inputs.
    """
    inputs = _Inputs(domain)
    try:
        pairs = [c.run(inputs.algebra, inputs.variables, primitives) for c in (first, second)]
    except Unsupported as reason:
        return Unknown(str(reason))
    differences = [a - b for a, b in zip(*pairs, strict=True)]
    for part, difference in product(_parts(domain), differences):
        found = inputs.exceeding(difference, part, epsilon, steps)
        if isinstance(found, Unknown):
            return found
        if found is not None:
            return _replayed(first, second, found, epsilon, primitives)
    return Proved("solver", epsilon)


def _parts(domain: Domain) -> Iterator[Domain]:
    """The domain in parts in which the first inputs are fixed, so that `FREE` or more are not: a
    hundred rectified units at once are much for z3, but most of them are decided in a part."""
    keys, count = list(domain.values), 1
    fixed: list[TapKey] = []
    for key in keys[: max(0, len(keys) - FREE)]:
        count *= len(domain.values[key])
        if count > PARTS:
            break
        fixed.append(key)
    for chosen in product(*(domain.values[key] for key in fixed)):
        yield Domain({**domain.values, **{k: (v,) for k, v in zip(fixed, chosen, strict=True)}})


class _Inputs:
    """The taps of a domain as variables, and a solver in a context of its own, so that steps are
    counted alike whatever ran before."""

    def __init__(self, domain: Domain) -> None:
        self.context = z3.Context()
        self.solver = z3.SolverFor("QF_LRA", ctx=self.context)
        self.variables = {
            key: z3.Real(f"x{i}", self.context) for i, key in enumerate(domain.values)
        }

    def algebra(self, read: Reader) -> Z3Algebra:
        """Terms over the variables."""
        return Z3Algebra(read, context=self.context)

    def exceeding(
        self, term: Any, part: Domain, epsilon: Fraction, steps: int
    ) -> _Point | Unknown | None:
        """An input in a part of the domain at which |term| is above epsilon; None where there is
        none."""
        choices = {key: self._choice(f"b{i}", v) for i, (key, v) in enumerate(part.values.items())}
        pairs = [(self.variables[key], choice) for key, choice in choices.items()]
        here, bound = z3.simplify(z3.substitute(term, *pairs)), real_value(epsilon, self.context)
        self.solver.set("rlimit", steps)
        self.solver.push()
        self.solver.add(z3.Or(here > bound, here < -bound))
        status = self.solver.check()
        reason = self.solver.reason_unknown() if status == z3.unknown else ""
        model = self.solver.model() if status == z3.sat else None
        self.solver.pop()
        if status == z3.unknown:
            return Unknown(f"z3 gave up within its steps: {reason}")
        return None if model is None else {k: _value(model, t) for k, t in choices.items()}

    def _choice(self, name: str, values: tuple[float, ...]) -> Any:
        """A choice among values, by Booleans one after the other."""
        first, *rest = (real_value(Fraction(value), self.context) for value in values)
        term: Any = first
        for i, value in enumerate(rest):
            term = z3.If(z3.Bool(f"{name}.{i}", self.context), value, term)
        return term


def _value(model: z3.ModelRef, term: Any) -> Fraction:
    value: Any = model.eval(term, model_completion=True)
    return value.as_fraction()


def _replayed(
    first: Circuit,
    second: Circuit,
    point: Mapping[TapKey, Fraction],
    epsilon: Fraction,
    primitives: Mapping[str, Primitive],
) -> Verdict:
    """The difference of the two at a point, in fractions."""
    values = [c.run(RationalAlgebra, point, primitives) for c in (first, second)]
    worst = max(abs(a - b) for a, b in zip(*values, strict=True))
    if worst > epsilon:
        return Refuted(np.array([float(v) for v in point.values()]), below(worst))
    return Unknown("z3 finds epsilon exceeded, but at no input that replays")
