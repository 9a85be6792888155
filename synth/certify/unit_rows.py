"""What is proved of units beside what is seen of them: rows of `synth prove`."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor

from grammars.grammar import Grammar
from oracles.claims import Box, below
from oracles.difference.rounding import REAL
from oracles.difference.zonotope import enclosing
from oracles.falsify import Effort, affines, highest, programs
from synth.affine import unit_bank
from synth.assembly import LayerChoice, own_program, source_index
from synth.certify.proofs import Row
from synth.certify.units import UnitStep
from synth.certify.walk import Certifier
from synth.certify.worst import Runs, overshoot
from synth.network import Network

EVALUATIONS = 1000  # of a unit and its program
Ends = tuple[Tensor, Tensor]
Wanted = Callable[[str, int], bool]
"""Whether unit `channel` of a layer is asked for."""


def bound_units(
    network: Network,
    choices: Sequence[LayerChoice],
    grammar: Grammar,
    ends: Sequence[Ends],
    envelopes: Mapping[str, Box],
    *,
    until: float,
) -> dict[str, UnitStep]:
    """The steps of all layers after inputs between `ends` (*shape) went through them.

    A layer that has an envelope is bounded over it. Raises NoTransformer.
    """
    over = partial(_over, until)
    steps = {c.layer.name: UnitStep(c, grammar, envelopes.get(c.layer.name), over) for c in choices}
    device = network.runner.device
    inputs = [enclosing(low[None].to(device), high[None].to(device)) for low, high in ends]
    Certifier(network, steps, REAL)(inputs)
    return steps


def seen_units(runs: Runs, batches: Iterable[Sequence[Tensor]]) -> dict[str, Tensor]:
    """Of each layer the largest differences (U,) of its units that inputs have, both networks in
    float64, each on its own sources."""
    found: dict[str, Tensor] = {}
    banks, device = list(runs.modules), runs.network.runner.device
    for batch in batches:
        given = tuple(values.double().to(device) for values in batch)
        one, other = (
            runs.network.record(given, banks, modules=modules, to_end=False)
            for modules in ({}, runs.modules)
        )
        for name in banks:
            most = (other[name] - one[name]).abs().amax((0, 2, 3)).cpu()
            found[name] = torch.maximum(found.get(name, most), most)
    return found


def unit_rows(
    steps: Iterable[UnitStep], seen: Mapping[str, Tensor], wanted: Wanted, *, until: float
) -> list[Row]:
    """A row for each unit that is wanted, in order.

    `bound`: on the same sources, anywhere in the domain of its layer, its program is no farther
    from it; `counterexample` is the largest difference found there. `composed`: nor is it on
    replaced sources from the unit on the original ones; `seen` is the largest such difference that
    some inputs have. What time was too short for is None, and so is the bound of a unit that the
    judged output does not depend on.
    """
    return [
        row
        for step in steps
        for channel in range(step.layer.units)
        if wanted(step.layer.name, channel)
        for row in _row(step, channel, seen, until)
    ]


def _row(step: UnitStep, channel: int, seen: Mapping[str, Tensor], until: float) -> Iterator[Row]:
    name = step.layer.name
    row: Row = {"layer": name, "channel": channel, "status": step.choice.units[channel].status}
    if not step.found:
        yield row | dict.fromkeys(("bound", "counterexample", "overshoot", "composed", "seen"))
        return
    bounds, difference = step.found[-1], None
    if not _over(until):
        difference = below(_highest(step, channel, bounds.box))
    bound, composed = float(bounds.alone[channel]), float(bounds.composed[channel])
    here = float(seen[name][channel]) if name in seen else None
    yield row | {
        "bound": bound,
        "counterexample": difference,
        "overshoot": overshoot(bound, difference),
        "composed": composed,
        "seen": here,
    }


def _highest(step: UnitStep, channel: int, box: Box) -> Fraction:
    """The largest difference of a unit and its program that is found in a box of its patches."""
    layer, grammar, effort = step.layer, step.grammar, Effort(EVALUATIONS)
    if channel in step.forms.places:
        part, place = layer.part(channel), step.forms.places.index(channel)
        few = Box(box.lower[part], box.upper[part])
        unit, program = unit_bank(layer, [channel])[0], step.forms.bank[place]
        return highest(affines(unit, program, few, grammar), few, effort=effort).difference
    own, columns = own_program(layer, channel), source_index(step.choice.scope)
    sides = programs(own, step.programs[channel], columns, grammar)
    return highest(sides, box, effort=effort).difference


def _over(until: float) -> bool:
    return time.monotonic() >= until
