"""How long a replacement takes beside its original: both on the same batch, by turns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from synth.assembly import LayerChoice
from synth.batches import Batch
from synth.replacement import replacement_of

if TYPE_CHECKING:
    from synth.job import Job

PAIRS = 21  # of forward passes, at least,
SECONDS = 1.0  # and as many as fit in this time,
WARM = 3  # after some that are not counted


@dataclass(frozen=True)
class Pace:
    """Median seconds of a forward pass of `batch` probes, and the quartiles and the median of what
    the replacement takes in times of the original, pair by pair."""

    batch: int
    original: float
    replaced: float
    ratio: float
    low: float
    high: float


def paces(job: "Job", choices: Sequence[LayerChoice], sizes: Sequence[int]) -> list[Pace]:
    """Original and replacement, as modules, on batches of fit probes, repeated where too few."""
    modules = job.network.module, replacement_of(job, choices)
    inputs = job.parts.fit.inputs
    return [
        _pace(*modules, inputs.take(np.arange(size) % len(inputs)).batch(), size) for size in sizes
    ]


def _pace(
    original: Callable[..., object], replaced: Callable[..., object], batch: Batch, size: int
) -> Pace:
    pairs, start = list[tuple[float, float]](), time.perf_counter()
    with torch.inference_mode():
        while len(pairs) < WARM + PAIRS or time.perf_counter() < start + SECONDS:
            pairs.append((_seconds(original, batch), _seconds(replaced, batch)))
    first, second = np.array(pairs[WARM:]).T
    low, middle, high = np.quantile(second / first, (0.25, 0.5, 0.75))
    return Pace(size, *map(float, (np.median(first), np.median(second), middle, low, high)))


def _seconds(module: Callable[..., object], batch: Batch) -> float:
    start = time.perf_counter()
    module(*batch)
    if batch[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
