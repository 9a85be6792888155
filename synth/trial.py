"""A trial of the network: whether probes fit it, told before any search starts."""

import torch
from torch import Tensor, nn

from synth.batches import Inputs
from synth.errors import InputError, Problems
from synth.inputs import Probes, shape_text
from synth.outputs import as_rows, judged

TRIED = 2  # probes of each set


def check_fit(module: nn.Module, probes: Probes, *, output: int | str | None = None) -> int:
    """Runs two probes of each set through the network; the size K of its judged output (N, K).

    `output` says which output is judged, by place or name; without it there must be one alone.
    Raises InputError: the network raises, the output has another form or is not finite, or a label
    is no class.
    """
    sets = {"inputs": (probes.inputs, probes.labels)}
    if probes.test_inputs is not None:
        sets["test_inputs"] = (probes.test_inputs, probes.test_labels)
    with Problems() as problems:
        widths = [
            problems.attempt(_width, module, inputs, output, f"probes.{name}")
            for name, (inputs, _) in sets.items()
        ]
        for (name, (_, labels)), width in zip(sets.items(), widths, strict=True):
            if labels is not None and width is not None:
                problems.attempt(_check_classes, labels, width, f"probes.{name}")
    assert widths[0] is not None  # its absence was a problem
    return widths[0]


def _check_classes(labels: Tensor, width: int, place: str) -> None:
    largest, classes = int(labels.max()), max(width, 2)  # one output tells two classes apart
    if largest >= classes:
        outputs = f"the network has {width} outputs (classes 0 to {classes - 1})"
        raise InputError(f"the largest label of {place} is {largest}, but {outputs}.")


def _width(module: nn.Module, inputs: Inputs, output: int | str | None, place: str) -> int:
    count = min(TRIED, len(inputs))
    try:
        with torch.no_grad():
            outputs = module(*inputs.batch(0, count))
    except Exception as error:
        shape, reason = shape_text(inputs.shapes), f"{type(error).__name__}: {error}"
        raise InputError(f"{place} of sample shape {shape}: the network raised {reason}") from error
    try:
        found = judged(outputs, output)
        rows = as_rows(found)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
    if len(rows) != count:
        got = f"the network gave {tuple(found.shape)} for {count} of {place}"
        raise InputError(f"{got}, expected a tensor (N, K).")
    if not torch.isfinite(rows).all():
        raise InputError(f"the network's output on {place} is not finite.")
    return rows.shape[1]
