"""What is picked for units, and which of two picks is cheaper: with a reference, or without."""

from collections.abc import Sequence
from dataclasses import dataclass

from grammars.siblings import references
from synth.assembly import UnitChoice


@dataclass(frozen=True, eq=False)
class Picked:
    """What stands for a unit, and the nats that it costs; infinite for weights that stay."""

    unit: UnitChoice
    nats: float

    def price(self, multiplier: float) -> float:
        return self.unit.bits + multiplier * self.nats


def merged(
    bank: str, first: Sequence[Picked], second: Sequence[Picked], multiplier: float
) -> list[Picked]:
    """References where their price is lower, but none to a unit that is itself a reference."""
    result = list(first)
    kept: set[int] = set()  # units that somebody refers to must stay as they are
    for plain, other in zip(first, second, strict=True):
        channel, program = plain.unit.channel, other.unit.program
        lower = other.price(multiplier) < plain.price(multiplier)
        if program is None or not lower or channel in kept:
            continue
        targets = set(references(program, bank))
        if all(result[t] is first[t] for t in targets):
            result[channel] = other
            kept |= targets
    return result
