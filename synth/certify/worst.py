"""How far both networks certainly differ: the worst inputs that the falsifier finds in a set.

It climbs what was proved about, the outputs before a softmax, and replays what it finds in float64:
the original by the module that was read, the replacement by its programs in the place of units.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, prod

import numpy as np
import torch
from torch import Tensor, nn

from grammars.grammar import Grammar
from oracles.claims import Box, below
from oracles.difference.rounding import down, up
from oracles.falsify import EVALUATIONS, Effort, Highest, Sides, highest
from synth.assembly import LayerChoice, bank_module
from synth.batches import Inputs
from synth.certify.proofs import Ball, Row
from synth.certify.walk import Certifier
from synth.network import Network

EACH = 400  # evaluations of both networks in a ball
FEWEST, HELD = 96, 2**28  # of networks with large maps: so many evaluations, or numbers in them
WITHIN = 1 - 2.0**-40  # of a radius: rounding leads no point out


@dataclass(frozen=True, eq=False)
class Runs:
    """Both networks in float64, up to the node that is compared."""

    network: Network
    node: str
    modules: Mapping[str, nn.Module]

    @classmethod
    def of(cls, certifier: Certifier, choices: Sequence[LayerChoice], grammar: Grammar) -> "Runs":
        modules = {c.layer.name: bank_module(c, grammar).double() for c in choices}
        return cls(certifier.network.double(), certifier.output.name, modules)

    def differences(self, points: Tensor) -> Tensor:
        """(N, K) replaced − original at inputs (N, n), those of several inputs side by side."""
        shapes = self.network.input_shapes
        parts = points.to(self.network.runner.device).split([prod(s) for s in shapes], dim=1)
        batch = tuple(part.reshape(-1, *s) for part, s in zip(parts, shapes, strict=True))
        node = self.network.node(self.node)
        found = [
            self.network.runner.record(batch, set(), m, node, grad=True, to_end=True)[0]
            for m in ({}, self.modules)
        ]
        one, other = (values.reshape(len(points), -1) for values in found if values is not None)
        return (other - one).to(points.device)

    def effort(self, most: int) -> Effort:
        """As many evaluations as that, or fewer where maps are large."""
        widest = max(prod(layer.out_shape) for layer in self.network.layers)
        return Effort(max(min(most, HELD // widest), min(most, FEWEST)))

    def in_ball(self, values: np.ndarray, ball: Ball) -> Highest:
        """The worst input found in the ball around one probe's inputs (n,)."""
        if not ball.radius:
            return self._searched(Box(values, values), lambda points: points, Effort(1))
        effort = self.effort(EACH)
        if ball.norm == 2:
            ones = np.ones_like(values)
            return self._searched(Box(-ones, ones), _onto(values, ball.radius), effort)
        return self._searched(_cut(values, ball), lambda points: points, effort)

    def in_box(self, lower: np.ndarray, upper: np.ndarray) -> Highest:
        """The worst input found in a box (n,)."""
        return self._searched(Box(lower, upper), lambda points: points, self.effort(EVALUATIONS))

    def _searched(self, box: Box, place: Callable[[Tensor], Tensor], effort: Effort) -> Highest:
        """The worst input among those at which points of the box are placed."""

        def replay(point: np.ndarray) -> Fraction:
            with torch.no_grad():
                found = self.differences(place(torch.from_numpy(point)[None]))
            return Fraction(float(found.abs().max()))

        nowhere = np.zeros((0, box.lower.size))
        sides = Sides(lambda p: self.differences(place(p)), replay, nowhere, nowhere)
        found = highest(sides, box, effort=effort)
        return Highest(place(torch.from_numpy(found.point)[None])[0].numpy(), found.difference)


def overshoot(bound: float | None, difference: float | None) -> float | None:
    """A bound over what was found; None where nothing was, or there is no bound."""
    return bound / difference if bound is not None and difference else None


def search_balls(
    runs: Runs, inputs: Inputs, ball: Ball, rows: Sequence[Row], *, until: float
) -> list[Row]:
    """The rows of `prove_balls`, each with the largest difference found in its ball.

    Those of the largest bounds are searched first; what time is too short for has None.
    """
    found: dict[int, Row] = {}
    for row in sorted(rows, key=lambda row: -row["bound"]):
        difference = None
        if time.monotonic() < until:
            place = row["probe"]
            parts = inputs.batch(place, place + 1)
            values = torch.cat([part.flatten().double().cpu() for part in parts])
            difference = below(runs.in_ball(values.numpy(), ball).difference)
        ratio = overshoot(row["bound"], difference)
        found[row["probe"]] = {**row, "counterexample": difference, "overshoot": ratio}
    return [found[row["probe"]] for row in rows]


def searched_box(runs: Runs, lower: Tensor, upper: Tensor, bound: float | None) -> Row:
    """The largest difference found in a box (*shape), and the input where it is."""
    found = runs.in_box(lower.flatten().numpy(), upper.flatten().numpy())
    difference = below(found.difference)
    point = found.point.reshape(lower.shape).tolist()
    ratio = overshoot(bound, difference)
    return {"counterexample": difference, "overshoot": ratio, "point": point}


def _cut(values: np.ndarray, ball: Ball) -> Box:
    """The box of a ball of norm inf, and no point beyond it."""
    low, high = ball.within or (-inf, inf)
    middle = torch.from_numpy(values)
    radius = torch.full_like(middle, ball.radius)
    lower = torch.minimum(up(middle - radius).clamp(low, high), middle)
    upper = torch.maximum(down(middle + radius).clamp(low, high), middle)
    return Box(lower.numpy(), upper.numpy())


def _onto(values: np.ndarray, radius: float) -> Callable[[Tensor], Tensor]:
    """The unit box onto the ball of norm 2, the identity inside it."""
    centre = torch.from_numpy(values)

    def place(points: Tensor) -> Tensor:
        sizes = points.norm(dim=1, keepdim=True).clamp_min(1.0)
        return centre + (radius * WITHIN) * points / sizes

    return place
