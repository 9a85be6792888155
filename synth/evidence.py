"""What probes say about a layer: streamed moments, a sample of patches, envelope and ranges.

Second moments are streamed over all patches of the fit probes; of the patches themselves a bounded
sample is kept: uniform on fit and on select, and on fit the patches of largest activation and
nearest to the threshold of each unit, because a rarely active unit would otherwise be fitted on
nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from grammars.coding import Scope
from synth.layers import Head, Layer
from synth.modules import apply_heads
from synth.network import Network

FIT, EXTRA, SELECT = 0, 1, 2
SAMPLE = 20_000  # uniform patches kept of fit, and of select
EXTREMES = 32  # patches kept for each unit at its top, and as many at its threshold
BATCH = 256  # probes run at once; fixed, so that sums have one order
FLOOR = 0.02  # weight of all patches beside those that the head lets through


@dataclass(frozen=True, eq=False)
class Moments:
    """Over all fit patches x: `gram` (F+1, F+1), the mean of [x, 1][x, 1]ᵀ, and `cross` (F+1, U).

    `cross` is the mean of [x, 1] · pre, with the original units' pre-activations.
    """

    gram: np.ndarray
    cross: np.ndarray


@dataclass(frozen=True, eq=False)
class Probes:
    """The two parts of the probes that a search may see, (N, *input_shape) each."""

    fit: Tensor
    select: Tensor


@dataclass(frozen=True, eq=False)
class Sample:
    """The rows that are kept of the patches of `fit` and of `select`, and the `role` of all."""

    fit: np.ndarray
    select: np.ndarray
    role: np.ndarray


@dataclass(frozen=True, eq=False)
class LayerEvidence:
    """`patches` (n, F) float32 with `role` (n,) FIT, EXTRA or SELECT; `pre` and `target` (n, U).

    `lower` and `upper` (F,) are the envelope of all fit and select patches, zero padding included;
    `variance` and `span` (U,) are each unit's variance and range on all fit patches, and `constant`
    (U,) says whether it has one value on all patches of fit and select.
    """

    layer: Layer
    scope: Scope
    sample: Sample
    moments: Moments
    patches: np.ndarray
    role: np.ndarray
    pre: np.ndarray
    target: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    variance: np.ndarray
    span: np.ndarray
    constant: np.ndarray

    @cached_property
    def readable(self) -> np.ndarray:
        """(n, F + 2U) float64: the patches, then the siblings and their pre-activations."""
        return np.hstack([self.patches, self.target, self.pre]).astype(np.float64)

    @cached_property
    def fit(self) -> np.ndarray:
        """Rows that constants are fitted on, the extremes included."""
        return np.flatnonzero(self.role != SELECT)

    @cached_property
    def select(self) -> np.ndarray:
        """Rows that programs are judged on: uniform."""
        return np.flatnonzero(self.role == SELECT)

    @cached_property
    def judged(self) -> np.ndarray:
        """All uniform rows, of fit and of select."""
        return np.flatnonzero(self.role != EXTRA)

    def gates(self, channel: int) -> np.ndarray:
        """(n,) squared slopes of the unit's head near its pre-activation."""
        values = self.pre[:, channel].astype(np.float64)
        return _slope(self.layer.heads[channel], values, 0.25 * float(values.std())) ** 2


def scope_of(layer: Layer) -> Scope:
    """What programs of a layer's units may read."""
    columns = tuple((layer.source, c, dy, dx) for c, dy, dx in layer.columns())
    return Scope(layer.name, layer.units, columns)


def gather(network: Network, layer: Layer, probes: Probes, *, seed: int) -> LayerEvidence:
    """Evidence of a layer on the original sources."""
    survey = Survey(layer)
    for patches in _patches(network, layer, probes.fit):
        survey.add(patches, layer.pre(patches))
    low, high, count = survey.lower, survey.upper, 0
    least, most = survey.range
    for patches in _patches(network, layer, probes.select):
        low, high = np.minimum(low, patches.min(0)), np.maximum(high, patches.max(0))
        values = _activations(layer, layer.pre(patches))
        least, most = np.minimum(least, values.min(0)), np.maximum(most, values.max(0))
        count += len(patches)
    sample = survey.sample(count, seed)
    patches = _collect(network, layer, probes, sample, {})
    pre = layer.pre(patches)
    return LayerEvidence(
        layer=layer,
        scope=scope_of(layer),
        sample=sample,
        moments=survey.moments,
        patches=patches,
        role=sample.role,
        pre=pre,
        target=_activations(layer, pre),
        lower=low,
        upper=high,
        variance=survey.variance,
        span=survey.span,
        constant=least == most,
    )


def on_replaced(
    network: Network, evidence: LayerEvidence, probes: Probes, modules: Mapping[str, nn.Module]
) -> LayerEvidence:
    """The same units and rows, on the sources that `modules` compute."""
    if not modules:
        return evidence
    layer, survey = evidence.layer, Survey(evidence.layer)
    replaced = _patches(network, layer, probes.fit, modules)
    for patches, original in zip(replaced, _patches(network, layer, probes.fit), strict=True):
        survey.add(patches, layer.pre(original))
    patches = _collect(network, layer, probes, evidence.sample, modules)
    return replace(evidence, patches=patches, moments=survey.moments)


