"""A layer and the programs in its place as one step of a pair.

Programs that are an affine row under their unit's own head go through it together with the unit:
what both have in common cancels. Of any other program (a constant, another head, a tree) the value
is enclosed by itself, and the difference is what their symbols make of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grammars.compiled import CompiledBank, compile_bank
from grammars.evaluation import evaluate
from grammars.grammar import Grammar
from grammars.pools import CompiledGroup
from oracles.claims import head_form
from oracles.difference.affine import Affine, affine, convolution, dense, through
from oracles.difference.bend import bent_pair
from oracles.difference.curves import SMOOTH_CURVES, Bent, Curve, NoTransformer
from oracles.difference.pair import Pair, apart
from oracles.difference.rounding import Semantics
from oracles.difference.sums import joined
from oracles.difference.trees import ZonotopeAlgebra
from oracles.difference.zonotope import Zonotope
from synth.affine import affine_forms
from synth.assembly import LayerChoice, source_index
from synth.bank_module import is_whole
from synth.layers import Head, Layer, as_maps

_SLOPES = {"identity": 1.0, "relu": 0.0, "clip": 1.0}


def curve_of(heads: Sequence[Head], rank: int, device: torch.device) -> Curve | None:
    """The heads of units as one curve over (B, units, ...) of `rank` sizes in all; None where all
    are straight. Raises NoTransformer."""
    ops = {head.op for head in heads}
    if ops == {"identity"}:
        return None
    if len(ops) == 1 and (smooth := SMOOTH_CURVES.get(heads[0].op)):
        return smooth
    if unknown := ops - {*_SLOPES, "leaky_relu", "prelu"}:
        raise NoTransformer(
            f"no strip encloses units of {', '.join(sorted(ops))} together: {unknown.pop()} jumps, "
            "or bends smoothly beside others that do not; nothing is known behind such a layer."
        )
    rows = [_parameters(head) for head in heads]
    columns = torch.tensor(rows, dtype=torch.float64, device=device).T
    return Bent(*(column.view(-1, *(1,) * (rank - 2)) for column in columns))


def _parameters(head: Head) -> tuple[float, float, float]:
    """(slope, low, high)."""
    known = dict(head.params)
    slope = known.get("slope", _SLOPES.get(head.op, 0.0))
    return slope, known.get("low", -math.inf), known.get("high", math.inf)


@dataclass(frozen=True, eq=False)
class LayerStep:
    """What a layer does to a pair of its sources, as maps (B, C, H, W).

    `alone` are the units whose programs do not go through the head with them, and `bank` has those.
    """

    layer: Layer
    curve: Curve | None
    original: Affine
    replaced: Affine
    bank: CompiledBank
    rows: Affine
    alone: tuple[int, ...]
    semantics: Semantics

    @classmethod
    def of(
        cls, choice: LayerChoice, grammar: Grammar, semantics: Semantics, device: torch.device
    ) -> "LayerStep":
        """Raises NoTransformer."""
        layer = choice.layer
        programs, index = choice.expanded(grammar), source_index(choice.scope)
        bank = compile_bank(programs, index, grammar)
        forms = affine_forms(layer, range(layer.units), bank)
        weights, biases = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
        alone = set(range(layer.units))
        for place, unit in enumerate(forms.places):
            head = layer.heads[unit]
            if forms.bank.heads[place] == head_form(head.op, head.params):
                weights[unit], biases[unit] = forms.bank.weights[place], forms.bank.biases[place]
                alone.discard(unit)
        step = partial(_step, layer, device=device)
        few = bank.part(sorted(alone))
        return cls(
            layer,
            curve_of(layer.heads, 2 if is_whole(layer) else 4, device),
            step(layer.weight, layer.bias, layer.groups),
            step(weights, biases, layer.groups),
            few,
            step(few.weight, few.bias, 1),
            tuple(sorted(alone)),
            semantics,
        )

    def __call__(self, maps: Pair) -> Pair:
        """The units (B, U, h, w) of both networks."""
        source = maps.mapped(lambda t: t.flatten(1)) if is_whole(self.layer) else maps
        pair = affine(source, self.original, self.replaced, self.semantics)
        if self.curve is not None:
            pair = bent_pair(pair, self.curve, self.layer.name, self.semantics)
        if self.alone:
            pair = self._with_alone(pair, self._programs(source.replaced, pair))
        return pair.mapped(as_maps)

    def _programs(self, source: Zonotope, units: Pair) -> list[Zonotope]:
        """The programs of `alone`, group by group."""
        rows = None
        if len(self.bank.bias):
            rows = through(source, self.rows, self.semantics)
        return [self._group(group, rows, units.original) for group in self.bank.groups]

    def _group(self, group: CompiledGroup, rows: Zonotope | None, units: Zonotope) -> Zonotope:
        def read(*key: Any) -> Zonotope:
            assert rows is not None
            wanted = torch.as_tensor(group.rows[key], device=rows.center.device)
            return rows.mapped(lambda values: values[:, wanted])

        like = units.center[:, : len(group.units)]
        name = f"{self.layer.name}:{group.units[0]}"
        algebra = ZonotopeAlgebra(read, like, name, self.semantics)
        return evaluate(group.skeleton, algebra, self.bank.primitives)

    def _with_alone(self, pair: Pair, programs: list[Zonotope]) -> Pair:
        """The pair with those units replaced by their programs."""
        own = torch.as_tensor(self.alone, device=pair.original.center.device)
        units = pair.original.mapped(lambda values: values[:, own])
        numbers = [group.units.tolist() for group in self.bank.groups]
        parts = [
            apart(units.mapped(lambda v, n=n: v[:, n]), program)
            for n, program in zip(numbers, programs, strict=True)
        ]
        kept = [unit for unit in range(self.layer.units) if unit not in self.alone]
        order = [*kept, *(self.alone[i] for group in numbers for i in group)]
        parts = [pair.mapped(lambda values: values[:, kept]), *parts]
        back = torch.argsort(torch.as_tensor(order, device=own.device))
        return joined(parts, partial(torch.cat, dim=1)).mapped(lambda values: values[:, back])


def _step(
    layer: Layer, weight: np.ndarray, bias: np.ndarray, groups: int, *, device: torch.device
) -> Affine:
    """Rows over the columns of a layer's patches, or of those of a group."""
    w, b = (
        torch.as_tensor(np.array(v), dtype=torch.float64, device=device) for v in (weight, bias)
    )
    if is_whole(layer):
        return dense(w, b)
    g, channels = layer.geometry, layer.in_shape[0] // groups
    kernels: Tensor = w.reshape(len(w), channels, *g.window)
    how = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": groups}
    return convolution(kernels, b, **how)  # type: ignore[arg-type]
