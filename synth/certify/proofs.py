"""What is proved of a network and its replacement: in a ball around each probe, and over a box."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from oracles.difference.answers import answers, difference_bound
from oracles.difference.pair import Pair
from oracles.difference.rounding import REAL, down, up
from oracles.difference.splitting import Bounded, covered
from oracles.difference.sums import scaled
from oracles.difference.zonotope import INPUT, Zonotope, ball, box, point
from synth.batches import Batch, Inputs
from synth.certify.walk import Certifier
from synth.outputs import Reading

HELD = 2**24  # numbers that one block of generators may have
SPLIT_INPUTS = 32  # more inputs than these are not split: a box has too many corners
Row = dict[str, Any]


@dataclass(frozen=True)
class Ball:
    """The inputs within `radius` of a probe in a norm, inf or 2, and `within` (low, high) each."""

    radius: float
    norm: float = math.inf
    within: tuple[float, float] | None = None

    def around(self, values: Tensor, name: str) -> Zonotope:
        """The ball around each of (B, *shape) values."""
        if not self.radius:
            return point(values)
        radii = torch.full_like(values, self.radius)
        if self.within is None:
            return ball(values, radii, self.norm, name)
        low, high = (
            ends.clamp(*self.within) for ends in (down(values - radii), up(values + radii))
        )
        return box(torch.minimum(low, values), torch.maximum(high, values), name)


def prove_balls(
    certifier: Certifier,
    inputs: Inputs,
    ball: Ball,
    reading: Reading,
    *,
    seconds: float = math.inf,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Row]:
    """A row for each probe, in order, until `seconds` are over; nothing is claimed of the rest.

    `bound`: no output of the two networks differs by more, anywhere in the ball. `original`: the
    original gives its answer to the probe, `answer`, everywhere in the ball; `same`: both networks
    do.
    """
    until, rows = time.monotonic() + seconds, list[Row]()
    for batch in inputs.batches(_together(certifier, inputs)):
        if time.monotonic() >= until:
            break
        rows += _ball_rows(certifier, batch, ball, reading, len(rows))
        tell(len(rows))
    return rows


def _ball_rows(
    certifier: Certifier, batch: Batch, ball: Ball, reading: Reading, start: int
) -> Iterator[Row]:
    names = (INPUT if i == 0 else f"{INPUT}:{i}" for i in count())
    sets = [ball.around(v.double(), name) for v, name in zip(batch, names, strict=False)]
    found = answers(classes(_rows_of(certifier(sets)), reading))
    columns = (found.answer, found.bound.amax(1), found.original, found.same)
    for place, row in enumerate(zip(*(c.tolist() for c in columns), strict=True), start):
        answer, bound, original, same = row
        yield {"probe": place, "answer": answer, "bound": bound, "original": original, "same": same}


def classes(outputs: Pair, reading: Reading) -> Pair:
    """Outputs (B, K) as scores of classes: one number is compared with the level of its sign."""
    if reading not in (Reading.LOGIT, Reading.PROBABILITY):
        return outputs
    level = 0.5 if reading is Reading.PROBABILITY else 0.0
    values = outputs.original.center
    shifted = scaled(outputs, values.new_ones(()), values.new_tensor(-level), REAL)
    return shifted.mapped(lambda scores: F.pad(scores, (1, 0)))


def prove_box(
    certifier: Certifier,
    lower: Tensor,
    upper: Tensor,
    *,
    epsilon: float | None = None,
    seconds: float = 10.0,
) -> Row:
    """`bound` on every output's difference over a box (*shape), or None where time was too short.

    With `epsilon` the box is split until each part is within it. Without, it is split for a bound
    that is half of the last, and so on while there is time.
    """
    until = time.monotonic() + seconds
    bounds = _bounds(certifier, tuple(lower.shape))
    ends = lower.flatten().double(), upper.flatten().double()

    def within(target: float) -> Row:
        left = max(until - time.monotonic(), 0.0)
        found = covered(bounds, *ends, epsilon=target, seconds=left, together=64)
        bound = found.bound if math.isfinite(found.bound) else None
        return {"bound": bound, "boxes": found.boxes, "left": found.left, "share": found.share}

    if epsilon is not None:
        return {"epsilon": epsilon, **within(epsilon)}
    best = within(math.inf) | {"boxes": 1}
    while best["bound"] and lower.numel() <= SPLIT_INPUTS and time.monotonic() < until:
        closer = within(best["bound"] / 2)
        if closer["bound"] is None:
            break
        best = closer
    return {"epsilon": None, **best}


def _bounds(certifier: Certifier, shape: tuple[int, ...]) -> Callable[[Tensor, Tensor], Bounded]:
    """What `covered` asks for: the outputs' difference, and how each input moves it."""

    def bounds(lower: Tensor, upper: Tensor) -> Bounded:
        inputs = box(lower.unflatten(1, shape), upper.unflatten(1, shape))
        outputs = _rows_of(certifier([inputs]))
        moves = [
            block.flatten(2).abs().sum(2) * symbols.limits
            for symbols, block in outputs.difference.blocks.items()
            if symbols.name == INPUT and symbols.limits is not None
        ]
        return Bounded(difference_bound(outputs).amax(1), sum(moves, torch.zeros_like(lower)))

    return bounds


def _rows_of(outputs: Pair) -> Pair:
    """Outputs as (B, K), as `synth.outputs.as_rows` has them."""
    if outputs.original.center.dim() == 1:
        return outputs.mapped(lambda values: values.reshape(-1, 1))
    return outputs.mapped(lambda values: values.flatten(1))


def _together(certifier: Certifier, inputs: Inputs) -> int:
    """How many probes to carry at once: few, for each value has a generator for every input."""
    numbers = sum(math.prod(shape) for shape in inputs.shapes)
    widest = max(math.prod(step.layer.out_shape) for step in certifier.steps.values())
    return min(16, max(1, HELD // (numbers * widest)))


def summarised(rows: Sequence[Row], asked: int) -> Row:
    """How many of the probes are certified, and the bounds of those that were looked at."""
    bounds = sorted(row["bound"] for row in rows)
    certified, same = (sum(row[key] for row in rows) for key in ("original", "same"))
    return {
        "asked": asked,
        "done": len(rows),
        "original": certified,
        "same": same,
        "bound_median": bounds[len(bounds) // 2] if bounds else None,
        "bound_max": bounds[-1] if bounds else None,
        **searched(rows),
    }


def searched(rows: Sequence[Row]) -> Row:
    """Of rows with a `counterexample` each: how many were looked for, the largest, and how far
    bounds overshoot them."""
    looked = [row["counterexample"] for row in rows if row.get("counterexample") is not None]
    ratios = sorted(row["overshoot"] for row in rows if row.get("overshoot") is not None)
    return {
        "searched": len(looked),
        "counterexample_max": max(looked, default=None),
        "overshoot_median": ratios[len(ratios) // 2] if ratios else None,
        "overshoot_max": ratios[-1] if ratios else None,
    }
