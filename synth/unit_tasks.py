"""Tasks over the units of a layer beside their search."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from synth.engine import UnitEvidence

Task = Callable[[UnitEvidence], Any]
"""What is to be known of a unit. It may be sent to other processes, and its result comes back."""

EachUnit = Callable[[Task, Sequence[int]], dict[int, Any]]
"""The results of a task by channel, in order; of units that workers failed at there are none."""


def done(task: Task, unit: UnitEvidence) -> Any:
    """The result for one unit, by one thread, so that it is the same everywhere."""
    torch.set_num_threads(1)
    with threadpool_limits(limits=1), np.errstate(all="ignore"):
        return task(unit)
