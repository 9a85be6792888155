"""Units and programs as the oracles want them: affine maps under a head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grammars.compiled import CompiledBank, CompiledGroup
from grammars.hoist import ROWS
from grammars.primitive import Primitive
from grammars.program import Node, tap
from oracles.claims import Affine, AffineBank, Box, HeadForm, head_form
from oracles.closed_form import bound_units
from synth.evidence import LayerEvidence
from synth.layers import Layer

SLOT = tap(ROWS, 0)


@dataclass(frozen=True, eq=False)
class Forms:
    """Those programs of a bank that are one affine row under a known head: `places` in the bank."""

    places: tuple[int, ...]
    bank: AffineBank


def unit_bank(layer: Layer, channels: Sequence[int]) -> AffineBank:
    """Units of a layer, in the order of `channels`."""
    heads = tuple(head_form(layer.heads[c].op, layer.heads[c].params) for c in channels)
    chosen = list(channels)
    return AffineBank(layer.weight[chosen], layer.bias[chosen], heads)


def affine_forms(evidence: LayerEvidence, bank: CompiledBank) -> Forms:
    """The programs of a compiled bank as affine forms.

    The bank's columns are those of the layer's source, or of the whole scope: siblings then stand
    for the original units.
    """
    found = [
        (int(unit), form)
        for group in bank.groups
        for unit, form in zip(group.units, _forms(evidence, bank, group), strict=True)
        if form is not None
    ]
    weights = np.array([f.weights for _, f in found]).reshape(-1, evidence.layer.weight.shape[1])
    biases = np.array([f.bias for _, f in found])
    heads = tuple(f.head for _, f in found)
    return Forms(tuple(u for u, _ in found), AffineBank(weights, biases, heads))


def float_bounds(
    evidence: LayerEvidence, channels: Sequence[int], bank: CompiledBank
) -> np.ndarray:
    """(U,) closed-form bounds over the envelope of unit channels[i] against program i of a bank.

    In floats; infinite for a program whose form has no bound.
    """
    forms = affine_forms(evidence, bank)
    result = np.full(bank.units, np.inf)
    if forms.places:
        units = unit_bank(evidence.layer, [channels[i] for i in forms.places])
        box = Box(evidence.lower, evidence.upper)
        result[list(forms.places)] = bound_units(units, forms.bank, box)[0].values
    return result


def _forms(
    evidence: LayerEvidence, bank: CompiledBank, group: CompiledGroup
) -> list[Affine | None]:
    """One form a unit of the group, or None."""
    skeleton, columns = group.skeleton, evidence.layer.weight.shape[1]
    if skeleton.op == "const":
        value = float(skeleton["value"])  # type: ignore[arg-type]
        return [Affine(np.zeros(columns), value, head_form("identity"))] * len(group.units)
    head = _head(skeleton, bank.primitives)
    if head is None:
        return [None] * len(group.units)
    rows = group.rows[ROWS, 0, 0, 0]
    pairs = ((bank.weight[r], float(bank.bias[r])) for r in rows)
    return [_substituted(evidence.layer, weights, bias, head) for weights, bias in pairs]


def _substituted(layer: Layer, weights: np.ndarray, bias: float, head: HeadForm) -> Affine | None:
    """An affine row with the siblings that it reads written out by the original units."""
    columns, units = layer.weight.shape[1], layer.units
    own, after, before = np.split(weights, [columns, columns + units])
    if before.any():
        own = own + before @ layer.weight.astype(np.float64)
        bias = bias + float(before @ layer.bias.astype(np.float64))
    if not after.any():
        return Affine(own, bias, head)
    copied = np.flatnonzero(after)
    plain = not own.any() and not bias and head.op == "identity"
    if len(copied) != 1 or after[copied[0]] != 1.0 or not plain:
        return None
    return unit_bank(layer, copied.tolist())[0]


def _head(skeleton: Node, primitives: Mapping[str, Primitive]) -> HeadForm | None:
    """The form of a head; a user's primitive has none, whatever its name."""
    if skeleton == SLOT:
        return head_form("identity")
    if skeleton.args != (SLOT,) or not primitives[skeleton.op].core:
        return None
    try:
        return head_form(skeleton.op, [(k, v) for k, v in skeleton.params if isinstance(v, float)])
    except ValueError:
        return None
