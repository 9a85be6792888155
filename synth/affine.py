"""Units and programs as the oracles want them: affine maps under a head."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import torch

from grammars.compiled import CompiledBank
from grammars.hoist import ROWS
from grammars.pools import CompiledGroup
from grammars.primitive import Primitive
from grammars.program import Node, tap
from oracles.bent import float_bound
from oracles.claims import JUMPS, Affine, AffineBank, Box, HeadForm, Pairing, head_form
from oracles.closed_form import bound_units
from oracles.trees import seen_bound
from oracles.unit_difference import Difference
from synth.engine import with_head
from synth.evidence import Ranges
from synth.layers import Layer
from synth.modules import apply_heads

SLOT = tap(ROWS, 0)
POINTS, CHUNK = 2**14, 2**11  # patches of few values that are tried, and so many at a time


@dataclass(frozen=True, eq=False)
class Forms:
    """Those programs of a bank that are one affine row under a known head: `places` in the bank.

    Weights are those of each unit's own columns, (len(places), fan).
    """

    places: tuple[int, ...]
    bank: AffineBank


def unit_bank(layer: Layer, channels: Sequence[int]) -> AffineBank:
    """Units of a layer, in the order of `channels`, over their own columns."""
    heads = tuple(head_form(layer.heads[c].op, layer.heads[c].params) for c in channels)
    chosen = list(channels)
    return AffineBank(layer.weight[chosen], layer.bias[chosen], heads)


def unit_box(ranges: Ranges, channel: int) -> Box:
    """The envelope of the columns that a unit reads."""
    part = ranges.layer.part(channel)
    return Box(ranges.lower[part], ranges.upper[part])


def affine_forms(
    layer: Layer, channels: Sequence[int], bank: CompiledBank, *, narrow: bool = False
) -> Forms:
    """The programs of a compiled bank, program i for unit channels[i], as affine forms.

    The bank's columns are those of the layer's patches or, if `narrow`, those of the one group that
    all channels read, and then its siblings, which stand for the original units.
    """
    found = [
        (int(unit), form)
        for group in bank.groups
        for unit, form in zip(
            group.units, _forms(layer, channels, bank, group, narrow), strict=True
        )
        if form is not None
    ]
    weights = np.array([f.weights for _, f in found]).reshape(-1, layer.fan)
    biases = np.array([f.bias for _, f in found])
    heads = tuple(f.head for _, f in found)
    return Forms(tuple(u for u, _ in found), AffineBank(weights, biases, heads))


def float_bounds(
    ranges: Ranges, channels: Sequence[int], bank: CompiledBank, *, narrow: bool = False
) -> np.ndarray:
    """(U,) closed-form bounds over the envelope of unit channels[i] against program i of a bank.

    In floats; infinite for units that are not affine, for heads that jump, and for a program whose
    form has no bound. But where patches are of few values, it is then the largest difference over
    all of them.
    `narrow` as in `affine_forms`.
    """
    layer = ranges.layer
    if not layer.affine:
        return np.full(bank.units, np.inf)
    forms = affine_forms(layer, channels, bank, narrow=narrow)
    result = np.full(bank.units, np.inf)
    for place, apart in () if layer.alphabet else bent_pairs(layer, channels, bank, narrow=narrow):
        result[place] = seen_bound(apart, unit_box(ranges, channels[place]))
    for members in by_group(layer, [channels[i] for i in forms.places]):
        places = [forms.places[m] for m in members]
        units = unit_bank(layer, [channels[i] for i in places])
        box = unit_box(ranges, channels[places[0]])
        result[places] = _float_bounds(units, chosen(forms.bank, members), box)
    return few_bounds(layer, channels, bank, result)


def _float_bounds(units: AffineBank, programs: AffineBank, box: Box) -> list[float]:
    """One bound a pair: of the closed form, of cells where heads bend, infinite where they jump."""
    bounds, pairings = bound_units(units, programs, box)
    found = bounds.values.tolist()
    for i, pairing in enumerate(pairings):
        if not isinstance(pairing, Pairing) or not pairing.tight:
            jumps = any(bank.heads[i].op in JUMPS for bank in (units, programs))
            found[i] = np.inf if jumps else float_bound(units[i], programs[i], box)
    return found


def few_bounds(
    layer: Layer, channels: Sequence[int], bank: CompiledBank, bounds: np.ndarray
) -> np.ndarray:
    """(U,) the bounds, with the largest difference over all patches of few values where there are
    none."""
    open_, width = np.flatnonzero(np.isinf(bounds)).tolist(), layer.width
    if not layer.alphabet or layer.groups > 1 or len(layer.alphabet) ** width > POINTS:
        return bounds
    found, some = bounds.copy(), bank.part(open_)
    found[open_] = 0.0
    for points in _few(layer) if len(open_) else ():
        before = layer.pre(points)
        units = apply_heads(layer.heads, torch.from_numpy(before)).numpy()
        wide = np.hstack([points, units, before])[:, : bank.weight.shape[1]]
        apart = np.abs(some.apply(wide) - units[:, [channels[i] for i in open_]])
        found[open_] = np.maximum(found[open_], apart.max(0))
    return found


def _few(layer: Layer) -> Iterator[np.ndarray]:
    """All patches (n, width) of the layer's few values, some at a time."""
    every = product(layer.alphabet, repeat=layer.width)
    while part := list(islice(every, CHUNK)):
        yield np.array(part, dtype=np.float64)


