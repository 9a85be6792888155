"""The other side of a fit in a process of its own: limits first, then the fit, then the reply.

Nothing of torch is imported here: it and Julia do not live in one process.
"""

import json
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

REQUEST, ARRAYS, REPLY = "request.json", "arrays.npz", "reply.json"
SPARE = 5  # seconds of work that an orphan may go on for, beyond what it was given

Fit = Callable[[Mapping[str, Any], np.ndarray, np.ndarray], Any]
"""(options, inputs (n, F), target (n,)) → what can be written as JSON."""


def serve(fit: Fit) -> None:
    """Does what the folder that the command line names asks for, and leaves the reply there."""
    folder = Path(sys.argv[1])
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    limited(request["seconds"], request["memory_mib"])
    with np.load(folder / ARRAYS) as arrays:
        reply = fit(request["options"], arrays["inputs"], arrays["target"])
    (folder / REPLY).write_text(json.dumps(reply), encoding="utf-8")


def limited(seconds: float, memory_mib: int) -> None:
    """Lets this process work for so long and allocate so much."""
    work, data = int(seconds) + SPARE, memory_mib * 2**20
    resource.setrlimit(resource.RLIMIT_CPU, (work, work))
    if memory_mib:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (min(data, hard) if hard > 0 else data, hard))
