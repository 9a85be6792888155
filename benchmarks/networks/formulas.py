"""Small networks that were trained on formulas: what they compute can be written in a line.

Each reads a few inputs that matter and others that do not, and is trained until it knows the
formula about as well as such a network can.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

REACH = 2.0  # inputs are uniform in ±REACH
SAMPLES, STEPS, BATCH = 20_000, 6_000, 512
RATES = (4e-3, 4e-5)  # of learning, at first and in the end


@dataclass(frozen=True)
class Case:
    """A formula in the language of programs over x_0, x_1, …: of `relevant` inputs, beside which
    there are `idle` ones, learnt by a network of two hidden layers of `width` units."""

    name: str
    formula: str
    relevant: int
    idle: int
    activation: Callable[[], nn.Module]
    width: int = 64

    @property
    def inputs(self) -> int:
        return self.relevant + self.idle


CASES = (
    Case("bilinear", "x_0*x_1 + 0.5*x_2", 3, 3, nn.Tanh),
    Case("squares", "square(x_0) + square(x_1)", 2, 4, nn.SiLU),
    Case("triple", "x_0*x_1*x_2", 3, 2, nn.SiLU),
    Case("cubic", "x_0*square(x_0) - 2.0*x_1", 2, 3, nn.Tanh),
    Case("product of sums", "(x_0 + x_1)*(x_2 - x_3)", 4, 2, nn.SiLU),
    Case("lorentzian", "reciprocal(square(x_0) + 1.0)", 2, 6, nn.Tanh),
    Case("ratio", "x_0*reciprocal(square(x_1) + 1.0)", 2, 4, nn.Tanh),
    Case("ratio of sums", "(x_0 + x_1)*reciprocal(square(x_2) + 1.0)", 3, 3, nn.SiLU),
    Case("gabor", "exp(-square(x_0))*cos(2.0*x_1)", 2, 3, nn.Tanh),
    Case("exp cos", "exp(x_0)*cos(x_1)", 2, 4, nn.SiLU),
    Case("wave of a product", "cos(x_0*x_1) + x_2", 3, 2, nn.Tanh),
    Case("waves", "sin(x_0) + sin(2.0*x_1)", 2, 5, nn.Tanh),
    Case("max", "max(x_0, x_1)", 2, 4, nn.ReLU),
    Case("max of sums", "max(x_0 + x_1, x_2)", 3, 3, nn.ReLU),
    Case("max and min", "max(x_0, x_1) + min(x_2, x_3)", 4, 2, nn.ReLU),
    Case("sizes", "abs(x_0 - x_1) + 0.5*abs(x_2)", 3, 3, nn.ReLU),
    Case("gate", "x_2*step(x_0 + x_1)", 3, 2, nn.ReLU),
    Case("threshold", "step(x_0 - 0.5*x_1)", 2, 8, nn.ReLU),
    Case("distance", "sqrt(square(x_0) + square(x_1))", 2, 4, nn.SiLU),
    Case("distance apart", "sqrt(square(x_0 - x_1) + square(x_2))", 3, 3, nn.SiLU),
    Case("saturation", "tanh(2.0*x_0 - x_1)", 2, 6, nn.Tanh),
    Case("logistic", "sigmoid(2.0*x_0*x_1)", 2, 4, nn.SiLU),
    Case("gated sum", "x_0*sigmoid(3.0*x_1) + x_2", 3, 3, nn.SiLU),
    Case("gaussian and product", "exp(-square(x_0) - square(x_1)) + 0.5*x_2*x_3", 4, 2, nn.Tanh),
)


def inputs_of(case: Case, count: int, *, seed: int, reach: float = REACH) -> Tensor:
    """(count, F) float32, uniform."""
    generator = torch.Generator().manual_seed(seed)
    return reach * (2 * torch.rand(count, case.inputs, generator=generator) - 1)


def trained(case: Case, truth: Callable[[Tensor], Tensor], seed: int) -> nn.Module:
    """A network that has learnt `truth`, of inputs (n, F), by its squares of errors."""
    torch.manual_seed(seed)
    width, act = case.width, case.activation
    hidden = nn.Linear(case.inputs, width), act(), nn.Linear(width, width), act()
    module = nn.Sequential(*hidden, nn.Linear(width, 1))
    inputs = inputs_of(case, SAMPLES, seed=seed)
    target = truth(inputs)[:, None]
    optimiser = torch.optim.Adam(module.parameters(), lr=RATES[0])
    decay = (RATES[1] / RATES[0]) ** (1 / STEPS)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, decay)
    for _ in range(STEPS):
        rows = torch.randint(len(inputs), (BATCH,))
        loss = (module(inputs[rows]) - target[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return module.eval()
