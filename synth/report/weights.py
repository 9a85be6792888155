"""The weights of units over maps, and of their programs, from the files beside certificates."""

from typing import Any

import numpy as np
from safetensors import safe_open

from grammars.hoist import hoist
from synth.folder import Finished
from synth.report.pictures import kernels
from synth.reread import Reread

Row = dict[str, Any]

FILE = "units.safetensors"


def weights_of(run: Finished, layer: str) -> np.ndarray | None:
    """The weights (U, C, h, w) of a layer that reads maps through a window of several places; None
    of other layers, of directions, and where nothing is claimed."""
    path = run.folder / FILE
    if not path.exists() or "bank" in run.layers[layer][0]:
        return None
    known = run.certified["layers"].get(layer)
    if known is None or len(known["rows"]) * len(known["columns"]) == 1:
        return None
    with safe_open(str(path), framework="numpy") as file:
        weight = file.get_tensor(f"{layer}.weight")
    shape = known["channels"], len(known["rows"]), len(known["columns"])
    return weight.reshape(len(weight), *shape).astype(np.float64)


def drawn(weight: np.ndarray, channel: int, programs: Reread | None, written: bool) -> Row:
    """The kernels of one unit, beside those of its program where it is `written` as one sum."""
    found = programs and written and _of_program(programs, channel)
    return kernels(weight[channel], found if isinstance(found, np.ndarray) else None)


def _of_program(programs: Reread, channel: int) -> np.ndarray | None:
    """The weights (C, h, w) of a program; None if it is no head over one weighted sum."""
    try:
        rows = hoist(programs.plain(channel), programs.grammar).rows
    except (ValueError, KeyError, TypeError, AttributeError):  # an edited file
        return None
    if len(rows) > 1:
        return None
    down, right = programs.known["rows"], programs.known["columns"]
    result = np.zeros((programs.known["channels"], len(down), len(right)))
    for _, source, dy, dx, value in ((*key, w) for row in rows for key, w in row.weights.items()):
        result[source, down.index(dy), right.index(dx)] = float(value)
    return result
