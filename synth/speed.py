"""How fast this machine is at what a search does: matrix products, and the search of a small unit.

Takes about half a second, of which the processor's time counts: other work does not make it slower.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from grammars.grammar import Grammar
from synth.engine import UnitEvidence
from synth.engines.linear import LinearEngine
from synth.evidence import FIT, SELECT, LayerEvidence, Ranges, Sample
from synth.layers import Geometry, Head, Layer
from synth.schedule import search_unit
from synth.survey import Survey

REFERENCE = 0.09  # seconds that the small unit took where the constants of `durations` were fitted
FAN, ROWS = 8, 1000  # its weights, and its patches on fit and on select
SIZE = 512  # of the matrices
REPEATS = 3


@dataclass(frozen=True)
class Speed:
    """Operations a second of products in float32 and float64, and how many times slower than the
    machine of reference everything else is."""

    single: float
    double: float
    slowness: float


def measure(grammar: Grammar) -> Speed:
    """This machine, by one thread."""
    unit = UnitEvidence(_evidence(), 0, grammar)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            single, double = (_rate(dtype) for dtype in (torch.float32, torch.float64))
            engines = [LinearEngine()]
            seconds = _best(lambda: search_unit(unit, engines, budget=10_000, seed=0))
    finally:
        torch.set_num_threads(before)
    return Speed(single, double, seconds / REFERENCE)


def _rate(dtype: torch.dtype) -> float:
    matrix = torch.ones(SIZE, SIZE, dtype=dtype)
    return 2 * SIZE**3 / _best(lambda: matrix @ matrix)


def _best(work: Callable[[], object]) -> float:
    """Seconds of the quickest of some repeats."""
    found = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return max(min(found), 1e-6)


def _evidence() -> LayerEvidence:
    """A unit of random weights on random patches."""
    random = np.random.default_rng(0)
    shapes = (FAN, 1, 1), (1, 1, 1)
    weight, head = random.standard_normal((1, FAN)), (Head("relu"),)
    layer = Layer("unit", "source", *shapes, Geometry((1, 1)), weight, np.zeros(1), head)
    patches = random.standard_normal((2 * ROWS, FAN)).astype(np.float32)
    survey = Survey(layer)
    rows = torch.from_numpy(patches[:ROWS])
    survey.add(rows, layer.pre(rows.double()))
    constant = torch.tensor([False])
    numbers = survey.lower, survey.upper, survey.variance, survey.span, constant
    ranges = Ranges(layer, *(t.numpy() for t in numbers))
    sample = Sample(np.arange(ROWS), np.arange(ROWS), np.repeat([FIT, SELECT], ROWS))
    pre = layer.pre(patches)
    return LayerEvidence(ranges, sample, survey.moments, patches, pre, np.maximum(pre, 0))
