"""What a deep program may be of: the units of a layer, or the values of any bank behind it."""

import numpy as np
from torch import fx

from synth.heads import heads
from synth.layers import Geometry, Head, Layer, Shape, as_maps
from synth.network import Network
from synth.parts import LayerNodes


def target_of(network: Network, bank: str) -> tuple[Layer, LayerNodes]:
    """A bank as a layer, and where that lies in the graph.

    Of a layer these are its own. Another bank, such as the sum at the end of a residual block, has
    units that read one number each: under its head where it is an activation, else as it is.
    """
    if bank in network.nodes:
        return network.layer(bank), network.nodes[bank]
    node = network.node(network.banks[bank])
    shape = shape_of(node)
    read, units = _under(network, node, shape)
    nodes = LayerNodes(node.name, node.name, read.name)
    layer = Layer(
        name=bank,
        source=bank,
        in_shape=shape,
        out_shape=shape,
        geometry=Geometry((1, 1)),
        weight=np.ones((shape[0], 1)),
        bias=np.zeros(shape[0]),
        heads=units,
        groups=shape[0],
    )
    return layer, nodes


def shape_of(node: fx.Node) -> Shape:
    """(C, H, W) of the maps that a node holds."""
    channels, height, width = as_maps(node.meta["val"]).shape[1:]
    return int(channels), int(height), int(width)


def _under(network: Network, node: fx.Node, shape: Shape) -> tuple[fx.Node, tuple[Head, ...]]:
    """The node of the pre-activations of a bank, and the heads of its units."""
    found = heads(node, network.runner.constants, shape[0]) if node.op == "call_function" else None
    if found is None:
        return node, (Head("identity"),) * shape[0]
    return node.all_input_nodes[0], found
