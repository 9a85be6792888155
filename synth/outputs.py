"""What networks say: outputs batch by batch, answers, and distances between distributions.

How the numbers are to be read is decided on the original's outputs (`reading_of`) and holds for the
replacement's too.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from synth.batches import BATCH, Inputs
from synth.threads import each

TOLERANCE = 1e-4  # how far the float32 probabilities of a row may be from a sum of one
SMALLEST = torch.finfo(torch.float32).tiny  # a probability below it counts as this


class Reading(StrEnum):
    """What the K outputs of a probe are.

    LOGITS or PROBABILITIES of K > 1 classes: the answer is the largest, the first among equals.
    For K = 1 the LOGIT of a Bernoulli variable, whose sign is the answer, or its PROBABILITY,
    which is compared to a half. A regression on one number is read as a logit.
    """

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LOGIT = "logit"
    PROBABILITY = "probability"


def named(outputs: object) -> dict[str, Tensor]:
    """All tensors that a network returns, in order, by name; what is no tensor is left out.

    Names are the keys of dicts, with dots between levels; what stands in no dict is output,
    output_1 and so on, by its place.
    """
    found: dict[str, Tensor] = {}
    for name, value in _leaves(outputs, ""):
        place = len(found)
        name = name or (f"output_{place}" if place else "output")
        found[f"{name}_{place}" if name in found else name] = value
    return found


def _leaves(outputs: object, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(outputs, Tensor):
        yield name, outputs
    elif isinstance(outputs, Mapping):
        for key, value in outputs.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(outputs, list | tuple):
        for value in outputs:
            yield from _leaves(value, name)


def judged(outputs: object, which: int | str | None = None) -> Tensor:
    """The output that is compared and judged: by name, by place from 0, or the only one.

    ValueError, with all outputs and their shapes, where there is no such output or several.
    """
    found = named(outputs)
    names = list(found)
    if which is None and len(names) == 1:
        return found[names[0]]
    if isinstance(which, int) and 0 <= which < len(names):
        return found[names[which]]
    if isinstance(which, str) and which in found:
        return found[which]
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in found.items())
    given = "" if which is None else f"network.output = {which!r}, but "
    advice = "say which one is judged by network.output, a name or a place from 0"
    raise ValueError(f"{given}the network returns {shapes or 'no tensor'}: {advice}.")


def run_batches(
    module: Callable[..., Any],
    inputs: Inputs,
    *,
    pick: Callable[[Any], Tensor] = judged,
    batch: int | None = None,
) -> Tensor:
    """Outputs (N, K) float32 of a module, or a network, without gradients.

    Of several outputs `pick` takes the judged one; by default there may be one only. Outputs (N,)
    become a column and trailing sizes of 1 are dropped; ValueError for other shapes.
    """

    @torch.no_grad()
    def rows(part: Inputs) -> Tensor:
        return as_rows(pick(module(*part.batch()))).float().cpu()

    return torch.cat(each(rows, inputs.cut(batch)))


def as_rows(output: Tensor) -> Tensor:
    """A batch of outputs as (N, K); ValueError if a probe has more than one row of outputs."""
    rows = output.flatten(1) if output.dim() > 1 else output.reshape(-1, 1)
    if output.dim() > 1 and rows.shape[1] != output.shape[1]:
        raise ValueError(
            f"the network returns {tuple(output.shape)}: expected (N, K), one row of scores a "
            "probe. Wrap it in a module that returns one, such as the mean over positions."
        )
    return rows


def reading_of(outputs: Tensor) -> Reading:
    """How to read the outputs (N, K) of an original network.

    Probabilities where none is negative and every row sums to one (for K = 1: where all lie in
    0 … 1), logits otherwise.
    """
    values = outputs.detach().double()
    positive = bool((values >= 0).all())
    if values.shape[1] == 1:
        return Reading.PROBABILITY if positive and bool((values <= 1).all()) else Reading.LOGIT
    ones = positive and bool(((values.sum(1) - 1).abs() <= TOLERANCE).all())
    return Reading.PROBABILITIES if ones else Reading.LOGITS


def log_probabilities(outputs: Tensor, reading: Reading | None = None) -> Tensor:
    """Natural logarithms (N, max(K, 2)) of class probabilities, float64 and differentiable.

    For K = 1 class 1 is the positive answer.
    """
    reading, values = reading or reading_of(outputs), outputs.double()
    if reading is Reading.LOGIT:
        values = torch.cat([torch.zeros_like(values), values], 1)
    if reading in (Reading.LOGITS, Reading.LOGIT):
        return F.log_softmax(values, 1)
    if reading is Reading.PROBABILITY:
        values = torch.cat([1 - values, values], 1)
    values = values.clamp(min=SMALLEST)
    return (values / values.sum(1, keepdim=True)).log()


def kl_divergence(original: Tensor, replaced: Tensor, reading: Reading | None = None) -> Tensor:
    """KL(original ‖ replaced) in nats (N,), float64, of outputs (N, K).

    Infinite where the replacement's outputs are NaN or exclude what the original allows.
    """
    _check_equal(original, replaced)
    reading = reading or reading_of(original)
    pairs = zip(original.split(BATCH), replaced.split(BATCH), strict=True)
    return torch.cat([_divergence(p, q, reading) for p, q in pairs])


def _divergence(original: Tensor, replaced: Tensor, reading: Reading) -> Tensor:
    p, q = log_probabilities(original, reading), log_probabilities(replaced, reading)
    terms = torch.where(p.exp() > 0, p.exp() * (p - q), 0.0)
    # Rounding alone makes a sum negative.
    return terms.sum(1).clamp(min=0.0).nan_to_num(nan=torch.inf, posinf=torch.inf)


def answers(outputs: Tensor, reading: Reading | None = None) -> Tensor:
    """The answer (N,) int64 to each probe, equal for equal outputs; −1 where an output is NaN."""
    reading = reading or reading_of(outputs)
    if reading is Reading.LOGIT:
        found = (outputs[:, 0] > 0).long()
    elif reading is Reading.PROBABILITY:
        found = (outputs[:, 0] > 0.5).long()
    else:
        found = outputs.argmax(1)
    return torch.where(outputs.isnan().any(1), -1, found)


def agreement(original: Tensor, replaced: Tensor, reading: Reading | None = None) -> float:
    """The share of probes to which both give the same answer."""
    _check_equal(original, replaced)
    reading = reading or reading_of(original)
    return accuracy(replaced, answers(original, reading), reading)


def accuracy(outputs: Tensor, labels: Tensor, reading: Reading | None = None) -> float:
    """The share of probes whose answer is their label (N,)."""
    found = answers(outputs, reading)
    return float(((found == labels) & (found >= 0)).double().mean())


def cross_entropy(outputs: Tensor, labels: Tensor, reading: Reading | None = None) -> Tensor:
    """−log probability of the labels (N,), in nats, float64; ValueError for an unknown class."""
    logs = log_probabilities(outputs, reading)
    if len(labels) and int(labels.max()) >= logs.shape[1]:
        raise ValueError(
            f"label {int(labels.max())} for a network that tells {logs.shape[1]} classes apart: "
            "labels count from 0; check that they belong to this network."
        )
    losses = -logs.gather(1, labels.long()[:, None])[:, 0]
    return losses.nan_to_num(nan=torch.inf, posinf=torch.inf)


def _check_equal(original: Tensor, replaced: Tensor) -> None:
    if original.shape != replaced.shape:
        shapes = f"{tuple(original.shape)} and {tuple(replaced.shape)}"
        raise ValueError(f"outputs of shapes {shapes}: expected the same, (N, K)")
