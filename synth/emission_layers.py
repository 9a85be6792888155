"""A layer of `decompiled.py`: one function that computes each unit by the text of its program."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from grammars.evaluation import argument_sorts
from grammars.grammar import Grammar
from grammars.hoist import ROWS
from grammars.names import Names
from grammars.program import PRE, Node, Sort, tap, taps_of, walk
from grammars.siblings import references
from grammars.text import format_program
from synth.assembly import BankModule, LayerChoice, Status, bank_module
from synth.emission_windows import Columns, Reading, Windows, geometry_text
from synth.engine import with_head
from synth.layers import Geometry, Layer, Shape
from synth.layout import WIDTH, assign, docstring, returned, unpack

KEPT = ":kept"
"""The bank of what opaque units are before their heads."""


@dataclass(frozen=True)
class Kept:
    """Opaque units: the row of the layer's stored weight of each, and whether that is a matrix."""

    rows: Mapping[int, int]
    matrix: bool

    @staticmethod
    def of(choice: LayerChoice, grammar: Grammar) -> "Kept":
        opaque = {u.channel for u in choice.units if u.program is None}
        if not opaque:
            return Kept({}, False)
        module = bank_module(choice, grammar)
        return Kept(dict(_kept_rows(module, opaque)), module.weight.dim() == 2)


def _kept_rows(module: BankModule, opaque: set[int]) -> Iterator[tuple[int, int]]:
    """(unit, row) of opaque units, but of none that are constant, for these have no row."""
    found = {
        int(unit): int(group.rows[ROWS, 0, 0, 0][place])
        for group in module.bank.groups
        for place, unit in enumerate(group.units)
        if unit in opaque and (ROWS, 0, 0, 0) in group.rows
    }
    return iter(sorted(found.items()))


def written_programs(choice: LayerChoice, kept: Kept) -> tuple[Node, ...]:
    """What is written for each unit of a layer; an opaque one is its head over its kept row."""
    heads = choice.layer.heads
    return tuple(
        with_head(heads[unit], tap(KEPT, unit)) if unit in kept.rows else program
        for unit, program in enumerate(choice.programs())
    )


def status_counts(choices: Iterable[LayerChoice]) -> str:
    """Units by status: "12 program, 2 rounded"."""
    counts = Counter(unit.status for choice in choices for unit in choice.units)
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])


def shape_text(shape: Shape, rank: int) -> str:
    """A bank's shape as a tensor of `rank` has it: (N, C, H, W)."""
    return f"(N, {', '.join(map(str, (shape[0], *shape[5 - rank :])))})"


