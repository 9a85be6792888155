"""Questions to a node of an exported graph: its operation, arguments, place and readers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

DROPOUTS = frozenset({"dropout", "feature_dropout", "alpha_dropout"})
IDENTITIES = DROPOUTS | {"alias", "clone", "detach", "contiguous", "lift_fresh", "lift_fresh_copy"}
RESHAPES = frozenset(
    {"flatten", "unflatten", "view", "_unsafe_view", "reshape", "squeeze", "unsqueeze"}
)


def schema_name(node: fx.Node) -> str:
    """Short name of a node's operation: "conv2d" for aten, "library::name" for another's.

    "" for a node that is no operation.
    """
    if isinstance(node.target, OpOverload):
        return node.target._schema.name.removeprefix("aten::")
    return "" if isinstance(node.target, str) else node.target.__name__


def arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of an aten node by the names of its schema, defaults included."""
    assert isinstance(node.target, OpOverload)
    schema = node.target._schema.arguments
    values = {a.name: a.default_value for a in schema if a.has_default_value()}
    values.update((a.name, value) for a, value in zip(schema, node.args, strict=False))
    return values | node.kwargs


def is_identity(node: fx.Node) -> bool:
    """The node hands its first argument through unchanged in eval mode."""
    return schema_name(node) in IDENTITIES and not arguments(node).get("train", False)


def is_reshape(node: fx.Node) -> bool:
    """The node keeps the values of a sample and their order, and changes only its shape."""
    return schema_name(node) in RESHAPES


def chain(linear: fx.Node, last: fx.Node) -> list[fx.Node]:
    """The nodes of a layer from its cut back to its linear operation."""
    nodes = [last]
    while nodes[-1] is not linear:
        source: Any = nodes[-1].args[0]  # constants come second: see normalise.py
        nodes.append(source)
    return nodes


def module_path(node: fx.Node) -> str:
    """Path of the module whose forward made the node; "" for the network itself."""
    stack: Mapping[str, Any] = node.meta.get("nn_module_stack") or {"": ("", "")}
    path = str(list(stack.values())[-1][0]).removeprefix("L['self']").lstrip(".")
    return "" if path.startswith("_empty_nn_module_stack") else path


def only_reader(node: fx.Node) -> fx.Node | None:
    """The one node that reads `node`, seen through identities; None if there are several."""
    users = list(node.users)
    while len(users) == 1 and users[0].op == "call_function" and is_identity(users[0]):
        users = list(users[0].users)
    return users[0] if len(users) == 1 and users[0].op == "call_function" else None


def is_tensor(node: fx.Node) -> bool:
    """The node makes one tensor."""
    return isinstance(node.meta.get("val"), Tensor)


def is_size(node: fx.Node) -> bool:
    """The node makes a number, such as the batch size."""
    return isinstance(node.meta.get("val"), torch.SymInt | int)


def is_value(node: fx.Node) -> bool:
    """The node makes tensors, rather than a size or a check."""
    value = node.meta.get("val")
    return isinstance(value, Tensor | tuple | list)
