"""What `network.values` says of a network: the probes keep to it, and layers know it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from synth.batches import Inputs
from synth.errors import InputError, Problems
from synth.inputs import Probes
from synth.network import Network

OF_JUMPS = {"step": (0.0, 1.0), "sign": (-1.0, 0.0, 1.0)}


def check_values(probes: Probes, values: Sequence[float]) -> None:
    """Raises InputError for probes that are none of the values."""
    with Problems() as problems:
        for place, inputs in (("inputs", probes.inputs), ("test_inputs", probes.test_inputs)):
            if inputs is not None:
                problems.attempt(_check, inputs, f"probes.{place}", values)


def _check(inputs: Inputs, place: str, values: Sequence[float]) -> None:
    start, allowed = 0, torch.tensor(values)
    for batch in inputs.batches():
        for number, tensor in enumerate(batch):
            odd = ~torch.isin(tensor, allowed)
            if odd.any():
                row, *rest = odd.nonzero()[0].tolist()
                which = f"[{number}]" if len(batch) > 1 else ""
                raise InputError(
                    f"{place}{which} has {float(tensor[row, *rest]):g} at {(start + row, *rest)}, "
                    f"but network.values = {_text(values)}: leave such probes out, or add it there."
                )
        start += len(batch[0])


def with_alphabets(network: Network, values: Sequence[float]) -> Network:
    """The network with layers that know what values their patches may have.

    Those of the inputs are `values`; behind layers all of whose units jump they are what jumps
    give. Zeros of padding are among them.
    """
    known = {name: tuple(values) for name in network.input_names}
    layers = []
    for layer in network.layers:
        found = known.get(layer.source, ())
        padded = {*found, 0.0} if any(layer.geometry.padding) else found
        layers.append(replace(layer, alphabet=tuple(sorted(padded)) if found else ()))
        if all(head.op in OF_JUMPS for head in layer.heads):
            known[layer.name] = _joined(OF_JUMPS[head.op] for head in layer.heads)
    return replace(network, layers=tuple(layers))


def _joined(alphabets: Iterable[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(sorted({value for values in alphabets for value in values}))


def _text(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
