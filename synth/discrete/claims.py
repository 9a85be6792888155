"""What is claimed over all inputs, of whole networks and of units, and the answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from grammars.program import Node, tap
from oracles.circuits import Circuit
from oracles.claims import Proved, Refuted, Unknown, Verdict
from oracles.discrete import Answer, decide
from oracles.exhaustive import Floats, floats
from synth.assembly import LayerChoice
from synth.deep.reach import Reach
from synth.discrete.circuits import Discrete

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Decided:
    """Whether a network decides as the original does at every input, and what float32 makes of its
    decisions."""

    answer: Answer
    floats: Floats | Unknown


def decided(discrete: Discrete, circuit: Circuit) -> Decided:
    """The decisions of a circuit against those of the original."""
    first, second = (discrete.decisions(c) for c in (discrete.original, circuit))
    answer = decide(first, second, discrete.domain, Fraction(0), discrete.primitives)
    return Decided(answer, rounded(discrete, circuit))


def rounded(discrete: Discrete, circuit: Circuit) -> Floats | Unknown:
    """Whether a circuit decides in float32 as in real numbers, at every input."""
    return floats(circuit, discrete.level, discrete.domain, discrete.primitives)


def deep_answer(
    discrete: Discrete, reach: Reach, channel: int, program: Node, epsilon: Fraction
) -> Answer:
    """Whether a program over an earlier bank is within epsilon of its unit, at every input."""
    unit = Circuit(discrete.original.banks, (tap(reach.of.name, channel),))
    over = discrete.original.beside(program)
    return decide(unit, over, discrete.domain, epsilon, discrete.primitives)


def deep_circuit(discrete: Discrete, choice: LayerChoice, reach: Reach) -> Circuit:
    """The network with a layer written over an earlier bank."""
    return discrete.circuit({reach.of.name: choice.programs()})


def answer_row(answer: Answer) -> Row:
    """An answer as JSON: the input that refutes it, or how it was proved."""
    row: Row = {
        "verdict": type(answer.verdict).__name__.lower(),
        "smt": type(answer.smt).__name__.lower(),
    }
    return row | _more(answer.verdict)


def floats_row(found: Floats | Unknown) -> Row:
    """The least margin of a network's decisions beside the rounding of float32 there."""
    match found:
        case Unknown(reason=reason):
            return {"holds": None, "reason": reason}
        case Floats(margin=margin, holds=holds):
            return {"holds": holds, "margin": margin.least, "rounding": margin.rounding}


def points_row(discrete: Discrete, names: Sequence[str]) -> Row:
    """What the claims are about; `names` are those of the inputs' numbers, in order."""
    return {
        "values": list(discrete.values),
        "inputs": list(names),
        "points": discrete.domain.size,
        "decides": discrete.words,
    }


def _more(verdict: Verdict) -> Row:
    match verdict:
        case Proved(trust=trust, bound=bound):
            return {"trust": trust, "bound": float(bound)}
        case Refuted(counterexample=point, difference=difference):
            return {"counterexample": point.tolist(), "difference": difference}
        case Unknown(reason=reason):
            return {"reason": reason}
