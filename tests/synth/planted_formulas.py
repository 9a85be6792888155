"""Samples of formulas that are known, for searches to find again."""

import torch
from torch import Tensor

from grammars.evaluation import evaluate
from grammars.grammar import Grammar, load_grammar
from grammars.interpreters.torch import TorchAlgebra
from grammars.names import Names
from grammars.parser import parse_program
from grammars.program import Node, tap
from synth.formulas.samples import Samples

INPUTS = 4
GRAMMAR: Grammar = load_grammar(tags=("core", "formula"), installed=False)
NAMES = Names({"x": INPUTS}, reserved=GRAMMAR)
TAPS = tuple(tap("x", i) for i in range(INPUTS))


def read(text: str) -> Node:
    return parse_program(text, NAMES, GRAMMAR)


def values(program: Node, inputs: Tensor) -> Tensor:
    """(n,) a program over inputs (F, n)."""
    found = evaluate(program, TorchAlgebra(lambda bank, c, dy, dx: inputs[c]), GRAMMAR)
    return torch.as_tensor(found, dtype=torch.float64).expand(inputs.shape[1])


def inputs_of(count: int = 600, *, reach: float = 2.0, seed: int = 0) -> Tensor:
    """(F, n) uniform in [−reach, reach]."""
    generator = torch.Generator().manual_seed(seed)
    return reach * (2 * torch.rand(INPUTS, count, generator=generator, dtype=torch.float64) - 1)


def planted(text: str, *, noise: float = 0.0, **given: int) -> Samples:
    """Samples of a formula in the names x_0 … x_3, with noise as a share of its spread."""
    inputs = inputs_of(**given)
    target = values(read(text), inputs)
    generator = torch.Generator().manual_seed(1)
    target = target + noise * target.std() * torch.randn(len(target), generator=generator)
    return Samples(inputs, target, TAPS, GRAMMAR)


def unexplained(program: Node, samples: Samples, *, reach: float = 2.0, of: str) -> float:
    """The share of the variance of the formula `of` that a program leaves on fresh inputs."""
    inputs = inputs_of(1000, reach=reach, seed=2)
    wanted = values(read(of), inputs)
    return float((values(program, inputs) - wanted).square().mean() / wanted.var())
