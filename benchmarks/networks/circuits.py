"""Circuits that are planted in networks of one hidden layer, and one network that learns to add."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

PROBES = 600  # rows at least: all inputs, again and again
HIDDEN, BITS = 100, 4  # of the network that adds


class Step(nn.Module):
    """1 above zero, else 0."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).to(x.dtype)


@dataclass(frozen=True, eq=False)
class Planted:
    """A hidden layer `weight` (h, n), `bias` (h,); outputs `out` (k, h), `start` (k,) over it."""

    name: str
    head: str
    weight: np.ndarray
    bias: np.ndarray
    out: np.ndarray
    start: np.ndarray

    @property
    def size(self) -> int:
        """Terms of all units as programs: weights and constants that are not zero."""
        parts = (self.weight, self.bias, self.out, self.start)
        return int(sum(np.count_nonzero(part) for part in parts))

    @property
    def inputs(self) -> int:
        return self.weight.shape[1]

    def network(self, seed: int) -> nn.Module:
        """The circuit with units in another order, each scaled by a factor of its own."""
        random = np.random.default_rng([seed, *self.name.encode()])
        order = random.permutation(len(self.weight))
        scale = np.exp(random.uniform(-1, 1, len(order)))
        weight, bias = (scale * part[order].T for part in (self.weight, self.bias))
        out = self.out[:, order] / (scale if self.head == "relu" else 1.0)
        first, second = (nn.Linear(*part.shape[::-1]) for part in (weight.T, out))
        with torch.no_grad():
            for module, values, offset in ((first, weight.T, bias), (second, out, self.start)):
                module.weight.copy_(torch.from_numpy(values))
                module.bias.copy_(torch.from_numpy(offset))
        return nn.Sequential(first, nn.ReLU() if self.head == "relu" else Step(), second).eval()


def planted() -> dict[str, Planted]:
    """Fifteen circuits in rectified and in threshold units each, by name."""
    return {c.name: c for head in ("relu", "step") for c in _circuits(head)}


def probes(inputs: int) -> Tensor:
    """All inputs (N, inputs), repeated."""
    rows = all_inputs(inputs)
    return rows.repeat(-(-PROBES // len(rows)), 1)


def all_inputs(inputs: int) -> Tensor:
    return torch.tensor([*product((0.0, 1.0), repeat=inputs)])


def adder(seed: int) -> nn.Module:
    """8-100-5, trained on all pairs of four bits to give the five bits of their sum."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(2 * BITS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, BITS + 1))
    rows = all_inputs(2 * BITS)
    sums = rows @ torch.tensor([2.0**i for i in range(BITS)] * 2)
    wanted = (sums[:, None].long() >> torch.arange(BITS + 1) & 1).float()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        sparse = sum(p.abs().sum() for p in module.parameters())
        (F.mse_loss(module(rows), wanted) + SPARSE * sparse).backward()
        optimizer.step()
        schedule.step()
    return module.eval()


EPOCHS, SPARSE = 6000, 3e-5


def _circuits(head: str) -> list[Planted]:
    ones = [1] * 16
    binary = [1, 2, 4]

    def count(name: str, weights: list[int], function: Callable[[int], list[int]]) -> Planted:
        return _of_sum(f"{name}, {head}", head, np.array(weights), function)

    found = [count(f"parity of {n}", ones[:n], lambda s: [s % 2]) for n in (3, 5, 10)]
    found += [count(f"majority of {n}", ones[:n], lambda s, n=n: [int(2 * s > n)]) for n in (5, 12)]
    found += [
        count(f"exactly {k} of {n}", ones[:n], lambda s, k=k: [int(s == k)])
        for k, n in ((2, 4), (3, 7), (4, 9))
    ]
    for n in (2, 3):
        difference = [*binary[:n], *(-w for w in binary[:n])]
        found.append(count(f"{n} bits above {n}", difference, lambda s: [int(s > 0)]))
        adding = binary[:n] * 2
        bits = range(n + 1)
        found.append(
            count(f"sum of {n} and {n} bits", adding, lambda s, b=bits: [s >> i & 1 for i in b])
        )
        found.append(_multiplexer(f"{2 ** (n - 1)} ways, {head}", head, n - 1))
    difference = [1, 2, 4, -1, -2, -4]
    found.append(count("3 bits equal to 3", difference, lambda s: [int(s == 0)]))
    return found


def _of_sum(
    name: str, head: str, weights: np.ndarray, function: Callable[[int], list[int]]
) -> Planted:
    """Outputs as functions of one weighted sum: a unit for each place where one of them changes."""
    low, high = int(weights[weights < 0].sum()), int(weights[weights > 0].sum())
    table = np.array([function(s) for s in range(low, high + 1)], dtype=float)
    jumps = np.diff(table, axis=0)  # before low + 1, low + 2, …
    coefficients = np.zeros((high - low + 1, table.shape[1]))  # of relu(S − (low + i))
    if head == "step":
        places, coefficients = np.arange(low, high) + 0.5, jumps
    else:
        places = np.arange(low, high + 1)
        coefficients[:-1] += jumps
        coefficients[1:] -= jumps
        places, coefficients = places[:-1], coefficients[:-1]  # the last is never above zero
    used = coefficients.any(1)
    weight = np.tile(weights, (int(used.sum()), 1)).astype(float)
    return Planted(name, head, weight, -places[used], coefficients[used].T, table[0])


def _multiplexer(name: str, head: str, selects: int) -> Planted:
    """One of 2^selects inputs, which the first inputs choose: a unit for each of them."""
    ways = 2**selects
    choices = np.array([*product((0, 1), repeat=selects)])
    weight = np.hstack([2.0 * choices - 1, np.eye(ways)])
    bias = -choices.sum(1) - (0.5 if head == "step" else 0.0)
    return Planted(name, head, weight, bias, np.ones((1, ways)), np.zeros(1))