class Survey:
    """Streams over the fit patches of a layer: moments, envelope, unit statistics and extremes."""

    def __init__(self, layer: Layer) -> None:
        columns, units = layer.weight.shape[1] + 1, layer.units
        self.layer, self.count = layer, 0
        self._gram, self._cross = np.zeros((columns, columns)), np.zeros((columns, units))
        self.lower, self.upper = np.full(columns - 1, np.inf), np.full(columns - 1, -np.inf)
        self._sum, self._squares = np.zeros(units), np.zeros(units)
        self._low, self._high = np.full(units, np.inf), np.full(units, -np.inf)
        self._top, self._near = _Extremes(units), _Extremes(units)

    def add(self, patches: np.ndarray, pre: np.ndarray) -> None:
        """A batch of patches (n, F) and of the original units' pre-activations (n, U)."""
        rows = np.hstack([patches.astype(np.float64), np.ones((len(patches), 1))])
        values = _activations(self.layer, pre)
        self._gram += rows.T @ rows
        self._cross += rows.T @ pre
        self.lower = np.minimum(self.lower, patches.min(0))
        self.upper = np.maximum(self.upper, patches.max(0))
        self._sum += values.sum(0)
        self._squares += (values**2).sum(0)
        self._low = np.minimum(self._low, values.min(0))
        self._high = np.maximum(self._high, values.max(0))
        self._top.add(pre, self.count)
        self._near.add(-np.abs(pre), self.count)
        self.count += len(patches)

    @property
    def moments(self) -> Moments:
        return Moments(self._gram / self.count, self._cross / self.count)

    @property
    def variance(self) -> np.ndarray:
        """(U,) variances; exactly zero for a constant unit, whatever the rounding of the sums."""
        spread = self._squares / self.count - (self._sum / self.count) ** 2
        return np.where(self.span > 0, np.maximum(spread, np.finfo(float).tiny), 0.0)

    @property
    def range(self) -> tuple[np.ndarray, np.ndarray]:
        """(U,) least and largest activations."""
        return self._low, self._high

    @property
    def span(self) -> np.ndarray:
        return self._high - self._low

    def sample(self, select: int, seed: int) -> Sample:
        """Uniform rows of fit and of `select` rows, and the extremes of fit beside them."""
        generator = np.random.default_rng(seed)
        fit, judged = (_uniform(n, generator) for n in (self.count, select))
        extremes = np.union1d(self._top.rows, self._near.rows)
        extra = np.setdiff1d(extremes[extremes >= 0], fit)
        order = np.argsort(np.concatenate([fit, extra]), kind="stable")
        role = np.concatenate([np.full(len(fit), FIT), np.full(len(extra), EXTRA)])[order]
        rows = np.concatenate([fit, extra])[order]
        return Sample(rows, judged, np.concatenate([role, np.full(len(judged), SELECT)]))


class _Extremes:
    """The rows of the largest values of each unit, over a stream."""

    def __init__(self, units: int) -> None:
        self.values = np.full((EXTREMES, units), -np.inf)
        self.rows = np.full((EXTREMES, units), -1)

    def add(self, values: np.ndarray, offset: int) -> None:
        ids = np.broadcast_to(np.arange(offset, offset + len(values))[:, None], values.shape)
        pool, rows = np.vstack([self.values, values]), np.vstack([self.rows, ids])
        order = np.argsort(-pool, axis=0, kind="stable")[:EXTREMES]
        self.values = np.take_along_axis(pool, order, 0)
        self.rows = np.take_along_axis(rows, order, 0)


def _activations(layer: Layer, pre: np.ndarray) -> np.ndarray:
    return apply_heads(layer.heads, torch.from_numpy(pre)).numpy()


def _uniform(count: int, generator: np.random.Generator) -> np.ndarray:
    if count <= SAMPLE:
        return np.arange(count)
    return np.sort(generator.choice(count, SAMPLE, replace=False))


def _patches(
    network: Network, layer: Layer, probes: Tensor, modules: Mapping[str, nn.Module] | None = None
) -> Iterator[np.ndarray]:
    """The layer's patches (n, F), a batch of probes at a time."""
    for batch in probes.split(BATCH):
        maps = network.record(batch, [layer.source], modules=modules)[layer.source]
        yield layer.geometry.patches(maps).numpy()


def _collect(
    network: Network,
    layer: Layer,
    probes: Probes,
    sample: Sample,
    modules: Mapping[str, nn.Module],
) -> np.ndarray:
    """The sampled patches (n, F), those of fit first."""
    parts = []
    for tensor, rows in ((probes.fit, sample.fit), (probes.select, sample.select)):
        start = 0
        for patches in _patches(network, layer, tensor, modules):
            inside = rows[(rows >= start) & (rows < start + len(patches))]
            parts.append(patches[inside - start])
            start += len(patches)
    return np.concatenate(parts)


def _slope(head: Head, values: np.ndarray, margin: float) -> np.ndarray:
    """The steepest slope of a head within `margin` of each value."""
    step = max(margin, 1e-6) / 4
    grid = values[:, None] + step * np.arange(-4, 5)
    outputs = apply_heads([head], torch.from_numpy(grid.reshape(-1, 1))).numpy().reshape(grid.shape)
    return np.abs(np.diff(outputs, axis=1)).max(1) / step
