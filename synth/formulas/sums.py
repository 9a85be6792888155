"""Weighted sums of a few formulas of a library: which of them together leave least of the target.

A beam of orthogonal least squares (Chen et al. 1989): each sum is continued by the formulas that
take most away beside those that it has, which is what sure independence screening does for one
(Ouyang et al. 2018, SISSO), and tried without each of its own.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from grammars.program import Node
from synth.formulas.library import FLOAT, SAMPLES, Library
from synth.formulas.operations import TERMS
from synth.formulas.rows import Rows
from synth.formulas.turns import by_turns

LONGEST = 4  # formulas in a sum
POOL = 8000  # of the cheapest formulas, beside the best of each price
BEAM = 24  # sums that go on,
NEXT = 12  # each by so many formulas
KEPT = 12  # are fitted after each step
WORTH = 250.0  # bits that may be paid for what is left to be e times smaller
WEIGHT = 8  # bits of a weight, about
EXACT = 1e-10  # share of the variance that is left by nothing but rounding
COPIES = 5  # arrays of float32 that the pool takes, of which features are two
NOTHING = 1e-12  # share of the variance
LEAST = 1e-6  # share of a formula that is not said by others yet, or it adds nothing


@dataclass(frozen=True, eq=False)
class Sum:
    """Some formulas, about their price, and the share of the target's variance that their best
    weights leave, on the library's samples."""

    terms: tuple[Node, ...]
    bits: int
    left: float


@dataclass(frozen=True, eq=False)
class _Begun:
    """A sum on its way: places in the pool, an orthonormal basis (k, n) and what is left (n,)."""

    places: tuple[int, ...]
    bits: int
    basis: Tensor
    rest: Tensor

    @property
    def left(self) -> float:
        return float(self.rest @ self.rest)

    def price(self, worth: float) -> float:
        return self.bits + worth * math.log(max(self.left, 1e-14))


def sums_of(library: Library) -> list[Sum]:
    """The most promising sums of one formula, of two, …: after each step, in which a formula comes
    or goes, those at several prices of what is left.

    Where one leaves nothing, none that costs more is among them.
    """
    pool = library.best.beside(library.stored.at(torch.arange(min(POOL, len(library.stored)))))
    pool = pool.standard.distinct
    features = pool.values.double()
    target = library.samples.target - library.samples.target.mean()
    size = float(target.norm())
    begun = [_Begun((), 0, features[:0], target / size)] if size else []
    found: list[_Begun] = []
    for _ in range(LONGEST):
        longer = [one for sum_ in begun for one in _continued(sum_, pool, features)]
        begun = _best(longer)
        spared = [one for sum_ in begun for one in _spared(sum_, pool, features, target / size)]
        begun = _best([*spared, *begun])
        found = _different([*found, *begun[:KEPT]])
    exact = min((s.bits for s in found if s.left < EXACT), default=None)
    if exact is not None:
        found = [s for s in found if s.bits <= exact]
    return [
        Sum(tuple(library.programs(pool.at(torch.tensor(s.places)))), s.bits, s.left) for s in found
    ]


def sums_bytes() -> float:
    """What sums hold beside the library."""
    return FLOAT * SAMPLES * COPIES * POOL


def _continued(sum_: _Begun, pool: Rows, features: Tensor) -> list[_Begun]:
    """The sum with each of the formulas that tell most beside it; none where nothing is left."""
    if sum_.left < NOTHING:
        return []
    inside = features @ sum_.basis.T
    apart = 1 - (inside**2).sum(1)
    gains = torch.where(apart > LEAST, (features @ sum_.rest) ** 2 / apart.clamp_min(LEAST), 0.0)
    left = (sum_.left - gains).clamp_min(1e-14)
    scores = pool.bits + WORTH * left.log()
    longer = []
    for place in scores.topk(min(NEXT, len(scores)), largest=False).indices.tolist():
        if place in sum_.places:
            continue
        fresh = features[place] - inside[place] @ sum_.basis
        fresh = fresh / fresh.norm()
        rest = sum_.rest - (fresh @ sum_.rest) * fresh
        bits = sum_.bits + _bits(pool, place)
        basis = torch.cat([sum_.basis, fresh[None]])
        longer.append(_Begun((*sum_.places, place), bits, basis, rest))
    return longer


def _spared(sum_: _Begun, pool: Rows, features: Tensor, target: Tensor) -> Iterator[_Begun]:
    """The sum without each of its formulas, if it has others: what was taken first, when it told
    most, may tell nothing beside those that came later."""
    for place in sum_.places if len(sum_.places) > 1 else ():
        places = tuple(p for p in sum_.places if p != place)
        basis = torch.linalg.qr(features[list(places)].T).Q.T
        bits = sum_.bits - _bits(pool, place)
        yield _Begun(places, bits, basis, target - (basis @ target) @ basis)


def _bits(pool: Rows, place: int) -> int:
    """About what a formula adds to the price of a sum."""
    return int(pool.bits[place]) + TERMS + WEIGHT


def _best(sums: list[_Begun]) -> list[_Begun]:
    """The most promising of some sums, all different."""
    return by_turns(_different(sums), _Begun.price)[:BEAM]


def _different(sums: list[_Begun]) -> list[_Begun]:
    """The first of those of the same formulas."""
    seen: set[frozenset[int]] = set()
    return [s for s in sums if (key := frozenset(s.places)) not in seen and not seen.add(key)]
