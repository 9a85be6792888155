"""Families chosen: units of one shape that cost less together than each by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from grammars.coding import LayerSource, family_bits, opaque_bits
from grammars.grammar import Grammar
from grammars.program import Node, count_terms, is_sum_of_taps
from grammars.scope import Opaque
from grammars.shapes import Shape, shape
from grammars.siblings import pre_of, references
from synth.assembly import LayerChoice, Status, UnitChoice, shared
from synth.fronts import SHORT, SHORT_SHARE
from synth.layers import Layer
from synth.picked import Picked

FEWEST = 3  # units of a family
ABLE = (Status.PROGRAM, Status.ROUNDED, Status.OPAQUE)

Members = Mapping[int, Picked]


def together(
    layer: Layer,
    picked: Sequence[Picked],
    kin: Sequence[Mapping[int, Sequence[Picked]]],
    multiplier: float,
    grammar: Grammar,
) -> tuple[UnitChoice, ...]:
    """The units, some of them in families, where that is cheaper at `multiplier` bits per nat.

    A family is of units as they were picked, or of `kin`: several picks a unit, each of its own
    shape. What refers to siblings, or is referred to, stays by itself.
    """
    prices = _Prices(layer, picked, multiplier, grammar)
    able = [*prices.alike(), *(group for k in kin for group in prices.by_shape(k))]
    chosen: list[Members] = []
    while able:
        taken = {channel for family in chosen for channel in family}
        left = [{c: p for c, p in group.items() if c not in taken} for group in able]
        rated = [(prices.saving(g), g) for g in map(prices.worthy, left) if len(g) >= FEWEST]
        saving, best = max(rated, key=lambda pair: pair[0], default=(0.0, {}))
        if saving <= 0:
            break
        chosen.append(best)
    return _written(picked, prices.joined(chosen), prices)


@dataclass(frozen=True, eq=False)
class _Prices:
    """What families of a layer cost beside units by themselves."""

    layer: Layer
    picked: Sequence[Picked]
    multiplier: float
    grammar: Grammar

    def alike(self) -> list[Members]:
        """The units as they were picked, by their shapes."""
        return self.by_shape({c: [p] for c, p in enumerate(self.picked)})

    def by_shape(self, picks: Mapping[int, Sequence[Picked]]) -> list[Members]:
        """Those picks that may be in a family, by their shapes; units that are alone are none."""
        found: dict[Shape, dict[int, Picked]] = {}
        tied = self._tied()
        for channel, own in picks.items():
            for pick in own:
                program = pick.unit.program
                if channel in tied or program is None or not self._has_form(program):
                    continue
                if pick.unit.status in ABLE and self.picked[channel].unit.status in ABLE:
                    found.setdefault(shape(program, self.grammar), {})[channel] = pick
        return [group for group in found.values() if len(group) >= FEWEST]

    def worthy(self, group: Members) -> Members:
        """The group without units that would pay more for their place in its table than alone."""
        while len(group) >= FEWEST:
            row = (self.bits(group) - min(p.unit.bits for p in group.values())) / (len(group) - 1)
            able = {c: p for c, p in group.items() if row + self._loss(p) < self._alone(c)}
            if len(able) == len(group):
                return group
            group = able
        return {}

    def saving(self, group: Members) -> float:
        """How much cheaper its units are together, nats included."""
        alone = sum(map(self._alone, group))
        return alone - self.bits(group) - sum(map(self._loss, group.values()))

    def bits(self, group: Members) -> int:
        """The length of a family in the stream."""
        units: list[Node | Opaque] = [Opaque((), 0.0)] * self.layer.units
        for channel, pick in group.items():
            assert pick.unit.program is not None
            units[channel] = pick.unit.program
        source = LayerSource(self.layer.scope, tuple(units))
        return family_bits(source, tuple(sorted(group)), self.grammar)

    def joined(self, families: Sequence[Members]) -> list[Members]:
        """Families of one shape as one, as long as that is shorter."""
        result = [*families]
        while pair := next(self._joinable(result), None):
            a, b = pair
            result = [f for f in result if f is not a and f is not b] + [{**a, **b}]
        return result

    def judged(self, unit: UnitChoice) -> UnitChoice:
        """A member of a family by its share: with it, long ones may be programs as well."""
        own = opaque_bits(len(self.layer.scope.of(unit.channel).columns))
        short = unit.bits <= SHORT_SHARE * own
        return replace(unit, status=Status.PROGRAM if short else Status.ROUNDED)

    def _joinable(self, families: Sequence[Members]) -> Iterator[tuple[Members, Members]]:
        shapes = [self._shape(family) for family in families]
        for (a, s), (b, t) in combinations(zip(families, shapes, strict=True), 2):
            if s == t and self.bits({**a, **b}) < self.bits(a) + self.bits(b):
                yield a, b

    def _shape(self, family: Members) -> Shape:
        program = next(iter(family.values())).unit.program
        assert program is not None
        return shape(program, self.grammar)

    def _has_form(self, program: Node) -> bool:
        """Whether it says more than a list of taps, and not too much."""
        pre = pre_of(program, self.grammar)
        listed = pre.op in ("tap", "const") or is_sum_of_taps(pre)
        return not listed and count_terms(program) <= SHORT

    def _alone(self, channel: int) -> float:
        return self.picked[channel].price(self.multiplier)

    def _loss(self, pick: Picked) -> float:
        return self.multiplier * pick.nats

    def _tied(self) -> set[int]:
        """Units that refer to siblings, and those that they refer to."""
        found: set[int] = set()
        for pick in self.picked:
            if pick.unit.program is not None:
                targets = references(pick.unit.program, self.layer.name)
                found |= {*targets, pick.unit.channel} if targets else set()
        return found


def _written(
    picked: Sequence[Picked], families: Sequence[Members], prices: _Prices
) -> tuple[UnitChoice, ...]:
    """All units, those of families with their number and their share of its bits."""
    units = [pick.unit for pick in picked]
    for number, family in enumerate(sorted(families, key=min)):
        for channel, pick in family.items():
            units[channel] = replace(pick.unit, family=number)
    layer = prices.layer
    choice = shared(LayerChoice(layer, layer.scope, tuple(units)), prices.grammar)
    members = {channel for family in families for channel in family}
    return tuple(prices.judged(u) if u.channel in members else u for u in choice.units)
