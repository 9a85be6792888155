"""A network whose first layer is a family that was planted, among units without structure."""

from itertools import product

import numpy as np
import torch
from torch import nn

from benchmarks.networks.googlenet import noise_images
from grammars.compiled import compile_bank
from grammars.grammar import Grammar, load_grammar
from grammars.program import Node, bank, call, linear
from synth.assembly import source_index
from synth.network import read_network

SIDE, SIZE = 32, 9  # of the images and of the window
ANGLES, PHASES, SCALES = tuple(20.0 * i for i in range(8)), (0.0, 90.0), (1.0, 1.5)
PLANTED = [*product(ANGLES, PHASES, SCALES)]
OTHERS, CLASSES, COARSE = 10, 10, 3  # distractors are rough: blocks of so many pixels


def order(seed: int) -> list[int]:
    """Which unit stands at each channel: the planted ones are 0 … 31."""
    return np.random.default_rng(seed).permutation(len(PLANTED) + OTHERS).tolist()


def network(noise: float, seed: int) -> nn.Module:
    """A convolution, ReLU, means over a 4 × 4 grid and a linear layer of random weights.

    Its kernels are disturbed by `noise` times their own root mean square weight.
    """
    torch.manual_seed(seed)
    conv = nn.Conv2d(3, len(PLANTED) + OTHERS, SIZE)
    head = [nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    module = nn.Sequential(conv, *head, nn.Linear(16 * conv.out_channels, CLASSES))
    random = np.random.default_rng(seed)
    cells = random.standard_normal((OTHERS, 3, SIZE // COARSE, SIZE // COARSE))
    others = 0.2 * np.kron(cells, np.ones((COARSE, COARSE)))
    weight = np.concatenate([_planted(module), others.reshape(OTHERS, -1)])
    size = np.sqrt((weight**2).mean(1, keepdims=True))
    weight = weight + noise * size * random.standard_normal(weight.shape)
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(weight[order(seed)]).reshape(conv.weight.shape))
        nn.init.constant_(conv.bias, -0.125)  # type: ignore[arg-type]
    return module.eval()


def images(count: int, seed: int):
    """Images (n, 3, SIDE, SIDE) of 1/f noise, in batches."""
    return noise_images(count, 3, SIDE, seed)


def _planted(module: nn.Sequential) -> np.ndarray:
    """The weights (32, 3 · SIZE²) of the family."""
    grammar = load_grammar(tags=("core", "kernel", "colour"), installed=False)
    (layer, *_) = read_network(module, torch.zeros(1, 3, SIDE, SIDE)).layers
    programs = [_program(layer.source, grammar, *params) for params in PLANTED]
    return compile_bank(programs, source_index(layer.scope), grammar).weight


def _program(source: str, grammar: Grammar, angle: float, phase: float, scale: float) -> Node:
    sizes = {"wavelength": 4.0, "sigma": 1.25, "length": 1.5}
    given = {name: round(8 * scale * size) / 8 for name, size in sizes.items()}
    given |= {"angle": angle, "phase": phase}
    specs = grammar["gabor"].parameters
    kernel = call("gabor", **{name: given.get(name, spec.default) for name, spec in specs})
    light = call("luminance", bank(source, 3), bgr=0)
    return linear([(0.75 / scale, call("conv", kernel, light))], -0.125)
