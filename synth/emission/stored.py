"""What stands beside the text: `replacement.safetensors`."""

import os
from collections.abc import Sequence

from safetensors.torch import save
from torch import Tensor, fx, nn

from grammars.grammar import Grammar
from synth.assembly import LayerChoice, bank_module
from synth.emission.graph import inlined
from synth.files import write_atomic
from synth.network import Network

WEIGHTS_FILE = "replacement.safetensors"


def save_weights(
    network: Network,
    choices: Sequence[LayerChoice],
    grammar: Grammar,
    path: str | os.PathLike[str],
) -> None:
    """Write `replacement.safetensors`: each chosen layer's `<layer>.weight` and `<layer>.bias`
    (the affine rows of its programs), and constants of the remaining graph under their own paths.
    """
    tensors: dict[str, Tensor] = {}
    for choice in choices:
        module = bank_module(choice, grammar)
        tensors[f"{choice.layer.name}.weight"] = module.weight
        tensors[f"{choice.layer.name}.bias"] = module.bias
    remaining = graph_constants(_replaced(network, choices))
    kept = {stored_key(path, choices): v for path, v in remaining.items() if not inlined(v)}
    tensors |= {key: value.detach().cpu().clone() for key, value in kept.items()}
    write_atomic(path, save({key: value.contiguous() for key, value in tensors.items()}))


def constants_beside(network: Network) -> dict[str, Tensor]:
    """What the graph holds beside its layers, by path: the weights of opaque nodes."""
    return graph_constants(network.replaced({la.name: nn.Identity() for la in network.layers}))


def _replaced(network: Network, choices: Sequence[LayerChoice]) -> fx.GraphModule:
    """The graph with a module of the right place and name for each chosen layer."""
    return network.replaced({c.layer.name: nn.Identity() for c in choices})


def graph_constants(module: fx.GraphModule) -> dict[str, Tensor]:
    """What the graph reads beside its input, by path. ValueError for what is no tensor."""
    found: dict[str, Tensor] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            path = str(node.target)
            parent, _, leaf = path.rpartition(".")
            value = getattr(module.get_submodule(parent), leaf)
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"the graph node {node.name!r} reads a {type(value).__name__}, which cannot be "
                    "written as source: avoid control flow such as torch.cond in forward"
                )
            found[path] = value
    return found


def stored_key(path: str, choices: Sequence[LayerChoice]) -> str:
    """Where a constant of the graph is stored: under its path, unless rows of a layer are."""
    taken = {f"{c.layer.name}.{kind}" for c in choices for kind in ("weight", "bias")}
    while path in taken:
        path = f"original.{path}"
    return path
