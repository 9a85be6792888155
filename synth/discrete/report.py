"""What a run says of all inputs: the section "discrete" of `summary.json`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from synth.assembly import LayerChoice
from synth.deep.search import DeepPrograms
from synth.discrete.circuits import Discrete
from synth.discrete.claims import (
    answer_row,
    decided,
    deep_circuit,
    floats_row,
    points_row,
    rounded,
)

if TYPE_CHECKING:
    from oracles.circuits import Circuit
    from synth.job import Job

Row = dict[str, Any]


def discrete_figures(
    job: "Job", choices: Sequence[LayerChoice], deep: Sequence[DeepPrograms]
) -> Row | None:
    """Whether the replacement, and each layer written over an earlier bank, decide as the original
    at every input; None where `network.values` does not say what inputs there are."""
    discrete = job.discrete
    if discrete is None:
        return None
    names = [job.records.names.of(bank, c) for bank, c, *_ in discrete.domain.values]
    return points_row(discrete, names) | {
        "original": {"float32": floats_row(rounded(discrete, discrete.original))},
        "replacement": _row(discrete, discrete.replaced(choices)),
        "deep": {p.reach.of.name: _deep_row(discrete, p) for p in deep},
    }


def _row(discrete: Discrete, circuit: "Circuit") -> Row:
    found = decided(discrete, circuit)
    return answer_row(found.answer) | {"float32": floats_row(found.floats)}


def _deep_row(discrete: Discrete, programs: DeepPrograms) -> Row:
    if programs.reach.target not in discrete.network.nodes:
        return {"verdict": "unknown", "reason": f"{programs.reach.target} is no layer"}
    if not programs.is_whole:
        return {"verdict": "unknown", "reason": "some unit has no program over the bank"}
    return _row(discrete, deep_circuit(discrete, programs.choice, programs.reach))
