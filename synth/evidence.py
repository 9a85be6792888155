"""What probes say about a layer: streamed moments, a sample of patches, envelope and ranges.

Second moments are streamed over all patches of the fit probes; of the patches themselves a bounded
sample is kept: uniform on fit and on select, and on fit the patches of largest activation and
nearest to the threshold of each unit, because a rarely active unit would otherwise be fitted on
nothing. Layers are visited in order and let go, so that memory is bounded by one of them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grammars.scope import Scope
from synth.batches import Inputs, batch_size
from synth.layers import Head, Layer
from synth.modules import apply_heads
from synth.network import Network
from synth.survey import CHUNK_FLOATS, Moments, Survey, activations, row_bytes
from synth.threads import each
from synth.walk import Walk

FIT, EXTRA, SELECT = 0, 1, 2
SAMPLE = 20_000  # uniform patches kept of fit, and of select
SAMPLE_BYTES = 2**25  # at most, with the activations beside them, for either
LEAST = 2048  # patches that are kept in any case

Maps = Callable[[], Iterable[Tensor]]
"""The maps (N, C, H, W) of a source, a batch at a time: they are read more than once."""

Pre = Callable[[Tensor], Tensor]
"""The pre-activations (N·h·w, U) float64 of units from maps (N, C, H, W) of their source, in the
order of patches."""


@dataclass(frozen=True, eq=False)
class Probes:
    """The two parts of the probes that a search may see."""

    fit: Inputs
    select: Inputs


@dataclass(frozen=True, eq=False)
class Sample:
    """The rows that are kept of the patches of `fit` and of `select`, and the `role` of all."""

    fit: np.ndarray
    select: np.ndarray
    role: np.ndarray


@dataclass(frozen=True, eq=False)
class Ranges:
    """What is known of a layer when its patches are gone.

    `lower` and `upper` (width,) are the envelope of all fit and select patches, zero padding
    included; `variance` and `span` (U,) are each unit's variance and range on all fit patches, and
    `constant` (U,) says whether it has one value on all patches of fit and select: its float64
    activations are equal, or no column moves that it has a weight for, and then they differ by the
    rounding of sums alone.
    """

    layer: Layer
    lower: np.ndarray
    upper: np.ndarray
    variance: np.ndarray
    span: np.ndarray
    constant: np.ndarray


@dataclass(frozen=True, eq=False)
class LayerEvidence:
    """`patches` (n, width) float32 with `role` (n,) FIT, EXTRA or SELECT; `pre` and `target` (n, U)
    float64, the units' pre-activations and activations there.

    The target of a constant unit is one number, the float32 nearest to its float64 activation: that
    is what the network computes, but for a rounding, and what a constant in its place can be.
    """

    ranges: Ranges
    sample: Sample
    moments: Moments
    patches: np.ndarray
    pre: np.ndarray
    target: np.ndarray

    @property
    def layer(self) -> Layer:
        return self.ranges.layer

    @property
    def role(self) -> np.ndarray:
        return self.sample.role

    @property
    def scope(self) -> Scope:
        return self.layer.scope

    @cached_property
    def wide(self) -> np.ndarray:
        """The patches in float64, in which programs are judged."""
        return self.patches.astype(np.float64)

    @cached_property
    def likeness(self) -> np.ndarray:
        """(U, U) means of the products of pre-activations on fit: which units are siblings."""
        rows = self.pre[self.fit]
        return rows.T @ rows / len(rows)

    @cached_property
    def fit(self) -> np.ndarray:
        """Rows that constants are fitted on, the extremes included."""
        return np.flatnonzero(self.role != SELECT)

    @cached_property
    def select(self) -> np.ndarray:
        """Rows that programs are judged on: uniform."""
        return np.flatnonzero(self.role == SELECT)

    @cached_property
    def uniform(self) -> np.ndarray:
        """The uniform rows of fit."""
        return np.flatnonzero(self.role == FIT)

    def gates(self, channel: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Squared slopes of the unit's head near its pre-activation, (n,) or at some rows."""
        values = self.pre[:, channel]
        margin = 0.25 * float(values.std())
        at = values if rows is None else values[rows]
        return _slope(self.layer.heads[channel], at, margin) ** 2


