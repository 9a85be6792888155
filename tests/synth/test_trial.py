"""The trial: probes that the network cannot read, odd outputs and foreign labels are all told."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synth.batches import Inputs
from synth.errors import InputError
from synth.inputs import Probes
from synth.trial import check_fit

LABELS = torch.tensor([0, 1, 1, 0, 1])


def zeros(*columns: int) -> Inputs:
    """Five samples, with an input of each size."""
    return Inputs([np.zeros((5, c)) for c in columns])


class Returning(nn.Module):
    """A network that gives back what a function says of its inputs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def told(module: nn.Module, probes: Probes, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        check_fit(module, probes, **options)
    return "\n".join(caught.value.problems)


def test_probes_that_fit() -> None:
    """The size of the output is told, for one input and for several, and for a lone number."""
    assert check_fit(nn.Linear(3, 2), Probes(zeros(3), LABELS)) == 2
    assert check_fit(Returning(lambda a, b: a + b), Probes(zeros(3, 3))) == 3
    assert check_fit(nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), Probes(zeros(3), LABELS)) == 1


def test_two_probes_are_enough() -> None:
    """The network runs on two probes of each set, without gradients."""
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append((len(x), torch.is_grad_enabled()))
        return x

    check_fit(Returning(look), Probes(zeros(2), None, zeros(2).take(np.array([3])), None))
    assert seen == [(2, False), (1, False)]


def test_problems_of_both_sets_are_told_at_once() -> None:
    """Inputs that the network cannot read, and labels beyond its classes."""
    probes = Probes(zeros(4), None, zeros(3), LABELS + 1)
    message = told(nn.Linear(3, 2), probes)
    assert "probes.inputs of sample shape (4,): the network raised RuntimeError" in message
    assert "largest label of probes.test_inputs is 2, but the network has 2 outputs" in message
    assert "(classes 0 to 1)" in told(nn.Linear(3, 1), Probes(zeros(3), LABELS + 1))
    message = told(nn.Linear(3, 2), Probes(zeros(3, 4)))
    assert "sample shape (3,) and (4,): the network raised TypeError" in message


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x[:, None], "probes.inputs: the network returns (2, 1, 3): expected (N, K)"),
        (lambda x: x[:1], "the network gave (1, 3) for 2 of probes.inputs, expected a tensor"),
        (lambda x: x / 0, "the network's output on probes.inputs is not finite"),
        (lambda x: "scores", "the network returns no tensor: say which one is judged"),
        (lambda x: {"a": x, "b": x[:, :1]}, "the network returns a (2, 3), b (2, 1): say which"),
    ],
    ids=["maps", "one row", "not finite", "no tensor", "several"],
)
def test_outputs_that_are_no_rows_of_scores(function: Callable[..., Any], expected: str) -> None:
    """The form is told where it is not (N, K), and all outputs where none is named."""
    assert expected in told(Returning(function), Probes(zeros(3)))


def test_one_of_several_outputs_is_judged() -> None:
    """By name or by place; the others may have any form."""
    module = Returning(lambda x: {"maps": x[:, None] / 0, "scores": x[:, :2]})
    for output in ("scores", 1):
        assert check_fit(module, Probes(zeros(3), LABELS), output=output) == 2
    message = told(module, Probes(zeros(3)), output="score")
    assert "network.output = 'score', but the network returns maps (2, 1, 3), scores" in message
