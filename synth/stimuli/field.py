"""Where a layer looks: the place in the middle of its maps, and the pixels that it sees."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from synth.batches import Inputs
from synth.errors import InputError
from synth.layers import Layer
from synth.network import Network

SAMPLES = 16  # probes, and as many of noise, that a receptive field is traced with


@dataclass(frozen=True)
class Field:
    """The receptive field of one place (row, column) of a layer's maps: its centre in pixels of
    the input, which may lie between two, and its size in rows and columns."""

    place: tuple[int, int]
    centre: tuple[float, float]
    size: tuple[int, int]

    @property
    def side(self) -> float:
        """The longer of its sides."""
        return float(max(self.size))


def field_of(
    network: Network,
    layer: Layer,
    probes: Inputs,
    *,
    place: tuple[int, int] | None = None,
    seed: int = 0,
) -> Field:
    """The field of a place, by default in the middle: what any unit's gradient reaches, on some
    probes and on noise between their least and largest value.

    Raises InputError for a layer that has no place in the image.
    """
    if layer.in_shape[1:] == (1, 1):
        raise InputError(
            f"layer {layer.name!r} has no space: it reads {layer.in_shape[0]} numbers that have no "
            "place in the image. Name a layer that reads maps, or the image."
        )
    place = place or ((layer.out_shape[1] - 1) // 2, (layer.out_shape[2] - 1) // 2)
    reached = _reached(up_to(network, layer.name), layer, place, _traced(probes, seed))
    if not reached.any():
        raise InputError(f"no unit of layer {layer.name!r} moves with the image.")
    rows, columns = (np.flatnonzero(reached.any(axis)) for axis in (1, 0))
    centre = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    size = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    return Field(place, (float(centre[0]), float(centre[1])), size)


def up_to(network: Network, layer: str) -> Network:
    """A network that ends with a layer, and computes nothing that it does not need."""
    module = copy.deepcopy(network.module)
    last = next(n for n in module.graph.nodes if n.name == network.banks[layer])
    module.graph.output_node().args = ((last,),)
    module.graph.eliminate_dead_code()
    left = {node.name for node in module.graph.nodes}
    banks = {bank: node for bank, node in network.banks.items() if node in left}
    layers = tuple(la for la in network.layers if la.name in banks)
    nodes = {la.name: network.nodes[la.name] for la in layers}
    return replace(network, module=module, layers=layers, banks=banks, nodes=nodes, judged=0)


def _traced(probes: Inputs, seed: int) -> torch.Tensor:
    """Pictures (n, C, H, W) to trace gradients on: where a probe leaves a unit at rest, noise may
    not."""
    (seen,) = probes.take(np.arange(min(SAMPLES, len(probes)))).batch()
    generator = np.random.default_rng(seed)
    noise = generator.uniform(float(seen.min()), float(seen.max()), size=tuple(seen.shape))
    return torch.cat([seen, torch.from_numpy(noise).to(seen)])


def _reached(
    network: Network, layer: Layer, place: tuple[int, int], images: torch.Tensor
) -> np.ndarray:
    """Which pixels (H, W) the units at a place depend on."""
    (source,) = network.input_names
    found = network.record(images, [source, layer.name], grad=True, to_end=False)
    units = found[layer.name][:, :, place[0], place[1]]
    generator = torch.Generator().manual_seed(0)  # so that no two units cancel
    weights = torch.rand(units.shape[1], generator=generator).to(units) + 0.5
    (gradient,) = torch.autograd.grad((units * weights).sum(), found[source])
    return (gradient != 0).any(1).any(0).cpu().numpy()