def gather(
    network: Network, probes: Probes, *, seed: int, layers: Collection[str] | None = None
) -> Iterator[LayerEvidence]:
    """Evidence of every layer, or of some, on the original sources, in order, one at a time."""
    walks, wanted = Walks(network, probes), [la.name for la in network.layers]
    if layers is not None:
        wanted = [name for name in wanted if name in layers]
    for layer in network.layers:
        if not wanted:
            return  # nobody asks for what comes behind
        if layer.name == wanted[0]:
            yield walks.evidence(layer, seed=seed)
            wanted.pop(0)
        walks.put(layer.name)


class Walks:
    """Fit and select on their way through a network, whose layers may be replaced as they go."""

    def __init__(self, network: Network, probes: Probes) -> None:
        size = batch_size(_largest(network))
        self.fit, self.select = (Walk(network, p, size=size) for p in (probes.fit, probes.select))

    def put(self, layer: str, module: torch.nn.Module | None = None) -> None:
        """Go past a layer, by a module or as it is."""
        self.fit.put(layer, module)
        self.select.put(layer, module)

    def evidence(self, layer: Layer, *, seed: int) -> LayerEvidence:
        """Evidence of the layer that the walks stand before."""
        maps = (partial(walk.source, layer.name) for walk in (self.fit, self.select))
        return evidence_of(layer, *maps, seed=seed)

    def patches(self, layer: Layer, sample: Sample) -> np.ndarray:
        """The sampled patches (n, width), those of fit first, of the layer that stands next."""
        pairs = ((self.fit, sample.fit), (self.select, sample.select))
        parts = [_picked(layer, walk.source(layer.name), rows) for walk, rows in pairs]
        return np.concatenate(parts)


def evidence_of(
    layer: Layer, fit: Maps, select: Maps, *, seed: int, through: Pre | None = None
) -> LayerEvidence:
    """Evidence of a layer whose source has these maps on fit and on select.

    Its units are computed by its weights, or `through` something else.
    """
    passes: list[Callable[[], Any]] = [
        lambda: _surveyed(layer, fit(), through),
        lambda: _seen(layer, select(), through),
    ]
    survey, seen = each(lambda one: one(), passes)
    ranges, count = _ranges(layer, survey, seen), seen.count
    sample = _sample(survey, count, seed)
    pairs = ((fit, sample.fit), (select, sample.select))
    patches = np.concatenate([_picked(layer, maps(), rows) for maps, rows in pairs])
    if through is None:
        pre = layer.pre(patches)
    else:
        pre = np.concatenate([_passed(layer, maps(), rows, through) for maps, rows in pairs])
    target = activations(layer, torch.from_numpy(pre)).numpy()
    target[:, ranges.constant] = target[0, ranges.constant].astype(np.float32) + 0.0  # no −0
    return LayerEvidence(ranges, sample, survey.moments, patches, pre, target)


