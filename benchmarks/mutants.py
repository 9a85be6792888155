"""Planted mutants of units: programs that differ from their units by a truth that is known.

Layers of units over a common box. A program is its unit with one weight moved or the sign of its
bias flipped, another unit of the layer, the unit's weights rounded (for a claim 1 % too small), or
so rounded with one weight a step farther from its own; or, of a convolution of an image, the same
kernel with a stride or a padding that is off by one. What a convolution reads at one place is an
affine map of the image, written down by running the convolution on unit images.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.truths import Bent, unit_difference
from oracles.claims import Affine, AffineBank, Box, HeadForm, head_form

UNITS = 10  # of a layer
SIDE = 6  # of the images of convolutions
HEADS = (
    *(head_form(op) for op in ("relu", "relu", "identity", "abs")),
    head_form("leaky_relu", {"slope": 0.125}),
    head_form("prelu", {"slope": -0.25}),
)
DENSE = ("weight moved", "bias flipped", "unit swapped", "rounded too far", "epsilon too small")
CONVOLVED = ("stride off by one", "padding off by one")


@dataclass(frozen=True, eq=False)
class Planted:
    """Units and their mutants over one box, what was done to each, and by how much they differ."""

    units: AffineBank
    programs: AffineBank
    box: Box
    kinds: tuple[str, ...]
    truths: tuple[Fraction, ...]


def planted_layer(seed: int) -> Planted:
    """A layer whose mutants all differ from their units: dense, or every third a convolution."""
    rng = np.random.default_rng(seed)
    drawn = _convolved(rng) if seed % 3 == 2 else _dense(rng)
    truths = tuple(true_difference(*drawn[:3], unit) for unit in range(len(drawn[0])))
    alive = [unit for unit, truth in enumerate(truths) if truth]
    units, programs = (_some(bank, alive) for bank in drawn[:2])
    kinds = tuple(drawn[3][unit] for unit in alive)
    return Planted(units, programs, drawn[2], kinds, tuple(truths[unit] for unit in alive))


def true_difference(units: AffineBank, programs: AffineBank, box: Box, unit: int) -> Fraction:
    """sup |unit − program|, by vertices."""
    pair = bent(units[unit]), bent(programs[unit])
    return unit_difference(*pair, box.lower.tolist(), box.upper.tolist())


def bent(one: Affine) -> Bent:
    """A unit of two slopes as the truths know it."""
    return Bent(one.weights.tolist(), one.bias, *one.head.slopes)


Drawn = tuple[AffineBank, AffineBank, Box, list[str]]


def _dense(rng: np.random.Generator) -> Drawn:
    size = int(rng.integers(1, 65))
    weights, biases = _single(rng, (UNITS, size), size), _single(rng, UNITS, 4)
    heads = _heads(rng)
    lower = rng.normal(size=size)
    kinds = [DENSE[i % len(DENSE)] for i in range(UNITS)]
    moved = [_mutant(rng, weights, biases, heads, i, kind) for i, kind in enumerate(kinds)]
    programs = AffineBank(
        np.stack([w for w, _, _ in moved]),
        np.array([b for _, b, _ in moved]),
        tuple(head for _, _, head in moved),
    )
    return AffineBank(weights, biases, heads), programs, Box(lower, lower + rng.random(size)), kinds


def _mutant(
    rng: np.random.Generator,
    weights: np.ndarray,
    biases: np.ndarray,
    heads: tuple[HeadForm, ...],
    unit: int,
    kind: str,
) -> tuple[np.ndarray, float, HeadForm]:
    """Weights, bias and head of one program."""
    own, bias = weights[unit].copy(), float(biases[unit])
    at, step = int(rng.integers(len(own))), 2.0 ** -int(rng.integers(3, 8))
    match kind:
        case "weight moved":
            own[at] += step * rng.choice([-1.0, 1.0])
        case "bias flipped":
            bias = -bias
        case "unit swapped":
            other = (unit + 1) % UNITS
            return weights[other], float(biases[other]), heads[other]
        case _:
            near = np.rint(own / step) * step
            if kind == "rounded too far":
                near[at] += step if near[at] >= own[at] else -step
            own, bias = near, float(np.rint(bias / step) * step)
    return own, bias, heads[unit]


def _convolved(rng: np.random.Generator) -> Drawn:
    """Units at some places of a convolution, against the same places of a mutant."""
    channels, kernel = int(rng.integers(1, 3)), int(rng.integers(2, 4))
    weight = _single(rng, (2, channels, kernel, kernel), channels * kernel**2)
    bias = _single(rng, 2, 4)
    maps = [_places(weight, *geometry) for geometry in ((1, 1), (2, 1), (1, 0))]
    common = np.array([m.shape[1:3] for m in maps]).min(axis=0).tolist()
    places = [(c, y, x) for c in range(2) for y in range(common[0]) for x in range(common[1])]
    chosen = rng.permutation(len(places))[:UNITS]
    kinds = [CONVOLVED[i % 2] for i in range(len(chosen))]
    heads = _heads(rng)[: len(chosen)]

    def bank(numbers: list[int]) -> AffineBank:
        rows = [maps[n][places[p]] for n, p in zip(numbers, chosen, strict=True)]
        biases = np.array([bias[places[p][0]] for p in chosen])
        return AffineBank(np.stack(rows), biases, heads)

    lower = -rng.random(channels * SIDE**2)
    box = Box(lower, lower + rng.random(lower.size))
    mutants = [1 + CONVOLVED.index(kind) for kind in kinds]
    return bank([0] * len(chosen)), bank(mutants), box, kinds


def _places(weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """What each place of a convolution reads: (channels, rows, columns, inputs)."""
    inputs = weight.shape[1] * SIDE**2
    images = torch.eye(inputs, dtype=torch.float64).reshape(inputs, weight.shape[1], SIDE, SIDE)
    maps = F.conv2d(images, torch.from_numpy(weight), stride=stride, padding=padding)
    return np.moveaxis(maps.numpy(), 0, -1)


def _single(rng: np.random.Generator, shape: int | tuple[int, ...], fan: int) -> np.ndarray:
    """Numbers of float32 precision."""
    return (rng.normal(size=shape) / np.sqrt(fan)).astype(np.float32).astype(np.float64)


def _heads(rng: np.random.Generator) -> tuple[HeadForm, ...]:
    return tuple(HEADS[i] for i in rng.integers(len(HEADS), size=UNITS))


def _some(bank: AffineBank, rows: list[int]) -> AffineBank:
    return AffineBank(bank.weights[rows], bank.biases[rows], tuple(bank.heads[i] for i in rows))
