"""Rewrite an exported graph, exactly, so that few forms are left to read.

After it a linear operation is a convolution, or a dense layer on (N, F); arithmetic has its
constant second; and what merely moves axes does not stand between a unit and its activation.
"""

from collections.abc import Mapping, Sequence

from torch import fx

from synth.nodes import schema_name
from synth.operations import CONVOLUTIONS, ELEMENTWISE, constants
from synth.rewrites import (
    Rewrite,
    Writer,
    activation_first,
    constant_first,
    dense_on_axes,
    first_of_several,
    gated_by_itself,
    jump_at_zero,
    one_permutation,
    plain_convolution,
    product,
    product_and_sum,
    sum_after_dense,
    unequal_padding,
)

Table = Mapping[str, Sequence[Rewrite]]

FORMS: Table = {
    "matmul": (product,),
    "mm": (product,),
    "addmm": (product_and_sum,),
    "add": (constant_first, sum_after_dense),
    "mul": (constant_first, gated_by_itself),
    "convolution": (plain_convolution,),
    **dict.fromkeys(CONVOLUTIONS, (unequal_padding,)),
    "getitem": (first_of_several,),
    "heaviside": (jump_at_zero,),
}
"""Other forms of the operations that are read; sums must join dense layers before axes move."""

AXES: Table = {
    "linear": (dense_on_axes,),
    "permute": (one_permutation,),
    "transpose": (one_permutation,),
    **dict.fromkeys(ELEMENTWISE, (activation_first,)),
}
"""Dense layers on other tensors than (N, F), and what moves axes around them."""


def normalise(module: fx.GraphModule) -> None:
    """Rewrite the graph in place by each table, until no pattern of it is left."""
    graph, known = module.graph, set(constants(module))
    for table in (FORMS, AXES):
        while sum(_rewrite(graph, node, known, table) for node in list(graph.nodes)):
            graph.eliminate_dead_code()
    module.recompile()


def _rewrite(graph: fx.Graph, node: fx.Node, known: set[fx.Node], table: Table) -> bool:
    """Apply the first rewrite whose pattern the node is."""
    if node.op != "call_function" or node in known or not node.users:
        return False
    for rewrite in table.get(schema_name(node), ()):
        new = rewrite(Writer(graph, node, known), node)
        if new is not None:
            node.replace_all_uses_with(new)
            return True
    return False