def kept_rows(layer: Layer) -> int:
    """How many uniform patches are kept of fit, and of select, where there are so many."""
    return max(LEAST, min(SAMPLE, SAMPLE_BYTES // row_bytes(layer)))


@dataclass(frozen=True)
class _Seen:
    """Of `count` patches the least and largest columns (width,) and activations (U,)."""

    count: int
    lower: Tensor
    upper: Tensor
    low: Tensor
    high: Tensor


def _surveyed(layer: Layer, fit: Iterable[Tensor], through: Pre | None) -> Survey:
    survey = Survey(layer)
    for patches, pre in _rows(layer, fit, through):
        survey.add(patches, pre)
    return survey


def _seen(layer: Layer, select: Iterable[Tensor], through: Pre | None) -> _Seen:
    ends, count = [], 0
    for patches, pre in _rows(layer, select, through):
        values = activations(layer, pre)
        ends.append((patches.amin(0), patches.amax(0), values.amin(0), values.amax(0)))
        count += len(patches)
    lower, upper, low, high = (torch.stack(parts) for parts in zip(*ends, strict=True))
    return _Seen(count, lower.amin(0), upper.amax(0), low.amin(0), high.amax(0))


def _ranges(layer: Layer, survey: Survey, seen: _Seen) -> Ranges:
    low, high = torch.minimum(survey.lower, seen.lower), torch.maximum(survey.upper, seen.upper)
    least, most = torch.minimum(survey.low, seen.low), torch.maximum(survey.high, seen.high)
    constant = (least == most) | _still(layer, low < high)
    spread = (torch.where(constant, 0.0, t) for t in (survey.variance, survey.span))
    numbers = (low, high, *spread, constant)
    return Ranges(layer, *(t.cpu().numpy() for t in numbers))


def _still(layer: Layer, moves: Tensor) -> Tensor:
    """(U,) the units that have no weight for any column of those (width,) that move."""
    if not layer.affine:
        return (~moves.any()).repeat(layer.units)
    weight = torch.tensor(layer.weight, device=moves.device)
    parts = [moves[layer.part(c)] for c in range(layer.units)]
    return torch.stack([~(weight[c] != 0)[part].any() for c, part in enumerate(parts)])


def _rows(
    layer: Layer, sources: Iterable[Tensor], through: Pre | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The layer's patches (n, width), and its units' pre-activations (n, U) float64 there."""
    for maps in _parts(layer, sources):
        patches = layer.geometry.patches(maps)
        yield patches, through(maps) if through else layer.pre(patches.double())


def _parts(layer: Layer, sources: Iterable[Tensor]) -> Iterator[Tensor]:
    """Maps of the layer's source, so few at a time that their patches stay small."""
    places = layer.out_shape[1] * layer.out_shape[2]
    size = max(1, CHUNK_FLOATS // (places * max(layer.width, layer.units)))
    for maps in sources:
        yield from maps.split(size)


def _picked(layer: Layer, sources: Iterable[Tensor], rows: np.ndarray) -> np.ndarray:
    """The patches (m, width) at sorted `rows`, counted over all samples and positions."""
    places = layer.out_shape[1] * layer.out_shape[2]
    wanted, start, parts = torch.tensor(rows), 0, []
    for maps in sources:
        stop = start + len(maps) * places
        low, high = np.searchsorted(rows, [start, stop])
        for part in (wanted[low:high] - start).split(max(1, CHUNK_FLOATS // layer.width)):
            parts.append(layer.geometry.patches_at(maps, part.to(maps.device)).cpu())
        start = stop
    return torch.cat(parts).numpy()


def _passed(layer: Layer, sources: Iterable[Tensor], rows: np.ndarray, through: Pre) -> np.ndarray:
    """The pre-activations (m, U) at sorted `rows`, counted over all samples and positions."""
    places, start, parts = layer.out_shape[1] * layer.out_shape[2], 0, []
    for maps in _parts(layer, sources):
        stop = start + len(maps) * places
        low, high = np.searchsorted(rows, [start, stop])
        if low < high:
            parts.append(through(maps)[rows[low:high] - start].cpu())
        start = stop
    return torch.cat(parts).numpy()


def _sample(survey: Survey, select: int, seed: int) -> Sample:
    """Uniform rows of fit and of `select` rows, and the extremes of fit beside them."""
    generator = np.random.default_rng(seed)
    kept = kept_rows(survey.layer)
    fit, judged = (_uniform(n, kept, generator) for n in (survey.count, select))
    extra = np.setdiff1d(survey.extremes, fit)
    order = np.argsort(np.concatenate([fit, extra]), kind="stable")
    role = np.concatenate([np.full(len(fit), FIT), np.full(len(extra), EXTRA)])[order]
    rows = np.concatenate([fit, extra])[order]
    return Sample(rows, judged, np.concatenate([role, np.full(len(judged), SELECT)]))


def _uniform(count: int, kept: int, generator: np.random.Generator) -> np.ndarray:
    if count <= kept:
        return np.arange(count)
    return np.sort(generator.choice(count, kept, replace=False))


def _slope(head: Head, values: np.ndarray, margin: float) -> np.ndarray:
    """The steepest slope of a head within `margin` of each value."""
    step = max(margin, 1e-6) / 4
    grid = values[:, None] + step * np.arange(-4, 5)
    outputs = apply_heads([head], torch.from_numpy(grid.reshape(-1, 1))).numpy().reshape(grid.shape)
    return np.abs(np.diff(outputs, axis=1)).max(1) / step


def _largest(network: Network) -> int:
    """How many numbers the largest value in the graph has, for one sample."""
    values = (node.meta.get("val") for node in network.graph.nodes)
    sizes = [v.shape[1:].numel() for v in values if isinstance(v, Tensor) and v.dim()]
    return max((int(s) for s in sizes), default=1)