def bent_pairs(
    layer: Layer, channels: Sequence[int], bank: CompiledBank, *, narrow: bool = False
) -> Iterator[tuple[int, Difference]]:
    """The places of the programs that are no affine form, with what tells them from their units.

    Those that read other units behind their heads, or other groups, are left out.
    """
    for group in bank.groups:
        skeleton = group.skeleton
        if skeleton.op == "const" or _head(skeleton, bank.primitives) is not None:
            continue
        slots = {key: i + 1 for i, key in enumerate(group.rows)}
        for number, place in enumerate(group.units.tolist()):
            channel = channels[place]
            picked = [int(rows[number]) for rows in group.rows.values()]
            rows = [_plain(layer, channel, bank, row, narrow) for row in picked]
            own = with_head(layer.heads[channel], SLOT)
            if own.op in bank.primitives and None not in rows:
                parts = (_before(layer, channel), *(r for r in rows if r is not None))
                tables = {(ROWS, 0, 0, 0): 0}, slots
                yield place, Difference((own, skeleton), tables, parts, bank.primitives)


def _before(layer: Layer, channel: int) -> Affine:
    """What a unit has under its head."""
    unit = unit_bank(layer, [channel])[0]
    return Affine(unit.weights, unit.bias, head_form("identity"))


def _plain(layer: Layer, channel: int, bank: CompiledBank, row: int, narrow: bool) -> Affine | None:
    """A row over the unit's own columns; None where it reads more than these."""
    own = _own(layer, channel, bank.weight[row], narrow)
    plain = head_form("identity")
    found = own if own is None else _substituted(layer, own, float(bank.bias[row]), plain)
    return found if found is not None and found.head == plain else None


def by_group(layer: Layer, channels: Sequence[int]) -> Iterable[list[int]]:
    """The places in `channels` of those that read the same columns."""
    groups: dict[int, list[int]] = {}
    for place, channel in enumerate(channels):
        groups.setdefault(layer.part(channel).start, []).append(place)
    return groups.values()


def chosen(bank: AffineBank, places: Sequence[int]) -> AffineBank:
    """Those units of a bank that stand at `places`."""
    rows = list(places)
    return AffineBank(bank.weights[rows], bank.biases[rows], tuple(bank.heads[i] for i in rows))


def _forms(
    layer: Layer, channels: Sequence[int], bank: CompiledBank, group: CompiledGroup, narrow: bool
) -> list[Affine | None]:
    """One form a unit of the group, or None."""
    skeleton = group.skeleton
    if skeleton.op == "const":
        value = float(skeleton["value"])  # type: ignore[arg-type]
        return [Affine(np.zeros(layer.fan), value, head_form("identity"))] * len(group.units)
    head = _head(skeleton, bank.primitives)
    if head is None:
        return [None] * len(group.units)
    found: list[Affine | None] = []
    for unit, row in zip(group.units.tolist(), group.rows[ROWS, 0, 0, 0].tolist(), strict=True):
        channel, bias = channels[unit], float(bank.bias[row])
        own = _own(layer, channel, bank.weight[row], narrow)
        found.append(None if own is None else _substituted(layer, own, bias, head))
    return found


def _own(layer: Layer, channel: int, weights: np.ndarray, narrow: bool) -> np.ndarray | None:
    """A bank's row over the columns of the unit's group, and its siblings if `narrow`; None for one
    that reads another group, directly or by a sibling."""
    if not narrow:
        own = weights[layer.part(channel)]
        return own if np.count_nonzero(own) == np.count_nonzero(weights) else None
    read = (np.flatnonzero(weights[layer.fan :]) % layer.units).tolist()
    return weights if all(layer.part(j) == layer.part(channel) for j in read) else None


def _substituted(layer: Layer, weights: np.ndarray, bias: float, head: HeadForm) -> Affine | None:
    """An affine row with the siblings that it reads written out by the original units."""
    own, after, before = np.split(weights, [layer.fan, layer.fan + layer.units])
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
