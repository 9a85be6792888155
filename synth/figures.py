"""Figures as `summary.json` says them."""

import math
from typing import Any

from torch import Tensor

from synth.outputs import accuracy, agreement, kl_divergence, reading_of


def distances(original: Tensor, outputs: Tensor, labels: Tensor | None) -> dict[str, Any]:
    """How far the outputs (N, K) of a replacement are from the original's."""
    reading = reading_of(original)
    return {
        "kl_mean": float(kl_divergence(original, outputs, reading).mean()),
        "agreement": agreement(original, outputs, reading),
        "accuracy": None if labels is None else accuracy(outputs, labels, reading),
    }


def finite(value: Any) -> Any:
    """JSON has no infinity: an infinite figure is null, at any depth."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
