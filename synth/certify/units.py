"""Each unit over a domain: how far its program is from it, on the same sources and composed.

Composed: the program reads units that are replaced themselves, the unit the original ones. Layer by
layer, what a layer's sources may differ by, at most, moves the program beside the unit (`in_situ`),
and the bounds that come of it are the errors of the next. One patch stands for every place of a
layer: it has the range of all. Correlations between units are lost, never soundness: each bound is
the less of an exact one and of the step that encloses programs of every form.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from grammars.compiled import CompiledBank, compile_bank
from grammars.grammar import Grammar
from grammars.program import Node
from oracles.bent import float_bound
from oracles.claims import Affine, AffineBank, Box, Pairing, Proved, Verdict, above
from oracles.closed_form import bound_units
from oracles.difference.pair import Pair, Range, pair_of, within
from oracles.difference.rounding import REAL, down, up
from oracles.difference.zonotope import Zonotope, enclosing
from oracles.domains import in_situ
from oracles.prove import prove_difference, prove_layer
from oracles.trees import seen_bound
from oracles.unit_difference import Difference
from synth.affine import Forms, affine_forms, bent_pairs, by_group, chosen, unit_bank
from synth.assembly import LayerChoice, source_index
from synth.certify.layers import LayerStep
from synth.layers import Geometry, Layer

HAIR, FACTORS = 2.0**-10, (1.0, 1.25, 2.0)  # of what floats say: claims that are tried in turn
DIGITS = 30  # binary ones of what is known of sources, rounded outward
Enough = Callable[[], bool]


@dataclass(frozen=True, eq=False)
class UnitBounds:
    """Bounds (U,) of |program − unit| on the same sources, `alone`, and `composed`, rounded up.

    The original's patches lie in `box` (width,), and replaced sources within `errors` (width,).
    """

    box: Box
    errors: np.ndarray
    alone: np.ndarray
    composed: np.ndarray


@dataclass(frozen=True, eq=False)
class UnitStep:
    """A layer as a step of a pair that leaves in `found` what it bounds of its units.

    Its patches lie in `envelope` (width,), or in what is known of its source. When there is
    `enough` done, the units that are left have the bound of the enclosing step alone.
    """

    choice: LayerChoice
    grammar: Grammar
    envelope: Box | None
    enough: Enough = lambda: False
    found: list[UnitBounds] = field(default_factory=list)

    @property
    def layer(self) -> Layer:
        return self.choice.layer

    @cached_property
    def programs(self) -> tuple[Node, ...]:
        """Free of siblings."""
        return self.choice.expanded(self.grammar)

    @cached_property
    def bank(self) -> CompiledBank:
        return compile_bank(self.programs, source_index(self.choice.scope), self.grammar)

    @cached_property
    def forms(self) -> Forms:
        """The programs that are one affine row under a head."""
        return affine_forms(self.layer, range(self.layer.units), self.bank)

    @cached_property
    def trees(self) -> Mapping[int, Difference]:
        """Those of other forms, by channel."""
        return dict(bent_pairs(self.layer, range(self.layer.units), self.bank))

    @cached_property
    def _enclosed(self) -> LayerStep:
        """The layer over one patch as a whole map."""
        layer = self.layer
        g = layer.geometry
        reach = tuple(d * (k - 1) + 1 for k, d in zip(g.window, g.dilation, strict=True))
        patch = replace(
            layer,
            in_shape=(layer.in_shape[0], reach[0], reach[1]),
            out_shape=(layer.units, 1, 1),
            geometry=Geometry(g.window, dilation=g.dilation),
        )
        choice = replace(self.choice, layer=patch)
        return LayerStep.of(choice, self.grammar, REAL, torch.device("cpu"))

    def __call__(self, maps: Pair) -> Pair:
        """The units (1, U, h, w), known by their ranges alone."""
        original, _, difference = (tuple(end.cpu() for end in ends) for ends in maps.ranges)
        patches = self.layer.geometry.patches
        error = torch.maximum(difference[0].abs(), difference[1].abs())
        error = torch.where(_equal(maps.difference).cpu(), 0.0, error)
        box = self.envelope or _outward(
            patches(original[0]).amin(0).numpy(), patches(original[1]).amax(0).numpy()
        )
        errors = _upward(patches(error).amax(0).numpy(), box)
        same, _ = self._bounds(box, np.zeros_like(errors))
        composed, units = self._bounds(box, errors)
        self.found.append(UnitBounds(box, errors, same, composed))
        return _spread(units, torch.from_numpy(composed), self.layer, maps)

    def _bounds(self, box: Box, errors: np.ndarray) -> tuple[np.ndarray, Pair]:
        """(U,) bounds where sources are off by `errors` (width,), and the units over one patch."""
        units = self._enclosed(_patch(self._enclosed.layer, box, errors))
        low, high = units.ranges[2]
        bounds = torch.maximum(low.abs(), high.abs()).flatten().numpy().copy()
        for channel, exact in self._exact(box, errors):
            if exact is not None:
                bounds[channel] = min(bounds[channel], above(exact))
        return bounds, units

    def _exact(self, box: Box, errors: np.ndarray) -> Iterator[tuple[int, Fraction | None]]:
        """Channels with what exact arithmetic and enclosures bound."""
        layer, places = self.layer, self.forms.places
        for members in by_group(layer, places):
            channels = [places[m] for m in members]
            part = layer.part(channels[0])
            pair = unit_bank(layer, channels), chosen(self.forms.bank, members)
            few = Box(box.lower[part], box.upper[part])
            for found in zip(channels, _nearest(*in_situ(*pair, few, errors[part])), strict=True):
                yield found
                if self.enough():
                    return
        for channel, apart in self.trees.items():
            if self.enough():
                return
            part = layer.part(channel)
            few = Box(box.lower[part], box.upper[part])
            yield channel, _near(apart, few, errors[part])


def _equal(difference: Zonotope) -> Tensor:
    """(B, *shape) where the difference is exactly zero, and not by rounding alone."""
    blocks = [(block == 0).all(1) for block in difference.blocks.values()]
    still = (difference.center == 0) & (difference.radius == 0)
    return math.prod([b.expand_as(still) for b in blocks], start=still)


def _outward(lower: np.ndarray, upper: np.ndarray) -> Box:
    """A box of few digits around a box: exact arithmetic is as fast as its integers are short."""
    step = _step(max(np.abs(lower).max(), np.abs(upper).max()))
    return Box(np.floor(lower / step) * step, np.ceil(upper / step) * step)


def _upward(errors: np.ndarray, box: Box) -> np.ndarray:
    """Errors of few digits at or above errors; none is smaller than what tells beside the box."""
    least = _step(max(np.abs(box.lower).max(), np.abs(box.upper).max())) * 2.0**-DIGITS
    step = max(_step(errors.max()), least)
    return np.ceil(errors / step) * step


def _step(scale: float) -> float:
    return 2.0 ** max(math.frexp(float(scale))[1] - DIGITS, -500)


def _patch(layer: Layer, box: Box, errors: np.ndarray) -> Pair:
    """A patch (1, C, rows, columns) in a box, and off by errors (width,)."""
    g = layer.geometry

    def maps(values: np.ndarray | Tensor) -> Tensor:
        made = torch.zeros(1, *layer.in_shape, dtype=torch.float64)
        cells = torch.as_tensor(np.array(values)).reshape(layer.in_shape[0], *g.window)
        made[0, :, :: g.dilation[0], :: g.dilation[1]] = cells
        return made

    lower, upper, off = (maps(v) for v in (box.lower, box.upper, errors))
    ends = (lower, upper), (down(lower - off), up(upper + off)), (-off, off)
    return pair_of([enclosing(*pair) for pair in ends])


def _spread(units: Pair, bounds: Tensor, layer: Layer, like: Pair) -> Pair:
    """Units (1, U, 1, 1) at every place of a layer, and no farther apart than `bounds` (U,)."""
    limit = bounds.view(1, -1, 1, 1)
    original, replaced, difference = units.ranges
    difference = within(difference, (-limit, limit))
    moved = down(original[0] + difference[0]), up(original[1] + difference[1])
    wide: list[Range] = [original, within(replaced, moved), difference]
    device = like.original.center.device
    shaped = [[e.expand(1, *layer.out_shape).to(device) for e in ends] for ends in wide]
    made = [enclosing(low, high) for low, high in shaped]
    exact = limit.expand(1, *layer.out_shape).to(device) == 0
    made[2] = replace(made[2], radius=torch.where(exact, 0.0, made[2].radius))
    return pair_of(made)


def _nearest(units: AffineBank, programs: AffineBank, box: Box) -> Iterator[Fraction | None]:
    """Bounds of pairs over a box, about as near as there are, one after another."""
    bounds, pairings = bound_units(units, programs, box)
    for i, pairing in enumerate(pairings):
        pair, guess = (_bank([units[i]]), _bank([programs[i]])), float(bounds.values[i])
        if not (isinstance(pairing, Pairing) and pairing.tight):
            guess = float_bound(units[i], programs[i], box)
        yield _proved(lambda epsilon, pair=pair: prove_layer(*pair, box, [epsilon])[0], guess)


def _near(apart: Difference, box: Box, errors: np.ndarray) -> Fraction | None:
    """The same for a program that is a tree."""
    unit, *rest = apart.rows
    own, its, joint = in_situ(_bank([unit]), _bank(rest), box, errors)
    moved = replace(apart, rows=(own[0], *(its[i] for i in range(len(its)))))
    return _proved(
        lambda epsilon: prove_difference(moved, joint, epsilon), seen_bound(moved, joint)
    )


def _proved(decide: Callable[[Fraction], Verdict], guess: float) -> Fraction | None:
    """What is proved of the least claim near a guess that can be; None where none can."""
    for factor in FACTORS if math.isfinite(guess) else ():
        verdict = decide(Fraction(guess * factor * (1 + HAIR)))
        if isinstance(verdict, Proved):
            return verdict.bound
    return None


def _bank(rows: Sequence[Affine]) -> AffineBank:
    weights, biases = np.array([r.weights for r in rows]), np.array([r.bias for r in rows])
    return AffineBank(weights, biases, tuple(r.head for r in rows))
