"""Corrupted probes: does a replacement fail where the original does?

Corruptions as in ImageNet-C (Hendrycks and Dietterich 2019), in strengths that mean the same for
inputs of any range: noise in standard deviations of the probes, blur in pixels, contrast as what is
left of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from synth.batches import Inputs

NOISES, BLURS, CONTRASTS = (0.1, 0.2, 0.4), (0.5, 1.0, 2.0), (0.5, 0.25)

Corrupt = Callable[[np.ndarray], np.ndarray]
"""From probes (N, ...) of one input to corrupted ones."""


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption and its strength."""

    kind: str
    strength: float
    apply: Corrupt

    def of(self, inputs: Inputs) -> Inputs:
        """The samples corrupted, within the range of the probes, as float32."""
        whole = (part.cpu().numpy() for part in inputs.batch())
        changed = [
            np.clip(self.apply(values), values.min(), values.max()).astype(np.float32)
            for values in whole
        ]
        return Inputs(changed, device=inputs.device)


def corruptions(inputs: Inputs, seed: int) -> Iterator[Corruption]:
    """All that can be done to some inputs: blur needs maps."""
    for strength in NOISES:
        yield Corruption("noise", strength, partial(_noise, strength, seed))
    for strength in BLURS if all(len(shape) == 3 for shape in inputs.shapes) else ():
        yield Corruption("blur", strength, partial(_blur, strength))
    for strength in CONTRASTS:
        yield Corruption("contrast", strength, partial(_contrast, strength))


def _noise(strength: float, seed: int, values: np.ndarray) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal(values.shape)
    return values + strength * values.std() * drawn


def _blur(strength: float, values: np.ndarray) -> np.ndarray:
    return gaussian_filter(values, (0.0, 0.0, strength, strength), mode="nearest")


def _contrast(strength: float, values: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, values.ndim))
    mean = values.mean(axes, keepdims=True)
    return mean + strength * (values - mean)
