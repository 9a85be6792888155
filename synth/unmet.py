"""A choice that is not as was asked: how near the best comes, and which units stand in the way."""

import math
import os
from typing import TYPE_CHECKING

from synth.assembly import UnitChoice
from synth.errors import InputError

if TYPE_CHECKING:
    from synth.chain import Searched
    from synth.job import Job

TOLD = 5  # units that are named


class Unmet(InputError):
    """No choice among the fronts of a run is as was asked."""

    exit_code = 1

    def __str__(self) -> str:
        return "\n".join(self.problems)


def check_met(job: "Job", searched: "Searched") -> None:
    """Raises Unmet where the chosen point is not as `job.asked` wants it."""
    if job.asked is None:
        return
    point, criteria = searched.point, job.criteria
    many = criteria.most_bits is not None and point.bits > criteria.most_bits
    if not many and point.accepted(criteria):
        return
    way = _by_bits(job, searched) if many else _by_nats(job, searched)
    run = os.path.relpath(job.config.out / job.asked.run)
    raise Unmet(
        f"no choice that was tried among the fronts of {run} holds: {job.asked}.",
        f"The best that was reached has {point.bits + job.asked.beside:,} bits, KL {point.kl:.3g} "
        f"nats and agreement {point.agreement:.4f} on select.",
        f"In the way stand {', '.join(way)}.",
    )


def _by_bits(job: "Job", searched: "Searched") -> list[str]:
    """The units that take most bits where there are fewest, those that keep their weights first."""

    def words(unit: UnitChoice) -> str:
        return f"{unit.bits:,} bits" + (", its own weights" if unit.program is None else "")

    names = job.records.names
    units = [
        (names.of(c.layer.name, u.channel), u) for c in searched.point.choices for u in c.units
    ]
    largest = sorted(units, key=lambda pair: (pair[1].program is not None, -pair[1].bits))
    return [f"{name} ({words(unit)})" for name, unit in largest[:TOLD]]


def _by_nats(job: "Job", searched: "Searched") -> list[str]:
    """The units whose programs cost most nats."""
    names, layers = job.records.names, searched.nats.items()
    costs = [(n, names.of(la, c)) for la, nats in layers for c, n in enumerate(nats)]
    largest = sorted((pair for pair in costs if math.isfinite(pair[0])), reverse=True)
    return [f"{name} (about {nats:.2g} nats)" for nats, name in largest[:TOLD]]