@dataclass(frozen=True, eq=False)
class LayerWriter:
    """Writes the function `function(source)` of one layer.

    `ranks` are those of the tensors that it reads and returns; `support` names the supporting
    functions; `taken` are names that mean something else.
    """

    choice: LayerChoice
    kept: Kept
    grammar: Grammar
    names: Names
    function: str
    source: str
    ranks: tuple[int, int]
    support: Mapping[str, str]
    taken: frozenset[str]

    @property
    def layer(self) -> Layer:
        return self.choice.layer

    @cached_property
    def programs(self) -> tuple[Node, ...]:
        return written_programs(self.choice, self.kept)

    @cached_property
    def reading(self) -> Reading:
        atoms = any(_reads_atoms(p, self.grammar) for p in self.programs)
        plain = self.layer.geometry == Geometry((1, 1)) and not atoms
        kind = Columns if plain else Windows
        matrix, channels = self.kept.matrix, self.support["channels"]
        return kind(self.layer, self.source, self.ranks, matrix, channels)

    @cached_property
    def all_names(self) -> Names:
        """Names of taps; opaque units before their heads are kept_3 and the like."""
        stem = "kept"
        while self.taken & {stem, *(f"{stem}_{unit}" for unit in self.kept.rows)}:
            stem += "_"
        kept = {(KEPT, unit): f"{stem}_{unit}" for unit in self.kept.rows}
        own, source = self.layer, (self.layer.source, self.layer.in_shape[0])
        pairs = ((b, c) for b, n in (source, (own.name, own.units)) for c in range(n))
        return Names({}, given={key: self.names.of(*key) for key in pairs} | kept)

    def source_text(self) -> str:
        """The whole function."""
        lines = [f"def {self.function}({self.source}):", docstring(self._doc())]
        if self._same_head():
            return "\n".join([*lines, returned(self._whole_layer())])
        lines += [*self._fields(), *self._kept(), *self._constants(), *self._units()]
        return "\n".join([*lines, returned(self._result())])

    def _doc(self) -> Iterator[str]:
        layer, (rank_in, rank_out) = self.layer, self.ranks
        geometry = layer.geometry
        sizes = [] if isinstance(self.reading, Columns) else [f"window={geometry.window}"]
        details = "; ".join(["", *sizes, *geometry_text(geometry)])
        units = f"{layer.units} unit{'s' * (layer.units > 1)}"
        yield (
            f"Layer {layer.name}: {units} {shape_text(layer.out_shape, rank_out)} "
            f"of {self.source} {shape_text(layer.in_shape, rank_in)}{details}."
        )
        yield f"Units by status: {status_counts([self.choice])}."

    def _same_head(self) -> bool:
        """All units keep their weights, in order, under one head."""
        rows = list(self.kept.rows.values())
        return rows == list(range(self.layer.units)) and len(set(self.layer.heads)) == 1

    def _whole_layer(self) -> str:
        product = self.reading.product(list(self.kept.rows.values()))
        pattern = rf"\b{self.all_names.of(KEPT, 0)}\b"
        return re.sub(pattern, lambda _: product, self._text(self.programs[0])) + self.reading.back

    def _fields(self) -> Iterator[str]:
        """Name the channels of the source that programs read."""
        layer = self.layer
        taps = {t for p in self.programs for t in taps_of(p)}
        foreign = {str(t["bank"]) for t in taps}
        foreign -= {layer.source, layer.name, f"{layer.name}{PRE}", KEPT}
        if foreign:
            raise ValueError(
                f"programs of {layer.name!r} read {', '.join(sorted(foreign))}, but the layer "
                f"reads {layer.source!r}: only that bank and the layer's own units can be emitted"
            )
        used = sorted({int(str(t["channel"])) for t in taps if t["bank"] == layer.source})
        if used:
            yield self.reading.unpacked([self.names.of(layer.source, c) for c in used], used)

    def _kept(self) -> Iterator[str]:
        """Compute the opaque units up to their heads."""
        units, rows = list(self.kept.rows), list(self.kept.rows.values())
        targets = [self.all_names.of(KEPT, unit) for unit in units]
        if len(units) == 1:
            yield f"    # {self._name(units[0])} keeps its weights"
            yield assign(targets[0], f"{self.reading.product(rows)}[:, 0]")
        elif units:
            yield f"    # {len(units)} units keep their weights"
            yield unpack(targets, f"{self.reading.product(rows)}.unbind(1)")

    def _constants(self) -> Iterator[str]:
        """Units of equal value in one assignment; they come first, for siblings may read them."""
        groups: dict[str, list[str]] = {}
        for unit, program in enumerate(self.programs):
            if program.op == "const":
                groups.setdefault(self._text(program), []).append(self._name(unit))
        for value, units in groups.items():
            yield from _chained(units, value)

    def _units(self) -> Iterator[str]:
        """A statement for each unit in order, save that a unit follows those it refers to."""
        for unit in _order(self.programs, self.layer.name):
            if self.programs[unit].op != "const":
                yield assign(self._name(unit), self._text(self.programs[unit]))

    def _result(self) -> str:
        units = f"[{', '.join(map(self._name, range(self.layer.units)))}]"
        if all(taps_of(p) for p in self.programs):
            return f"torch.stack({units}, 1){self.reading.back}"
        arguments = ", ".join([units, self.source, *map(str, self.reading.size)])
        return f"{self.support['stack']}({arguments}){self.reading.back}"

    def _name(self, unit: int) -> str:
        return self.names.of(self.layer.name, unit)

    def _text(self, program: Node) -> str:
        return format_program(program, self.all_names, self.grammar)


def _reads_atoms(program: Node, grammar: Grammar) -> bool:
    """Some operation reads beside the position, or at least may."""
    calls = (n for n in walk(program) if n.op not in ("tap", "const", "linear"))
    return any(Sort.ATOM in argument_sorts(n, grammar[n.op]) for n in calls)


def _order(programs: tuple[Node, ...], bank: str) -> list[int]:
    """Units such that each comes after the siblings that it refers to.

    ValueError where they refer to each other in a circle.
    """
    done: dict[int, None] = {}
    for unit in range(len(programs)):
        path = [unit] * (unit not in done)
        while path:
            missing = [u for u in references(programs[path[-1]], bank) if u not in done]
            if not missing:
                done[path.pop()] = None
            elif missing[0] in path:
                raise ValueError(f"units {path} of {bank!r} refer to each other in a circle")
            else:
                path.append(missing[0])
    return list(done)


def _chained(units: list[str], value: str) -> Iterator[str]:
    """`a = b = c = value`, in as many lines as it takes."""
    line = ""
    for unit in units:
        if line and 4 + len(line) + len(unit) + 3 + len(value) > WIDTH:
            yield f"    {line}{value}"
            line = ""
        line += f"{unit} = "
    yield f"    {line}{value}"
