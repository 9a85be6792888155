"""Weights that are not finite, all of them, before anything is read from them."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, fx, nn

from synth.nodes import schema_name
from synth.operations import DENSE, WEIGHTED
from synth.paths import original_path


def bad_weights(constants: Mapping[fx.Node, Tensor]) -> Iterator[str]:
    """A line for each tensor of weights with NaN or infinite values, which names a place."""
    for node, value in constants.items():
        parameter = isinstance(value, nn.Parameter)
        used = {schema_name(user) for user in node.users}
        if node.op != "get_attr" or not value.dtype.is_floating_point:
            continue
        if parameter or used & (DENSE | WEIGHTED):  # a mask in a buffer may well be infinite
            yield from _not_finite(original_path(str(node.target)), value)


def _not_finite(name: str, value: Tensor) -> Iterator[str]:
    bad = ~torch.isfinite(value)
    if bad.any():
        first = tuple(int(i) for i in bad.nonzero()[0])
        count = f"{int(bad.sum())} of {value.numel()} values are"
        yield f"{name}: {count} NaN or infinite, the first at {first}: {value[first].item()}"
