"""What the values of a network take in memory, weighed on a single sample."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils import _pytree as pytree

from synth.batches import Inputs, batch_size
from synth.network import Network
from synth.walk import Walk


@dataclass(frozen=True)
class Sizes:
    """Bytes of a sample: `kept[layer]` is what a walk keeps of every sample before a layer,
    `largest` the largest value and `every` all values that a network computes.

    `batch` is how many samples a walk runs at once, `outputs` the size of the judged output.
    """

    kept: Mapping[str, int]
    largest: int
    every: int
    batch: int
    outputs: int


def weigh(network: Network, inputs: Inputs) -> Sizes:
    """Walks the first of the `inputs` through the network."""
    walk = _Weighed(network, inputs.take(np.array([0])))
    kept = {}
    while walk.layer is not None:
        kept[walk.layer] = walk.weight
        walk.put(walk.layer)
    sizes = [_computed(node.meta.get("val")) for node in network.graph.nodes]
    largest = max(sizes, default=0)
    batch = batch_size(largest // 4)
    return Sizes(kept, largest, sum(sizes), batch, math.prod(walk.output().shape[1:]))


class _Weighed(Walk):
    @property
    def weight(self) -> int:
        """Bytes of all values that are kept; some are views of one storage."""
        return _stored(self._kept[0].values())


def _stored(values: Iterable[Any]) -> int:
    tensors = (leaf for leaf in pytree.tree_leaves(list(values)) if isinstance(leaf, Tensor))
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())


def _computed(value: Any) -> int:
    """Bytes of a sample of what a node computes, as its export says."""
    tensors = (leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))
    return sum(int(t.shape[1:].numel()) * t.element_size() for t in tensors if t.dim())
