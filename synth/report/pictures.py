"""Numbers as pictures: small integers that the page draws on a canvas."""

import base64
import math
from typing import Any

import numpy as np

Row = dict[str, Any]

LEVELS = 127  # of either sign
CHANNELS = 16  # of a kernel that are drawn: those of the largest weights
SIDE = 32  # pixels of a patch that are drawn along an axis, at most


def rounded(value: float | None, digits: int = 4) -> float | None:
    """A figure as the page needs it; None for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def kernels(unit: np.ndarray, program: np.ndarray | None) -> Row:
    """The weights (C, h, w) of a unit, of its program and of their difference, on one scale.

    `scale` is the weight that the largest level stands for. Of many channels only those are drawn
    where the unit or the program has the largest weights, in order.
    """
    pair = [unit] if program is None else [unit, program]
    sizes = np.max([np.abs(k).max((1, 2)) for k in pair], axis=0)
    drawn = np.sort(np.argsort(-sizes, kind="stable")[:CHANNELS])
    scale = float(sizes.max()) or 1.0
    shown = {"unit": unit, "program": program}
    shown["difference"] = None if program is None else unit - program
    levels = {
        kind: None if k is None else np.rint(k[drawn] / scale * LEVELS).astype(int).ravel().tolist()
        for kind, k in shown.items()
    }
    _, rows, columns = unit.shape
    shape = {"channels": drawn.tolist(), "of": len(unit), "rows": rows, "columns": columns}
    return {**shape, "scale": rounded(scale), **levels}


def patch(picture: np.ndarray, low: float, high: float, side: int) -> Row:
    """A picture (1 or 3, h, w) as bytes of grey or of red, green and blue, row by row, in base64.

    `low` is black and `high` white; every n-th pixel of one that is larger than `side`.
    """
    step = -(-max(picture.shape[1:]) // side)
    small = picture[:, ::step, ::step]
    levels = np.clip((small - low) / ((high - low) or 1.0) * 255, 0, 255).astype(np.uint8)
    pixels = base64.b64encode(levels.transpose(1, 2, 0).tobytes()).decode()
    return {"rows": small.shape[1], "columns": small.shape[2], "colours": len(small), "px": pixels}


def side_for(count: int, colours: int, most: int) -> int:
    """How large `count` patches may be drawn that take `most` bytes together."""
    return max(8, min(SIDE, math.isqrt(int(most / max(count, 1) / colours))))
