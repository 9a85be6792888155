"""Hypothesis strategies: small layers of any geometry and groups, and maps that they read."""

import numpy as np
import torch
from hypothesis import strategies as st
from small import HEADS
from torch import Tensor

from synth.layers import Geometry, Layer


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


geometries = st.builds(Geometry, pairs(1, 3), pairs(1, 3), pairs(1, 2), pairs(0, 2))
seeds = st.integers(0, 2**31)
GROUPS = st.integers(1, 3)


@st.composite
def sizes(draw: st.DrawFn, geometry: Geometry) -> tuple[int, int]:
    """Rows and columns of a map that the window fits into."""
    axes = zip(geometry.window, geometry.dilation, geometry.padding, strict=True)
    least = [max(1, (k - 1) * d + 1 - 2 * p) for k, d, p in axes]
    rows, columns = (draw(st.integers(n, n + 3)) for n in least)
    return rows, columns


@st.composite
def layers(draw: st.DrawFn, *, groups: st.SearchStrategy[int] = GROUPS) -> Layer:
    """A layer of one or several groups, depthwise ones among them, under heads of all kinds."""
    geometry = draw(geometries)
    count = draw(groups)
    channels, units = (count * draw(st.integers(1, 3)) for _ in range(2))
    size = draw(sizes(geometry))
    generator = np.random.default_rng(draw(seeds))
    fan = channels // count * geometry.window[0] * geometry.window[1]
    return Layer(
        name="layer",
        source="source",
        in_shape=(channels, *size),
        out_shape=(units, *geometry.out_size(*size)),
        geometry=geometry,
        weight=generator.standard_normal((units, fan)),
        bias=generator.standard_normal(units),
        heads=tuple(draw(st.sampled_from(HEADS)) for _ in range(units)),
        groups=count,
    )


def maps_of(layer: Layer, seed: int, *, samples: int = 4) -> Tensor:
    """Random maps (samples, C, H, W) of a layer's source."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, *layer.in_shape, generator=generator)
